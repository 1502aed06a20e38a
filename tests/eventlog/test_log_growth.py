"""How much a year adds, as ``status`` reports it: measured if there is enough to measure, else typical. A long log is searched as fast as a short one."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tconnectsync import events
from tconnectsync.eventlog import EventLog
from tconnectsync.eventlog.index_queries import IndexReader
from tconnectsync.queries.status import TYPICAL_BYTES, TYPICAL_EVENTS_A_DAY, status_of
from tconnectsync.timeline.zones import Zones
from tests.eventlog.sample_events import RECEIVED, START, basal, numbered
from tests.support.clocks import FakeClock


def log_status(data_dir: Path) -> dict[str, Any]:
    found: dict[str, Any] = status_of(
        data_dir, sources={}, sinks={}, zones=Zones(timezone="UTC"), clock=FakeClock(RECEIVED)
    )["log"]
    return found


def filled(data_dir: Path, count: int, *, pack: bool) -> EventLog:
    """An event every five minutes."""
    log = EventLog.open(data_dir, clock=FakeClock(RECEIVED), writable=True, segment_bytes=100_000)
    for first in range(1, count + 1, 500):
        log.append([basal(seq) for seq in range(first, min(first + 500, count + 1))])
    while pack and log.maintain(50):
        pass
    log.close()
    return log


def test_growth_of_no_log(tmp_path: Path) -> None:
    """Without a log there is no growth."""
    assert log_status(tmp_path)["bytes_a_year"] is None


def test_growth_of_few_days(tmp_path: Path) -> None:
    """After a few days the growth of a typical pump is reported."""
    filled(tmp_path, 288 * 3, pack=True)
    found = log_status(tmp_path)
    assert found["bytes_a_year_basis"] == "typical"
    assert found["bytes_a_year"] == round(TYPICAL_EVENTS_A_DAY * 365 * TYPICAL_BYTES)


def test_growth_measured_over_a_week(tmp_path: Path) -> None:
    """A week and compressed segments are measured."""
    filled(tmp_path, 288 * 25, pack=True)
    with EventLog.open(tmp_path, clock=FakeClock(RECEIVED), writable=True) as log:
        bought = events.ClockChanged(part="time", step_s=60.0)
        log.append([numbered(90_000, bought, at=START - timedelta(days=700))])  # comes for the pump's whole life
    found = log_status(tmp_path)
    packed = sum(path.stat().st_size for path in (tmp_path / "log").glob("*.gz"))
    assert found["bytes_a_year_basis"] == "measured"
    assert found["bytes_a_year"] < found["bytes"] / 25 * 365  # what is not compressed yet does not count
    assert 0.8 < found["bytes_a_year"] / (packed / 25 * 365) < 1.3


def test_growth_with_unset_clock(tmp_path: Path) -> None:
    """A clock that was not set does not stretch the measured time."""
    with EventLog.open(tmp_path, clock=FakeClock(RECEIVED), writable=True) as log:
        log.append([basal(1, at=RECEIVED.replace(tzinfo=None) - timedelta(days=6000))])
        log.append([basal(seq) for seq in range(2, 600)])
    assert log_status(tmp_path)["bytes_a_year_basis"] == "typical"


@pytest.mark.parametrize("before", [True, False])
def test_old_event_is_found_by_index(tmp_path: Path, before: bool) -> None:
    """A site change a year ago costs no more than one of today: SQLite takes the index of rare kinds."""
    count, rare = 20_000, 10_000
    with EventLog.open(tmp_path, clock=FakeClock(RECEIVED), writable=True) as log:
        log.append([numbered(rare, events.CannulaFilled(prime_u=0.3))])
        for first in range(1, count, 2_000):
            log.append([basal(seq) for seq in range(first, first + 2_000) if seq != rare])
            log.append([numbered(count + first + n, events.CarbsEntered(carbs_g=9.0)) for n in range(500)])
    database = sqlite3.connect(tmp_path / "index.sqlite")
    steps: list[int] = []
    database.set_progress_handler(lambda: steps.append(1), 10)
    kinds, key = frozenset({"cannula.filled"}), 3 * count if before else 0
    found = IndexReader(database).neighbour(1, key, kinds, before=before)
    database.close()
    assert found is not None
    assert found[0] == rare
    assert len(steps) < 100
