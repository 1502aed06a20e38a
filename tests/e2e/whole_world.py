"""A simulated account, the real command line in its own process, and whatever site it delivers to."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs

from tconnectsync_simulator.cloud.accounts import SimulatedAccount
from tconnectsync_simulator.cloud.tandem import Cloud
from tconnectsync_simulator.demo.setup import config_text


@attrs.define
class MovedClock:
    """The host's clock, a fixed stretch away from the real one, so that the product's own clock need not be moved."""

    ahead: timedelta = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(timezone.utc) + self.ahead


@attrs.define
class Installation:
    """A configuration and a data folder; ``run`` is the command as a user types it."""

    folder: Path
    cloud: Cloud
    site_url: str
    site_secret: str
    zone: str
    history_days: int = 30
    more: str = ""
    program: tuple[str, ...] = (sys.executable, "-m", "tconnectsync")
    """What runs the command line."""
    endpoints: Mapping[str, str] | None = None
    """Where the cloud is asked, if not directly."""
    account: SimulatedAccount = attrs.field(factory=SimulatedAccount)

    def __attrs_post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.configure()

    def configure(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self, name, value)
        path = self.folder / "config.toml"
        path.touch(mode=0o600)
        path.write_text(
            config_text(
                data_dir=self.folder / "data", zone=self.zone, endpoints=self.endpoints or self.cloud.endpoints, site_url=self.site_url,
                site_secret=self.site_secret, history_days=self.history_days, more=self.more,
                account=self.account,
            )
        )  # fmt: skip

    def command(self, *words: str) -> list[str]:
        return [*self.program, "--config", str(self.folder / "config.toml"), *words]

    @property
    def environment(self) -> dict[str, str]:
        kept = ("PATH", "LANG", "PYTHONPATH", "VIRTUAL_ENV", "SYSTEMROOT")
        return {"HOME": str(self.folder), "no_proxy": "127.0.0.1", **{n: v for n, v in os.environ.items() if n in kept}}

    def run(self, *words: str, expect: Sequence[int] = (0,)) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*words), env=self.environment, capture_output=True, text=True, timeout=280, check=False
        )
        assert done.returncode in expect, f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stdout + done.stderr
        return done


def by_identity(documents: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Documents by their identifier, without what the server made up; each identifier once."""
    found = {doc["identifier"]: {key: value for key, value in doc.items() if key != "_id"} for doc in documents}
    assert len(found) == len(documents)
    return found
