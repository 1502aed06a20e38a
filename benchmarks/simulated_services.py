"""A simulated cloud, and a simulated site if wanted, in a process of their own, so that their memory and work are not the product's.

``with running_world(days=30) as world: ...`` starts one; ``world.counts()`` tells the requests so far.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import mmap
import os
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs

ZONE = "America/New_York"
SITE_VERSION = "15.0.6"


class SteppedClock:
    """A clock that two processes share through a file of eight bytes; it stands still until somebody sleeps on it."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._cell = mmap.mmap(file.fileno(), 8)
        self.ticks = 0.0

    @classmethod
    def made(cls, path: Path, now: datetime) -> SteppedClock:
        """A new file that says ``now``."""
        path.write_bytes(struct.pack("d", now.timestamp()))
        return cls(path)

    def now(self) -> datetime:
        """UTC."""
        return datetime.fromtimestamp(struct.unpack("d", self._cell[:8])[0], timezone.utc)

    def monotonic(self) -> float:
        """Moves on a little at every reading, so that slices of work end."""
        self.ticks += 0.0005
        return self.ticks

    def sleep(self, seconds: float) -> None:
        """Be later."""
        self._cell[:8] = struct.pack("d", struct.unpack("d", self._cell[:8])[0] + seconds)

    def until(self, when: datetime) -> None:
        """Be at ``when``."""
        self._cell[:8] = struct.pack("d", when.timestamp())


class _RealClock:
    def now(self) -> datetime:
        return datetime.now(timezone.utc)


@attrs.define
class SimulatedServices:
    """The answers of a running world."""

    endpoints: dict[str, str]
    site_url: str
    site_secret: str
    process: subprocess.Popen[str]
    account: dict[str, str] = attrs.field(factory=dict)
    """Of the wearer: ``email``, ``password``, ``region``."""

    def ask(self, word: str) -> Any:
        """One question to the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def counts(self) -> dict[str, int]:
        """Requests so far: ``cloud``, ``pumper``, ``pump-logs``, ``site``, ``site POST`` and so on; and ``treatments`` held."""
        found: dict[str, int] = self.ask("counts")
        return found

    def spent_s(self) -> float:
        """Processor time that cloud and site have used so far."""
        return float(self.ask("spent"))

    def redirects(self) -> list[tuple[str, str]]:
        """Tandem's own addresses, each with the address here, longest first; see ``redirect/sitecustomize.py``."""
        own = attrs.asdict(_real_endpoints(self.account["region"]))
        names = ("login_api", "authorize", "token", "jwks", "redirect_uri", "login_page", "data")
        return sorted(((own[name], self.endpoints[name]) for name in names), key=lambda pair: -len(pair[0]))

    def configure(
        self, folder: Path, *, history_days: int, site: tuple[str, str] | None = None, more: str = ""
    ) -> Path:
        """A configuration file in ``folder`` that points here, or at another ``site`` (address, secret)."""
        from tconnectsync_simulator.demo.setup import config_text

        url, secret = site or (self.site_url, self.site_secret)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "config.toml"
        path.touch(mode=0o600)
        path.write_text(
            config_text(
                data_dir=folder / "data",
                zone=ZONE,
                endpoints=self.endpoints,
                site_url=url,
                site_secret=secret,
                history_days=history_days,
                more=more,
            )
        )
        return path


def _real_endpoints(region: str) -> Any:
    from tconnectsync_tandem.api.endpoints import REGIONS

    return REGIONS[region]


def clean_environment() -> dict[str, str]:
    """Nothing of the user's own settings."""
    kept = ("PATH", "LANG", "PYTHONPATH", "VIRTUAL_ENV")
    return {"HOME": "/nonexistent", "no_proxy": "127.0.0.1", **{n: v for n, v in os.environ.items() if n in kept}}


@contextlib.contextmanager
def running_world(
    *,
    days: int,
    start: date | None = None,
    clock: Path | None = None,
    upload_every_min: float = 60.0,
    real_names: bool = False,
) -> Iterator[SimulatedServices]:
    """``days`` of a pump's life that ended yesterday (or began at ``start``), its cloud and a site, in their own process.

    ``real_names``: logins have the issuer and the client of Tandem's own service, for a program that insists on them.
    """
    begin = start or datetime.now(timezone.utc).date() - timedelta(days=days)
    words = ["--days", str(days), "--start", begin.isoformat(), "--upload-every-min", str(upload_every_min)]
    if clock is not None:
        words += ["--clock", str(clock)]
    if real_names:
        words.append("--real-names")
    process = subprocess.Popen(
        [sys.executable, __file__, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        told = json.loads(process.stdout.readline())
        yield SimulatedServices(process=process, **told)
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def _get_ready(jwks: str) -> None:
    """Do what would otherwise happen during a measured request: make the key of the tokens. And search for cycles rarely."""
    import jwt  # noqa: F401 - the login signs with it
    import requests

    requests.get(jwks, timeout=60).raise_for_status()
    gc.freeze()
    gc.set_threshold(50_000)


def main() -> None:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, required=True)
    parser.add_argument("--start", type=date.fromisoformat, required=True)
    parser.add_argument("--upload-every-min", type=float, default=60.0)
    parser.add_argument("--clock", type=Path, help="the file of a shared clock; otherwise this machine's clock")
    parser.add_argument("--real-names", action="store_true", help="issuer and client as Tandem's own service has them")
    given = parser.parse_args()

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tconnectsync_simulator.pump.plan import SimulationPlan
    from tests.support.faulty_cloud import FaultyTandemCloud
    from tests.support.simulated_nightscout.app import SimulatedNightscout

    clock = _RealClock() if given.clock is None else SteppedClock(given.clock)
    plan = SimulationPlan(zone=ZONE, start=given.start, days=given.days, upload_every_min=given.upload_every_min)
    life_s = 1800 if given.clock is None else 8 * 3600
    with (
        FaultyTandemCloud([plan], clock, token_life_s=life_s) as cloud,
        SimulatedNightscout(version=SITE_VERSION, now=clock.now) as site,
    ):
        _get_ready(cloud.endpoints["jwks"])
        wearer = cloud.accounts[0]
        if given.real_names:
            own = _real_endpoints(wearer.region)
            cloud.login.client_id, cloud.login.issuer = own.client_id, own.issuer
        told: dict[str, Any] = {"endpoints": cloud.endpoints, "site_url": site.url, "site_secret": site.secret}
        told["account"] = {"email": wearer.email, "password": wearer.password, "region": wearer.region}
        print(json.dumps(told), flush=True)
        for line in sys.stdin:
            if line.strip() == "counts":
                found = Counter(request.kind for request in list(cloud.requests))
                found["cloud"] = len(cloud.requests)
                sent = site.requests
                found.update(f"site {request.method}" for request in sent)
                found["site"] = len(sent)
                found["treatments"] = len(site.documents("treatments"))
                print(json.dumps(found), flush=True)
            else:
                used = os.times()
                print(json.dumps(used.user + used.system), flush=True)


if __name__ == "__main__":
    main()
