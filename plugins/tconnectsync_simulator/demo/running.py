"""Runs the demo: the real daemon between a simulated pump and site, and a page with the result."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import click

from tconnectsync import counted

ZONE = "America/New_York"


def run_demo(*, days: int, port: int, seed: int, once: bool, plugins_dir: Path | None, tables: Path | None) -> int:
    """Sync once, or run until Ctrl-C; return the exit status."""
    more = "" if tables is None else tables.read_text()
    with _demo_setup(days, seed, plugins_dir.resolve() if plugins_dir is not None else None, more) as world:
        return _once(world) if once else _live(world, port)


class _DemoSetup:
    """The demo's configuration and site."""

    def __init__(self, folder: Path, site: Any, pump: Any) -> None:
        self.folder, self.site, self.pump = folder, site, pump
        self.config = folder / "config.toml"

    def command(self, *words: str) -> list[str]:
        return [*_program(), "--config", str(self.config), *words]

    def typed(self, *words: str) -> str:
        """The command to paste into another terminal; it works with any PATH."""
        return shlex.join(self.command(*words))

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*words), env=_environment(), capture_output=True, text=True, check=False)  # noqa: S603

    def status(self) -> dict[str, Any]:
        found = self.run("status", "--json")
        try:
            status: dict[str, Any] = json.loads(found.stdout)
        except ValueError:
            return {}
        return status


def _program() -> list[str]:
    """The running command line by its full path: its environment may not be on the PATH."""
    script = Path(sys.executable).with_name("tconnectsync")
    return [str(script)] if os.access(script, os.X_OK) else [sys.executable, "-m", "tconnectsync"]


class _HostClock:
    def now(self) -> datetime:
        return datetime.now(timezone.utc)


@contextlib.contextmanager
def _demo_setup(days: int, seed: int, plugins_dir: Path | None = None, more: str = "") -> Iterator[_DemoSetup]:
    from tconnectsync_simulator.cloud.tandem import TandemCloud
    from tconnectsync_simulator.demo.nightscout_site import DemoSite
    from tconnectsync_simulator.demo.setup import config_text
    from tconnectsync_simulator.pump.plan import SimulationPlan
    from tconnectsync_simulator.pump.pump import simulate

    clock = _HostClock()
    start = clock.now().date() - timedelta(days=days + 2)
    pump = simulate(
        SimulationPlan(seed=seed, zone=ZONE, start=start, days=days + 4, upload_every_min=5.0, late_share=0.05)
    )
    with (
        tempfile.TemporaryDirectory(prefix="tconnectsync-demo-") as name,
        TandemCloud([pump], clock) as cloud,
        DemoSite() as site,
    ):
        world = _DemoSetup(Path(name), site, pump)
        text = config_text(
            data_dir=world.folder / "data",
            zone=ZONE,
            endpoints=cloud.endpoints,
            site_url=site.url,
            site_secret=site.secret,
            history_days=days,
            poll_s=(15, 60),
            plugins_dir=plugins_dir,
            more=more,
        )
        world.config.touch(mode=0o600)
        world.config.write_text(text)
        yield world


def _environment() -> dict[str, str]:
    """Remove the user's own settings from the demo's environment."""
    own = (
        "TCONNECT",
        "NS_",
        "API_SECRET",
        "PUMP_SERIAL_NUMBER",
        "TIMEZONE_NAME",
        "CREDENTIALS_DIRECTORY",
        "STATE_DIRECTORY",
    )
    ours = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    # the servers run on this computer: no proxy
    return {**ours, "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1", "PYTHONUNBUFFERED": "1"}


def _once(world: _DemoSetup) -> int:
    began = time.monotonic()
    done = world.run("sync")
    click.echo(done.stdout + done.stderr, nl=False)
    if done.returncode:
        return done.returncode
    treatments = world.site.documents("treatments")
    doses = [float(known["insulin"]) for known in treatments if known.get("insulin")]
    status = world.status()
    click.echo(
        f"{counted(status['log']['positions'], 'record')} in the event log, {counted(len(treatments), 'document')} on the simulated"
        f" Nightscout ({counted(len(doses), 'bolus')}, {sum(doses):.2f} U) after {time.monotonic() - began:.1f} s."
    )
    again = world.run("sync")
    click.echo("A second sync found nothing new to send." if again.returncode == 0 else again.stderr)
    return again.returncode


def _live(world: _DemoSetup, port: int) -> int:
    """Run the daemon and the page, as a user does, until one of them ends or Ctrl-C."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with _process(world.command("run")) as daemon, _process(world.command(*_web(port)), stderr=subprocess.PIPE) as web:
        address = _address(web)
        if address is None:
            return web.wait()
        click.echo(f"The page is at {address} (new data appears by itself). Press Ctrl-C to end the demo.")
        click.echo(
            "Try in another terminal:\n"
            f"  {world.typed('status')}\n"
            f"  {world.typed('events', '--follow')}\n"
            f"  {world.typed('verify', 'nightscout-treatments')}"
        )
        while daemon.poll() is None and web.poll() is None and not stop.wait(0.5):
            pass
        ended = [each.poll() for each in (daemon, web)]
    return next((status for status in ended if status), 0)


def _web(port: int) -> tuple[str, ...]:
    return ("web", "--host", "127.0.0.1", "--port", str(port))


@contextlib.contextmanager
def _process(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A command of the product, ended at the end."""
    process = subprocess.Popen(command, env=_environment(), text=True, **options)  # noqa: S603
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _address(web: subprocess.Popen[str]) -> str | None:
    """The address of the page as the web command says it; None if the command ended. Its other lines go to stderr."""
    lines = iter(web.stderr or ())
    for line in lines:
        words, listening, address = line.partition("Listening on ")
        if listening and not words:
            threading.Thread(target=_pass_on, args=(lines,), daemon=True).start()
            return address.strip()
        click.echo(line, nl=False, err=True)
    return None


def _pass_on(lines: Iterator[str]) -> None:
    for line in lines:
        click.echo(line, nl=False, err=True)
