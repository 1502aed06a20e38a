"""Against the simulated cloud: whatever happens to a pump, every uploaded record is in the log once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs
import pytest

from tconnectsync import Context, Retryable, Secret
from tconnectsync_simulator.pump.plan import Flight, SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump, simulate
from tconnectsync_tandem.options import TandemEndpointOptions, TandemOptions
from tconnectsync_tandem.source import TandemSource, open_source
from tests.support.clocks import FakeClock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.in_process_check import check_in_process
from tests.support.memory_log import MemoryLog

SERIAL = "90556643"


def at(day: int, hour: float = 12) -> datetime:
    return datetime(2026, 3, 1, tzinfo=timezone.utc) + timedelta(days=day - 1, hours=hour)


@attrs.define
class PolledAccount:
    """One account at the simulated cloud, polled as time goes by."""

    cloud: FaultyTandemCloud
    clock: FakeClock
    folder: Path
    zone: str = "America/New_York"
    log: MemoryLog = attrs.field(factory=MemoryLog)
    paces: int = 0
    """How many requests the source has announced to the engine."""

    def source(self, **options: Any) -> TandemSource:
        account = self.cloud.accounts[0]

        def pace() -> None:
            self.paces += 1

        context = Context(
            clock=self.clock, folder=self.folder, version="4", sections={}, zone_of=lambda _: self.zone, pace=pace
        )
        endpoints = TandemEndpointOptions(**self.cloud.endpoints)
        password = Secret(account.password)
        given = TandemOptions(email=account.email, password=password, region="US", endpoints=endpoints, **options)
        return open_source(given, context, start_check=check_in_process)

    def live(self, until: datetime, every_min: float, source: TandemSource | None = None) -> None:
        """Poll at a rhythm, and handle trouble as the engine would: by asking again later."""
        source = source or self.source()
        while self.clock.time < until:
            try:
                for batch in source.poll(self.log):
                    self.log.append(batch.events)
            except Retryable as error:
                self.clock.advance(seconds=error.after_s or 30)
            self.clock.advance(minutes=every_min)


@contextmanager
def home(tmp_path: Path, start: datetime, *pumps: SimulatedPump, **options: Any) -> Iterator[PolledAccount]:
    clock = FakeClock(start)
    with FaultyTandemCloud(pumps, clock, **({"token_life_s": 8 * 3600} | options)) as cloud:
        yield PolledAccount(cloud, clock, tmp_path)


def uploaded(pump: SimulatedPump, until: datetime, since: datetime) -> dict[int, dict[str, Any]]:
    """The records that had been uploaded by ``until`` and happened, truly, after ``since``."""
    return {
        record.entry["sequenceNumber"]: record.entry
        for record in pump.log
        if record.uploaded_s <= until.timestamp() and record.at_s >= since.timestamp()
    }


def missing(log: MemoryLog, expected: dict[int, dict[str, Any]], serial: str = SERIAL) -> list[str]:
    known = {event.seq for event in log.events if event.pump == serial}
    return [entry["pumpDateTime"] for seq, entry in expected.items() if seq not in known]


PLANS = {
    "nothing special": {},
    "a fifth late, up to four days, an outage of two": {
        "late_share": 0.2, "late_max_h": 96, "outages": ((at(5), at(7)),)
    },
    "a flight east and the clock set after the change of daylight saving": {
        "flights": (Flight(lands_at=at(5), zone="Asia/Tokyo", set_after_h=5),), "late_share": 0.1
    },
    "a flight west": {"flights": (Flight(lands_at=at(5), zone="Pacific/Honolulu", set_after_h=5),)},
    "a clock three days ahead": {"clock_ahead_min": 3 * 1440},
    "a clock two days behind": {"clock_ahead_min": -2 * 1440},
    "another sequence group": {"sequence_group": 3},
    "a reset to 2008 that the wearer sets right": {"reset_at": at(5), "reset_set_after_min": 300},
}  # fmt: skip


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_everything_uploaded_is_in_log(tmp_path: Path, plan: dict[str, Any]) -> None:
    """Everything that was uploaded is in the log a day later."""
    pump = simulate(SimulationPlan(serial=SERIAL, days=9, scan_codes=False, **plan))
    with home(tmp_path, at(3), pump) as there:
        there.live(at(6), every_min=720)
        there.live(at(10), every_min=720, source=there.source())
        expected = uploaded(pump, at(9), since=at(1, 0))
        assert len(expected) > 5_000
        assert missing(there.log, expected) == []
        assert {event.kind for event in there.log.events if event.kind == "unknown"} == set()
        assert there.cloud.count("login") <= 10 * 5


def test_a_killed_and_faulty_catch_up_ends_in_the_same_log(tmp_path: Path) -> None:
    from tests.support.cloud_faults import answered

    pump = simulate(SimulationPlan(serial=SERIAL, days=20, scan_codes=False))
    with home(tmp_path, at(20), pump, largest_window_days=9) as there:
        for batches in (1, 3, 2, 5):
            run = there.source(history_days=25).poll(there.log)
            for _ in range(batches):
                there.log.append(next(run).events)
            run.close()
            there.cloud.fail(answered(500, path="pump-logs", times=1))
        there.live(at(20, 14), every_min=30, source=there.source(history_days=25))
        assert missing(there.log, uploaded(pump, at(20), since=at(1, 0))) == []


def test_two_pumps_and_one_that_was_never_used(tmp_path: Path) -> None:
    handed_over = at(6)
    old = simulate(SimulationPlan(serial="514387", days=10, worn_until=handed_over, scan_codes=False))
    new = simulate(SimulationPlan(serial=SERIAL, seed=2, days=10, worn_from=handed_over, scan_codes=False))
    with home(tmp_path, at(9), old, new, unused_serials=["777"]) as there:
        there.live(at(10), every_min=120)
        assert there.paces == len(there.cloud.requests) > 20  # a limit of requests sees each of them, logins too
        assert missing(there.log, uploaded(new, at(9), since=at(1, 0))) == []
        assert missing(there.log, uploaded(old, at(9), since=at(1, 0)), "514387") == []
        assert not any(event.seq is not None for event in there.log.events if event.pump == "777")


def test_a_backfill_brings_an_old_month(tmp_path: Path) -> None:
    pump = simulate(SimulationPlan(serial=SERIAL, days=40, scan_codes=False))
    with home(tmp_path, at(40), pump) as there:
        source = there.source(history_days=5)
        there.live(at(40, 12.5), every_min=60, source=source)
        assert missing(there.log, uploaded(pump, at(40), since=at(1, 0))) != []
        for batch in source.backfill(there.log, date(2026, 3, 1), date(2026, 4, 5)):
            there.log.append(batch.events)
        assert missing(there.log, uploaded(pump, at(40), since=at(1, 0))) == []
