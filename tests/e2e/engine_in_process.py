"""The real engine in this process, on a simulated clock: real plugins, log and outboxes over real HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import attrs

from tconnectsync.config.load import load_config
from tconnectsync.config.model import Config
from tconnectsync.jobs.dispatch import perform
from tconnectsync.jobs.messages import Request, Result
from tconnectsync.plugin.manager import load_plugins
from tconnectsync.queries.status import read_status
from tconnectsync.runtime.engine import Engine
from tconnectsync.runtime.open_engine import open_engine
from tconnectsync_simulator.cloud.accounts import SimulatedAccount
from tconnectsync_simulator.demo.setup import address_lines, config_text, quoted
from tconnectsync_simulator.pump.pump import SimulatedPump
from tconnectsync_simulator.pump.truth import TrueBolus, TrueMark, Truth
from tests.support.clocks import FakeClock

BEGIN = datetime(2026, 3, 3, 5, tzinfo=timezone.utc)
ZONE = "America/New_York"


@attrs.define
class InProcessEngine:
    """The engine, opened as the daemon opens it. ``site`` has a ``url`` and a ``secret``; ``cloud`` is what :meth:`text` names."""

    folder: Path
    cloud: Any
    site: Any
    clock: FakeClock
    zone: str = ZONE
    history_days: int = 2
    poll_s: tuple[int, int] = (300, 1500)
    endpoints: Mapping[str, str] | None = None
    """The address at which the cloud is asked, if not its own."""
    site_url: str = ""
    """The address of the site, if not its own."""
    account: SimulatedAccount = attrs.field(factory=SimulatedAccount)
    more: str = ""
    """Further tables of the configuration."""
    longest_sleep_s: float = 600.0
    """How long :meth:`until` sleeps at most if nothing is due. Ten wakes a minute apart cost as much as a poll."""
    config: Config = attrs.field(init=False)
    engine: Engine = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "config.toml"
        path.touch(mode=0o600)
        path.write_text(self.text())
        plugins = load_plugins()
        self.config = load_config(path, {}, plugins)
        self.engine = open_engine(self.config, plugins, clock=self.clock)

    def text(self) -> str:
        """The configuration."""
        return config_text(
            data_dir=self.folder / "data", zone=self.zone, endpoints=self.endpoints or self.cloud.endpoints,
            site_url=self.site_url or self.site.url, site_secret=self.site.secret, history_days=self.history_days,
            poll_s=self.poll_s, account=self.account, more=self.more,
        )  # fmt: skip

    def reopen(self) -> None:
        self.engine.close()
        self.open()

    def until(self, when: datetime) -> None:
        while self.clock.now() < when:
            if not self.engine.run_once():
                pause_s = max(0.5, self.engine.next_due(self.longest_sleep_s))
                self.clock.sleep(min(pause_s, (when - self.clock.now()).total_seconds() + 1))
        for _ in range(500):
            if not self.engine.run_once(polling=False):
                break

    def ask(self, command: str, **args: Any) -> Result:
        """Carry out a user's request; return its last step."""
        *_, result = perform(self.engine, Request(command=command, args=args), self.config.zones.zone_at)
        assert isinstance(result, Result)
        return result

    def status(self) -> dict[str, Any]:
        """What ``status --json`` would print."""
        return read_status(self.config, clock=self.clock)


@attrs.define
class InProcessTconnectEngine(InProcessEngine):
    """The engine with the source ``tconnect`` as its only one; ``cloud`` is a TconnectCloud."""

    def text(self) -> str:
        account = self.cloud.account
        source = f"""[sources.tconnect]
enabled = true
email = "{account.email}"
password = {quoted(account.password)}
client_id = {quoted(account.client_id)}
client_secret = {quoted(account.client_secret)}
pumps = ["{self.cloud.pump.plan.serial}"]
history_days = {self.history_days}

[sources.tconnect.endpoints]
{address_lines(self.cloud.endpoints)}
"""
        return config_text(
            data_dir=self.folder / "data", zone=self.zone, endpoints={}, site_url=self.site_url or self.site.url,
            site_secret=self.site.secret, poll_s=self.poll_s, more=self.more, source=source,
        )  # fmt: skip


def truth_as_reported(pump: SimulatedPump, *, export_until: datetime | None = None) -> Truth:
    """The truth as far as the older services report it.

    - A bolus has the time of its request, some seconds before its start. The start is not reported.
    - Before Control:IQ (``export_until``) there is only the CSV export: amounts have two digits, and there are no
      modes.
    - A change of site, cartridge and tubing is one entry: when the wearer stopped the pump for it, or, after an alarm,
      at the new cannula.
    - There are no alarms and no carbs without insulin.
    - With Control:IQ, a stop by a predicted low is a rate of 0 and not a suspension.
    """
    truth = pump.truth
    since = truth.begin if export_until is None else export_until

    reported_u = {
        (record.entry["eventProperties"]["bolusId"], code): record.entry["eventProperties"]["insulinDelivered"]
        for record in pump.log
        if (code := record.entry["eventCode"]) in (20, 21)
    }

    def bolus_as_reported(bolus: TrueBolus) -> TrueBolus:
        bolus = attrs.evolve(bolus, started_at=bolus.requested_at)
        if bolus.requested_at >= since:
            return bolus
        # the pump's number, rounded: half a hundredth may be rounded up or down
        now_u, later_u = (round(reported_u.get((bolus.bolus_id, code), 0.0), 2) for code in (20, 21))
        return attrs.evolve(bolus, immediate_u=now_u, extended_u=later_u)

    def site_as_reported(site: TrueMark) -> TrueMark:
        during = next(
            (s for s in truth.suspensions if s.started_at <= site.at and (s.ended_at is None or site.at <= s.ended_at)),
            None,
        )
        return attrs.evolve(site, at=during.started_at if during is not None and during.name == "user" else site.at)

    return attrs.evolve(
        truth,
        boluses=tuple(bolus_as_reported(bolus) for bolus in truth.boluses),
        fills=tuple(site_as_reported(fill) for fill in truth.fills if fill.name == "cannula"),
        suspensions=tuple(each for each in truth.suspensions if each.name != "plgs" or each.started_at < since),
        modes=tuple(mode for mode in truth.modes if mode.started_at >= since),
        alarms=(),
        carbs_only=(),
    )
