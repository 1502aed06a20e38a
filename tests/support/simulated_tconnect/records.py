"""Convert a pump's uploaded records to the older t:connect's data: basal, suspensions, modes, boluses, readings.

Only records that were uploaded by then count, so a late one changes the responses. Times are the pump's wall clock
(naive), and durations are differences of that clock, as in the real services.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from tconnectsync_simulator.pump.records import PUMP_EPOCH_S, SimulatedRecord

SUSPENDED, PROFILE, TEMP, ALGORITHM = 0, 1, 2, 3
SLEEP, EXERCISE, CARBS_ONLY = 1, 2, 4
CONTROL_IQ, MANUAL, ALARM, SITE, PREVIOUS = "control-iq", "manual", "alarm", "site-cart", "previous"
REASONS = {0: MANUAL, 1: ALARM, 6: CONTROL_IQ}
"""Record 11's ``suspendReason``."""
REQUEST_CODES = frozenset({64, 65, 66})
"""Codes of a bolus request. A bolus without its request is left out."""
BOLUS_CODES = frozenset({20, 21, 55, 59, 64, 65, 66})


@attrs.frozen(kw_only=True)
class BasalRow:
    """A rate from ``at`` on; ``kind`` is its type in the services."""

    at: datetime
    kind: int
    rate_u_per_h: float
    span_s: int


@attrs.frozen(kw_only=True)
class SuspensionRow:
    """A suspension's start, and its end if known."""

    at: datetime
    reason: str
    ended_at: datetime | None = None


@attrs.frozen(kw_only=True)
class TimelineEventRow:
    """An entry of the timeline's ``events``."""

    at: datetime
    kind: int
    span_s: int


@attrs.frozen(kw_only=True)
class ReadingRow:
    """A reading of the sensor, or of a meter with the insulin on board. ``number``: the record's sequence number."""

    at: datetime
    number: int
    glucose_mg_dl: int
    sensor: bool
    iob_u: float = 0.0
    calibration: bool = False


@attrs.frozen(kw_only=True)
class IobRow:
    """Insulin on board, and the code of its record."""

    at: datetime
    code: int
    iob_u: float


@attrs.define(kw_only=True)
class BolusRecords:
    """The uploaded records of one bolus: ``said`` by record code, and the time of each."""

    bolus_id: int
    said: dict[int, Mapping[str, Any]] = attrs.field(factory=dict)
    at: dict[int, datetime] = attrs.field(factory=dict)

    @property
    def event_at(self) -> datetime:
        """Its position among the events."""
        return self.at[64]

    def value(self, code: int, key: str, default: Any = 0) -> Any:
        """A property of one of its records."""
        return self.said.get(code, {}).get(key, default)


@attrs.define
class TconnectRecords:
    """All data of the services at one time."""

    basal: list[BasalRow] = attrs.field(factory=list)
    suspensions: list[SuspensionRow] = attrs.field(factory=list)
    sites: list[SuspensionRow] = attrs.field(factory=list)
    events: list[TimelineEventRow] = attrs.field(factory=list)
    boluses: list[BolusRecords] = attrs.field(factory=list)
    readings: list[ReadingRow] = attrs.field(factory=list)
    iob: list[IobRow] = attrs.field(factory=list)
    temp_rates: list[tuple[datetime, float]] = attrs.field(factory=list)
    newest_index: int = 0


@attrs.define(kw_only=True)
class _Held:
    """The current suspension."""

    at: datetime
    reason: str
    site_told: bool = False


