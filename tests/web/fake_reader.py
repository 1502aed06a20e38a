"""A reader of pages over therapy that a test gives, without a log."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from typing import Any

import attrs

from tconnectsync import Event, GlucoseUnits, Summary, Therapy, Zones, summarise_days
from tconnectsync.events.pump_state import PumpState

UTC = timezone.utc
NOW = datetime(2026, 6, 10, 16, 0, tzinfo=UTC)


def at(minutes_ago: float) -> datetime:
    """A time before :data:`NOW`."""
    return NOW - timedelta(minutes=minutes_ago)


def iso(minutes_ago: float) -> str:
    """The same as the status writes it."""
    return at(minutes_ago).isoformat(timespec="seconds").replace("+00:00", "Z")


def good_status() -> dict[str, Any]:
    """The status of an installation in which everything works."""
    fine = {"state": "ok", "since": iso(900), "message": "", "remedy": None}
    return {
        "log": {"positions": 41234, "damaged": False},
        "disk": dict(fine),
        "sources": {"tandem": {**fine, "last_fetch": iso(2), "last_upload": iso(9), "newest_event": iso(6)}},
        "sinks": {"nightscout-treatments": {**fine, "pending": 0, "dead": 0, "last_delivered": iso(2)}},
    }


@attrs.define(kw_only=True)
class FakeReader:
    """Answers with what the test put in. ``events``: for marks and the newest of a kind, in order of time."""

    whole: Therapy = attrs.field(factory=Therapy)
    all_events: Sequence[Event] = ()
    pump: PumpState | None = None
    found_status: Mapping[str, Any] = attrs.field(factory=good_status)
    zones: Zones = attrs.field(factory=lambda: Zones(timezone="Europe/Berlin"))
    units: GlucoseUnits = GlucoseUnits.MG_DL
    present: datetime = NOW

    def now(self) -> datetime:
        return self.present

    def therapy(self, begin: datetime, end: datetime) -> Therapy:
        return attrs.evolve(self.whole.between(begin, end), until=self.whole.until)

    def events(self, begin: datetime, end: datetime, kinds: frozenset[str]) -> Sequence[Event]:
        return [each for each in self.all_events if each.kind in kinds and each.at and begin <= each.at < end]

    def newest(self, kinds: frozenset[str], where: Callable[[Event], bool] | None = None) -> Event | None:
        found = (each for each in reversed(self.all_events) if each.kind in kinds)
        return next((each for each in found if where is None or where(each)), None)

    def state(self) -> PumpState | None:
        return self.pump

    def summaries(self, first: date, last: date) -> Sequence[Summary]:
        return summarise_days(first, last, self.whole, self.zones, until=self.whole.until)

    def status(self) -> Mapping[str, Any]:
        return self.found_status


def event(kind: str, body: Any, minutes_ago: float) -> Event:
    """An event of this kind."""
    when = at(minutes_ago)
    return Event(
        id=f"test:{kind}:{minutes_ago}", kind=kind, pump="1", group=0, seq=1, pump_time=when.replace(tzinfo=None),
        source="test", received_at=when, body=body, at=when,
    )  # fmt: skip
