"""The ledger of a simulation: collects the truth about a pump while it runs."""

from __future__ import annotations

import attrs

from tconnectsync_simulator.pump.truth import (
    HOUR_S,
    TrueBolus,
    TrueGlucose,
    TrueIob,
    TrueMark,
    TrueSpan,
    Truth,
    utc,
)


@attrs.define(kw_only=True)
class OpenSpan:
    """A span that may not have ended."""

    name: str
    started_s: int
    uploaded_s: int
    ended_s: int | None = None


@attrs.define(kw_only=True)
class OpenBolus:
    """A requested bolus; amounts in mU, with fractions."""

    bolus_id: int
    kind: str
    requested_s: int
    started_s: int
    now_mu: int
    later_mu: int
    extended_min: int
    carbs_g: int
    immediate_mu: float = 0.0
    extended_mu: float = 0.0
    ended_s: int | None = None
    reason: str = "running"
    uploaded_s: int = 0


@attrs.define
class Ledger:
    """Collects the truth about one pump. Basal is in whole mU/h times seconds, so that sums are exact."""

    serial: str
    begin_s: int
    basal_mu_h_s: dict[int, int] = attrs.field(factory=dict)
    basal_uploaded_s: dict[int, int] = attrs.field(factory=dict)
    basal_known_s: int | None = None
    boluses: list[OpenBolus] = attrs.field(factory=list)
    suspensions: list[OpenSpan] = attrs.field(factory=list)
    modes: list[OpenSpan] = attrs.field(factory=list)
    alarms: list[OpenSpan] = attrs.field(factory=list)
    fills: list[TrueMark] = attrs.field(factory=list)
    carbs_only: list[TrueMark] = attrs.field(factory=list)
    sensor_starts: list[TrueMark] = attrs.field(factory=list)
    finger_sticks: list[TrueMark] = attrs.field(factory=list)
    glucose: list[tuple[int, int, str, int]] = attrs.field(factory=list)
    iob: list[tuple[int, float, int]] = attrs.field(factory=list)

    def delivered_basal(self, begin_s: int, end_s: int, rate_mu_h: int) -> None:
        """Add a rate that was delivered from ``begin_s`` to ``end_s``."""
        hours = self.basal_mu_h_s
        while begin_s < end_s:
            hour = begin_s // HOUR_S
            until_s = min(end_s, (hour + 1) * HOUR_S)
            hours[hour] = hours.get(hour, 0) + rate_mu_h * (until_s - begin_s)
            begin_s = until_s

    def basal_logged(self, at_s: int, uploaded_s: int) -> None:
        """Note a record about the basal of its hour, and of the next hour if it is near."""
        self.basal_known_s = at_s
        hour = at_s // HOUR_S
        for each in {hour, (at_s - 1200) // HOUR_S, (at_s + 1200) // HOUR_S}:
            if self.basal_uploaded_s.get(each, 0) < uploaded_s:
                self.basal_uploaded_s[each] = uploaded_s

    def note(self, name: str, at_s: int, value: float, uploaded_s: int) -> TrueMark:
        """Return an event at one time."""
        return TrueMark(serial=self.serial, name=name, at=utc(at_s), value=value, uploaded_at=utc(uploaded_s))

    def truth(self, end_s: int) -> Truth:
        """The truth so far."""
        return Truth(
            begin=utc(self.begin_s),
            end=utc(end_s),
            boluses=tuple(self._bolus(each) for each in self.boluses),
            basal_u_per_hour={utc(hour * HOUR_S): sum_ / 3_600_000 for hour, sum_ in self.basal_mu_h_s.items()},
            basal_uploaded_at={utc(hour * HOUR_S): utc(at_s) for hour, at_s in self.basal_uploaded_s.items()},
            basal_known_until=None if self.basal_known_s is None else utc(self.basal_known_s),
            suspensions=tuple(self._span(each) for each in self.suspensions),
            modes=tuple(self._span(each) for each in self.modes),
            alarms=tuple(self._span(each) for each in self.alarms),
            fills=tuple(self.fills),
            carbs_only=tuple(self.carbs_only),
            sensor_starts=tuple(self.sensor_starts),
            finger_sticks=tuple(self.finger_sticks),
            glucose=tuple(
                TrueGlucose(
                    serial=self.serial, at=utc(at_s), glucose_mg_dl=value, mark=mark, uploaded_at=utc(uploaded_s)
                )
                for at_s, value, mark, uploaded_s in sorted(self.glucose)
            ),
            iob=tuple(
                TrueIob(serial=self.serial, at=utc(at_s), iob_u=value, uploaded_at=utc(uploaded_s))
                for at_s, value, uploaded_s in self.iob
            ),
        )

    def _bolus(self, each: OpenBolus) -> TrueBolus:
        return TrueBolus(
            serial=self.serial,
            bolus_id=each.bolus_id,
            requested_at=utc(each.requested_s),
            started_at=utc(each.started_s),
            ended_at=None if each.ended_s is None else utc(each.ended_s),
            requested_u=(each.now_mu + each.later_mu) / 1000,
            immediate_u=each.immediate_mu / 1000,
            extended_u=each.extended_mu / 1000,
            carbs_g=each.carbs_g,
            kind=each.kind,
            extended_min=each.extended_min,
            reason=each.reason,
            uploaded_at=utc(each.uploaded_s),
        )

    def _span(self, each: OpenSpan) -> TrueSpan:
        return TrueSpan(
            serial=self.serial,
            name=each.name,
            started_at=utc(each.started_s),
            ended_at=None if each.ended_s is None else utc(each.ended_s),
            uploaded_at=utc(each.uploaded_s),
        )
