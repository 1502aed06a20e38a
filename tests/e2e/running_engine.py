"""The real engine in this process, on a simulated clock: real plugins, log and outboxes over real HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs

from tconnectsync.config.load import load_config
from tconnectsync.config.model import Config
from tconnectsync.jobs.dispatch import perform
from tconnectsync.jobs.messages import Request, Result
from tconnectsync.plugin.manager import load_plugins
from tconnectsync.queries.status import read_status
from tconnectsync.runtime.assembly import open_engine
from tconnectsync.runtime.engine import Engine
from tconnectsync_simulator.cloud.accounts import SimulatedAccount
from tconnectsync_simulator.demo.setup import config_text

BEGIN = datetime(2026, 3, 3, 5, tzinfo=timezone.utc)
ZONE = "America/New_York"


@attrs.define
class HandClock:
    """A clock that moves when somebody sleeps."""

    time: datetime
    ticks: float = 0.0

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        self.ticks += 0.0005
        return self.time.timestamp() + self.ticks

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@attrs.define
class Running:
    """The engine, opened as the daemon opens it. ``site`` has a ``url`` and a ``secret``; ``cloud`` is what :meth:`text` names."""

    folder: Path
    cloud: Any
    site: Any
    clock: HandClock
    zone: str = ZONE
    history_days: int = 2
    poll_s: tuple[int, int] = (300, 1500)
    endpoints: Mapping[str, str] | None = None
    """Where the cloud is asked, if not directly."""
    site_url: str = ""
    """Where the site is, if not directly."""
    account: SimulatedAccount = attrs.field(factory=SimulatedAccount)
    more: str = ""
    """Tables of the configuration besides."""
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
                self.clock.sleep(min(max(0.5, self.engine.next_due()), (when - self.clock.now()).total_seconds() + 1))
        for _ in range(500):
            if not self.engine.run_once(polling=False):
                break

    def ask(self, command: str, **args: Any) -> Result:
        """What a user asks for; its last step."""
        *_, result = perform(self.engine, Request(command=command, args=args), self.config.zones.zone_at)
        assert isinstance(result, Result)
        return result

    def status(self) -> dict[str, Any]:
        """What ``status --json`` would print."""
        return read_status(self.config, clock=self.clock)