@attrs.define
class _Writer:
    result: TconnectRecords = attrs.field(factory=TconnectRecords)
    _boluses: dict[int, BolusRecords] = attrs.field(factory=dict)
    _basal: tuple[datetime, int, float] | None = None
    """The current rate: start, kind and rate."""
    _mode: tuple[datetime, int] | None = None
    _held: _Held | None = None

    def read(self, record: SimulatedRecord) -> datetime:
        """Add a record's data; return its time."""
        entry = record.entry
        code, said = int(entry["eventCode"]), entry["eventProperties"]
        at = datetime.fromisoformat(entry["pumpDateTime"])
        self.result.newest_index = max(self.result.newest_index, int(entry["sequenceNumber"]))
        if code in BOLUS_CODES:
            self._bolus(code, at, said)
        elif code == 279:
            self._rate(at, int(said["commandedRateSource"]), int(said["commandedRate"]) / 1000)
        elif code == 11:
            self._suspend(at, REASONS.get(int(said["suspendReason"]), MANUAL))
        elif code == 12:
            self._resume(at)
        elif code == 61:
            self._site(at)
        elif code == 229:
            self._change_mode(at, int(said["currentUserMode"]))
        elif code == 399:
            self._sensor(entry["sequenceNumber"], said)
        elif code == 16:
            self._meter(at, entry["sequenceNumber"], said)
        elif code == 81:
            self.result.iob.append(IobRow(at=at, code=code, iob_u=float(said["iob"])))
        elif code == 48:
            self.result.events.append(TimelineEventRow(at=at, kind=CARBS_ONLY, span_s=0))
        return at

    def closed(self, newest: datetime) -> TconnectRecords:
        """End what is still running at the newest record."""
        records = self.result
        self._end_basal(newest)
        self._end_mode(newest)
        if self._held is not None:
            self._end_hold(None)
        asked = (bolus for bolus in self._boluses.values() if bolus.said.keys() >= REQUEST_CODES)
        records.boluses = sorted(asked, key=lambda each: each.event_at)
        for rows in (records.basal, records.suspensions, records.sites, records.events, records.readings, records.iob):
            rows.sort(key=lambda row: row.at)
        return records

    def _rate(self, at: datetime, kind: int, rate: float) -> None:
        if kind == SUSPENDED:
            if self._held is None:
                self._end_basal(at)
            return
        if self._held is not None:
            self._end_hold(at)
        going = self._basal
        if going is not None and going[1:] == (kind, rate) and kind != ALGORITHM:
            return
        self._end_basal(at)
        if kind == ALGORITHM and rate == 0 and (going is None or going[1:] != (ALGORITHM, 0.0)):
            self.result.suspensions.append(SuspensionRow(at=at, reason=CONTROL_IQ))
        if kind == TEMP:
            self.result.temp_rates.append((at, rate))
        self._basal = (at, kind, rate)

    def _suspend(self, at: datetime, reason: str) -> None:
        self._end_basal(at)
        if self._held is not None:
            self._end_hold(at)
        self._held = _Held(at=at, reason=reason)
        if reason == CONTROL_IQ:
            self._basal = (at, ALGORITHM, 0.0)

    def _resume(self, at: datetime) -> None:
        if self._held is not None:
            self._end_basal(at)
            self._end_hold(at)

    def _end_hold(self, ended_at: datetime | None) -> None:
        held, self._held = self._held, None
        if held is not None:
            row = SuspensionRow(at=held.at, reason=held.reason, ended_at=ended_at)
            self.result.suspensions.append(row)
            if held.reason != CONTROL_IQ:
                self.result.sites.append(row)

    def _site(self, at: datetime) -> None:
        """A new site: the reason of the current suspension; after an alarm, an entry of its own."""
        held = self._held
        if held is None or held.site_told:
            return
        held.site_told = True
        if held.reason == MANUAL:
            held.reason = SITE
        else:
            self.result.sites.append(SuspensionRow(at=at, reason=SITE, ended_at=at))

    def _end_basal(self, end: datetime) -> None:
        if self._basal is not None:
            at, kind, rate = self._basal
            self._basal = None
            self.result.basal.append(BasalRow(at=at, kind=kind, rate_u_per_h=rate, span_s=_between_s(at, end)))

    def _change_mode(self, at: datetime, mode: int) -> None:
        if self._mode is not None and self._mode[1] == mode:
            return
        self._end_mode(at)
        if mode in (SLEEP, EXERCISE):
            self._mode = (at, mode)

    def _end_mode(self, end: datetime) -> None:
        if self._mode is not None:
            at, mode = self._mode
            self._mode = None
            self.result.events.append(TimelineEventRow(at=at, kind=mode, span_s=_between_s(at, end)))

    def _bolus(self, code: int, at: datetime, said: Mapping[str, Any]) -> None:
        bolus_id = int(said["bolusId"])
        bolus = self._boluses.setdefault(bolus_id, BolusRecords(bolus_id=bolus_id))
        bolus.said[code], bolus.at[code] = said, at

    def _sensor(self, number: int, said: Mapping[str, Any]) -> None:
        value = int(said["currentGlucoseDisplayValue"])
        if value > 0 and int(said["algorithmState"]) == 32:
            at = datetime(1970, 1, 1) + timedelta(seconds=PUMP_EPOCH_S + int(said["egvTimeStamp"]))
            self.result.readings.append(ReadingRow(at=at, number=number, glucose_mg_dl=value, sensor=True))

    def _meter(self, at: datetime, number: int, said: Mapping[str, Any]) -> None:
        self.result.readings.append(
            ReadingRow(
                at=at,
                number=number,
                glucose_mg_dl=int(said["bg"]),
                sensor=False,
                iob_u=float(said["iob"]),
                calibration=bool(said["cgmCalibration"]),
            )
        )


def _between_s(begin: datetime, end: datetime) -> int:
    """The time between them; 0 if the clock was set back in between."""
    return max(0, round((end - begin).total_seconds()))


def records_from_pump(records: Iterable[SimulatedRecord]) -> TconnectRecords:
    """Return the services' data for these records, which are in the log's order."""
    writer, newest = _Writer(), datetime(2008, 1, 1)
    for record in records:
        newest = max(newest, writer.read(record))
    return writer.closed(newest)
