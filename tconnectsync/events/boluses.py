"""One bolus, joined from its records: what every reader of bolus records must decide alike."""

from __future__ import annotations

from datetime import datetime

import msgspec

from tconnectsync.events.source_record import SourceRecord

_AUTOMATIC = frozenset({"automatic_correction", "automatic", "eating_soon_automatic", "algorithm", "eating_soon"})


def is_automatic(record: object) -> bool:
    """Return whether a body (or several, joined) says in its type, options or source that the pump gave the bolus by itself."""
    return not _AUTOMATIC.isdisjoint(getattr(record, name, None) for name in ("bolus_type", "options", "bolus_source"))


class BolusEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The end of the immediate or extended part (records 20, 21), or of the whole bolus (280).

    Amounts in U, as recorded.
    """

    record: SourceRecord
    received_at: datetime
    status: str
    delivered_u: float | None = None
    requested_u: float | None = None
    duration_min: float | None = None


class BolusProgress(msgspec.Struct, frozen=True, kw_only=True):
    """The delivered amount of both parts at one moment (a 280 that is not the end)."""

    record: SourceRecord
    delivered_u: float


class JoinedBolus(msgspec.Struct, frozen=True, kw_only=True):
    """The records of one bolus. Amounts as recorded, perhaps impossible; -1 for NaN; None: not recorded.

    ``first``: the record that was read first. ``sources``: the keys of its records. A reader that keeps more of a bolus has a
    subclass of its own.
    """

    bolus_id: int
    first: SourceRecord
    last_at: datetime
    request: SourceRecord | None = None
    started: SourceRecord | None = None
    delivery_started: SourceRecord | None = None
    extended_started: SourceRecord | None = None
    immediate: BolusEnd | None = None
    extended: BolusEnd | None = None
    whole: BolusEnd | None = None
    progress: BolusProgress | None = None
    sources: tuple[str, ...] = ()
    bolus_type: str | None = None
    options: str | None = None
    bolus_source: str | None = None
    types: tuple[str, ...] = ()
    carbs_g: float | None = None
    glucose_mg_dl: float | None = None
    food_u: float | None = None
    correction_u: float | None = None
    total_u: float | None = None
    immediate_percent: float | None = None
    requested_now_u: float | None = None
    requested_later_u: float | None = None
    extended_duration_min: float | None = None
    override: bool = False
    declined_correction: bool = False
    notes: str | None = None

    @property
    def automatic(self) -> bool:
        """Whether the pump gave the bolus by itself."""
        return is_automatic(self)

    @property
    def extension_planned(self) -> bool:
        """Whether an extended part was requested."""
        return (
            self.extended_started is not None
            or self.extended is not None
            or (self.requested_later_u or 0) > 0
            or "later" in self.types
            or (self.options in ("extended", "ble_extended") and (self.immediate_percent or 0) < 100)
        )

    @property
    def immediate_over(self) -> bool:
        """Whether the immediate part is over: it ended, or there is none."""
        if self.immediate is not None or self.whole is not None:
            return True
        nothing_now = self.immediate_percent == 0 or (bool(self.types) and "now" not in self.types)
        return nothing_now and self.extension_planned and self.begun

    @property
    def begun(self) -> bool:
        """Whether delivery of any part was seen."""
        return any((self.started, self.delivery_started, self.extended_started, self.extended, self.progress))

    @property
    def over(self) -> bool:
        """Whether the bolus has ended, so that the delivered amount is final."""
        return self.whole is not None or (self.ended_at is not None and self.immediate_over)

    @property
    def ended_at(self) -> datetime | None:
        """When its last part ended; None: no record reports it."""
        if not self.extension_planned:
            end = self.immediate or self.whole
        elif self.immediate is not None and self.immediate.status != "completed" and self.extended_started is None:
            end = self.immediate  # cut short: the extended part never began
        else:
            end = self.extended or self.whole
        return None if end is None else end.record.at

    @property
    def status(self) -> str | None:
        """How its last part ended, such as "completed" or "user_aborted"; None: no record reports it."""
        end = self.extended or self.immediate
        return None if end is None else end.status

    @property
    def requested_u(self) -> float | None:
        """The requested amount of both parts; None if it is unknown, or only that of one part is known."""
        if self.total_u is not None:
            return self.total_u
        if self.requested_now_u is not None:
            return self.requested_now_u + (self.requested_later_u or 0.0)
        return None if self.immediate is None or self.extension_planned else self.immediate.requested_u

    @property
    def amounts(self) -> tuple[float, float] | None:
        """Units delivered immediately and extended so far; None while unknown. From records 20 and 21, else 280."""
        now = None if self.immediate is None else self.immediate.delivered_u
        if now is None and self.immediate is None and self.immediate_over and self.whole is None:
            now = 0.0
        return self._amounts(now, None if self.whole is None else self.whole.delivered_u)

    @property
    def amounts_so_far(self) -> tuple[float, float] | None:
        """Units delivered immediately and extended so far, also while the immediate part is running; None: nothing is reported."""
        if self.amounts is not None:
            return self.amounts
        later = None if self.extended is None else self.extended.delivered_u
        return self._amounts(None, self.reported_u) or (None if later is None else (0.0, later))

    @property
    def reported_u(self) -> float | None:
        """The units of both parts so far by record 280, in thousandths; 20 and 21 are exact."""
        for reported in (self.whole, self.progress):
            if reported is not None and reported.delivered_u is not None:
                return reported.delivered_u
        return None if self.delivery_started is None else 0.0

    def _amounts(self, now: float | None, total: float | None) -> tuple[float, float] | None:
        later = None if self.extended is None else self.extended.delivered_u
        if now is None and total is not None:
            now = max(total - later, 0.0) if later is not None else self._immediate_of(total)
        if now is None:
            return None
        if later is None:
            so_far = total if total is not None else self.reported_u
            later = max(so_far - now, 0.0) if so_far is not None and self.extension_planned else 0.0
        return now, later

    def _immediate_of(self, total: float) -> float:
        """The immediate part of ``total``: at most what was requested."""
        if not self.extension_planned:
            return total
        if self.types and "now" not in self.types:
            return 0.0
        return total if self.requested_now_u is None else min(total, max(self.requested_now_u, 0.0))

    @property
    def start(self) -> SourceRecord:
        """The start of delivery: 55, else the start in 280, else the request, else the times of the parts."""
        records = (self.started, self.delivery_started, self.request, self.extended_started)
        ends = (self.immediate, self.extended, self.whole, self.progress)
        for record in (*records, *(end.record for end in ends if end is not None)):
            if record is not None:
                return record
        return self.first

    @property
    def extension_start(self) -> datetime:
        """The start of the extended part: 59, else the end of the immediate part, else the start of the bolus."""
        if self.extended_started is not None:
            return self.extended_started.at
        return self.immediate.record.at if self.immediate is not None else self.start.at

    @property
    def extension_end(self) -> datetime:
        """The end of the extended part, or how far it is known to have come."""
        for end in (self.extended, self.whole, self.progress):
            if end is not None:
                return end.record.at
        return self.extension_start
