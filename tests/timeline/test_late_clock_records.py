"""A record of the clock's change arrives after uploads have shown what the change did."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from tconnectsync.events import Event
from tconnectsync.timeline.resolver import TimelineResolver
from tconnectsync.timeline.zones import Zones
from tests.timeline.harness import ListLog, PumpHistory, times_of, utc, worst_s

HOUR = 3600
SYDNEY = Zones(timezone="Australia/Sydney")


@pytest.mark.parametrize("away_h", [2, 5, -1])
def test_record_after_the_uploads(away_h: int) -> None:
    """What uploads have shown stays true: nothing moves, neither before the change nor after it."""
    home_s = SYDNEY.offset_at(utc("2025-05-01"))
    world = PumpHistory(now=utc("2025-05-01"), offset_s=home_s).run(utc("2025-05-08"))
    log = ListLog()
    resolver = TimelineResolver(log, SYDNEY)

    def sync(missing: Sequence[Event] = ()) -> None:
        log.append([event for event in world.events if event not in missing])
        log.append(resolver.pending_facts(world.now))

    world.upload()
    sync()
    world.set_clock(away_h * HOUR).run(utc("2025-05-08T05:00")).upload()
    sync()
    known = len(world.events)
    world.set_clock(home_s)
    late = [event for event in world.events[known:] if event.kind == "clock.changed"]
    for _ in range(40):  # more than a day
        world.run(world.now + timedelta(hours=1), timedelta(minutes=20)).upload()
        sync(late)
    after = late[-1].seq or 0
    assert worst_s(times_of(resolver, log), world.truth, range(after + 1, world.seq + 1)) <= 2
    sync()
    assert worst_s(times_of(resolver, log), world.truth) <= 2
