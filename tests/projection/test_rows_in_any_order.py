"""A pump's rows without numbers beside its numbered events: the timeline depends on what is in the log, not on how it came."""

from __future__ import annotations

import random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tconnectsync.timeline.resolver import TimelineResolver
from tests.projection.random_histories import HOME, Unit, random_history
from tests.timeline.harness import ListLog


def history_with_rows(rng: random.Random) -> list[Unit]:
    while True:
        units = random_history(rng)
        if any(unit[0].seq is None for unit in units):
            return units


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1 << 32))
@example(1475)  # a late key has an early time: the clock was set back, and its record is not there yet
def test_timeline_of_rows_in_any_order(seed: int) -> None:
    """Holes open, are split and filled, rates and boluses lie across their edges: a new resolver finds the same after each step."""
    rng = random.Random(seed)
    units = history_with_rows(rng)
    rng.shuffle(units)
    log = ListLog()
    resolver = TimelineResolver(log, HOME)
    while units:
        count = rng.choice([1, 3, 10])
        arriving, units = units[:count], units[count:]
        log.append(record.event(1) for unit in arriving for record in unit)
        if rng.random() < 0.5 or not units:
            assert resolver.resolve() == TimelineResolver(log, HOME).resolve()
