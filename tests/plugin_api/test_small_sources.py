"""The contract for sources accepts a small source, and refuses small sources that do not fetch lost days again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from tconnectsync import Batch, CheckResult, Event, History, events
from tconnectsync.events.source_facts import history_opened
from tconnectsync.testing import EventLog, ManualClock, SourceContract, SourceWorld

BEGIN = datetime(2026, 5, 10)


@attrs.define
class HourlySource:
    """A vendor that has one record each hour since :data:`BEGIN`."""

    clock: ManualClock
    decoder = 1

    def records(self, first: date, last: date) -> list[dict[str, Any]]:
        """What the vendor's service answers for these days."""
        hours = int((self.clock.now().replace(tzinfo=None) - BEGIN) / timedelta(hours=1))
        records = [{"n": n, "time": (BEGIN + timedelta(hours=n)).isoformat(), "rate": 0.5} for n in range(hours)]
        return [record for record in records if str(first) <= record["time"][:10] <= str(last)]

    def decode(self, raw: Mapping[str, Any]) -> tuple[str, events.Body]:
        try:
            return "basal.delivered", events.BasalDelivered(rate_u_per_h=raw["rate"], rate_source="profile")
        except KeyError:
            return "unknown", events.Unknown(code="", reason="no rate")

    def event(self, raw: dict[str, Any]) -> Event:
        kind, body = self.decode(raw)
        return Event(
            id=f"hourly:7:0:{raw['n']}", kind=kind, pump="7", group=0, seq=raw["n"], source="hourly", body=body, raw=raw,
            pump_time=datetime.fromisoformat(raw["time"]), received_at=self.clock.now(),
        )  # fmt: skip

    def poll(self, history: History) -> Iterator[Batch]:
        now = self.clock.now()
        if not history.facts("history.opened"):
            yield Batch(events=[history_opened("hourly", "7", BEGIN.date(), None, now)])
        known = history.facts("basal.delivered", limit=1)
        newest = known[0].seq if known else None
        records = self.records(BEGIN.date(), now.date())
        yield Batch(events=[self.event(raw) for raw in records if newest is None or raw["n"] > newest])

    def backfill(self, history: History, first: date, last: date) -> Iterator[Batch]:
        yield Batch(events=[self.event(raw) for raw in self.records(first, last)])

    def check(self) -> Iterator[CheckResult]:
        yield CheckResult(good=True, what="hourly: one record an hour")


class FetchesNothing(HourlySource):
    def records(self, first: date, last: date) -> list[dict[str, Any]]:
        return []


class FetchesOtherDays(HourlySource):
    def records(self, first: date, last: date) -> list[dict[str, Any]]:
        return super().records(first - timedelta(days=400), last - timedelta(days=400))


class FetchesOneDayLess(HourlySource):
    def records(self, first: date, last: date) -> list[dict[str, Any]]:
        return super().records(first, last - timedelta(days=1))


class TestHourlySource(SourceContract):
    source: type[HourlySource] = HourlySource

    @contextmanager
    def open_world(self, folder: Path) -> Iterator[SourceWorld]:
        clock = ManualClock()
        with closing(EventLog.open(folder, clock=clock, writable=True)) as log:
            yield SourceWorld(lambda: self.source(clock), clock, log)


@pytest.mark.parametrize("source", [FetchesNothing, FetchesOtherDays, FetchesOneDayLess])
def test_a_backfill_that_misses_days_is_caught(tmp_path: Path, source: type[HourlySource]) -> None:
    suite = TestHourlySource()
    with suite.open_world(tmp_path / "whole") as world:
        world.poll()
        whole = world.events_by_id()
    suite.source = source
    with suite.open_world(tmp_path / "lost") as world, pytest.raises(AssertionError, match="did not bring"):
        suite.test_backfill_of_lost_days(world, whole)
