"""The real engine between the older t:connect and a site, and what of the truth that t:connect tells."""

from __future__ import annotations

from datetime import datetime

import attrs

from tconnectsync_simulator.demo.setup import older_config_text
from tconnectsync_simulator.pump.pump import SimulatedPump
from tconnectsync_simulator.pump.truth import TrueBolus, TrueMark, Truth
from tests.e2e.running_engine import Running


@attrs.define
class RunningOlder(Running):
    """The engine with the source ``tconnect`` as its only one; ``cloud`` is a LegacyCloud."""

    def text(self) -> str:
        return older_config_text(
            data_dir=self.folder / "data", zone=self.zone, cloud=self.cloud, site_url=self.site_url or self.site.url,
            site_secret=self.site.secret, history_days=self.history_days, poll_s=self.poll_s, more=self.more,
        )  # fmt: skip


def as_told(pump: SimulatedPump, *, export_until: datetime | None = None) -> Truth:
    """The truth as far as the older services tell it.

    - Of a bolus they tell when it was asked for, some seconds before its start, which they do not tell.
    - Before Control:IQ (``export_until``) there is only the CSV export: amounts have two digits, and modes are not told.
    - Of a change of site, cartridge and tubing there is one entry: where the wearer stopped the pump for it, or, after an
      alarm, at the new cannula.
    - Neither alarms nor carbs without insulin, and with Control:IQ a stop by a predicted low is told as a rate of 0, not as a suspension.
    """
    truth = pump.truth
    since = truth.begin if export_until is None else export_until

    said = {
        (record.entry["eventProperties"]["bolusId"], code): record.entry["eventProperties"]["insulinDelivered"]
        for record in pump.log
        if (code := record.entry["eventCode"]) in (20, 21)
    }

    def told(bolus: TrueBolus) -> TrueBolus:
        bolus = attrs.evolve(bolus, started_at=bolus.requested_at)
        if bolus.requested_at >= since:
            return bolus
        # of the number that the pump said: half a hundredth may be told either way
        now_u, later_u = (round(said.get((bolus.bolus_id, code), 0.0), 2) for code in (20, 21))
        return attrs.evolve(bolus, immediate_u=now_u, extended_u=later_u)

    def told_site(site: TrueMark) -> TrueMark:
        during = next(
            (s for s in truth.suspensions if s.started_at <= site.at and (s.ended_at is None or site.at <= s.ended_at)),
            None,
        )
        return attrs.evolve(site, at=during.started_at if during is not None and during.name == "user" else site.at)

    return attrs.evolve(
        truth,
        boluses=tuple(told(bolus) for bolus in truth.boluses),
        fills=tuple(told_site(fill) for fill in truth.fills if fill.name == "cannula"),
        suspensions=tuple(each for each in truth.suspensions if each.name != "plgs" or each.started_at < since),
        modes=tuple(mode for mode in truth.modes if mode.started_at >= since),
        alarms=(),
        carbs_only=(),
    )
