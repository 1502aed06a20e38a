"""How long the pages of ``tconnectsync web`` take from a long log: the first view, the view after news, a day's page.

And whether they disturb: a first sync of 30 days alone, and beside a page that is loaded every second, in turns.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import requests
from bench_report import CONFIG, ZONE
from measure import Ended, Row, Spread, main_of, run_python
from simulated_services import SimulatedServices, clean_environment, running_world

from tconnectsync import Event
from tconnectsync.clock import SystemClock
from tconnectsync.eventlog import EventLog
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import Simulation
from tconnectsync_simulator.pump.truth import utc
from tconnectsync_tandem.decode.event_factory import make_event

TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
LAST_UPLOADS = 20
"""The newest records come one by one while the pages are served: these are the news."""


def write_log(folder: Path, days: int) -> tuple[int, list[Event]]:
    """Write the log of these days up to now; return the number of its events, and the newest ones, which it lacks."""
    clock = SystemClock()
    now = clock.now().timestamp()
    plan = SimulationPlan(seed=9, zone=ZONE, start=clock.now().date() - timedelta(days=days), days=days + 1)
    with EventLog.open(folder, clock=clock, writable=True) as log:
        for day in Simulation(plan).days():
            past = [each for each in day if each.at_s <= now]
            events = [
                make_event(each.entry, pump=plan.serial, received_at=utc(min(each.uploaded_s, now)))[0] for each in past
            ]
            if past:
                newest = events
                log.append(events[:-LAST_UPLOADS])
        while log.maintain(10):
            pass
        return log.end, newest[-LAST_UPLOADS:]


@contextlib.contextmanager
def served(config: Path) -> Iterator[tuple[str, int]]:
    """The command as a process: the address of its page, and its process id."""
    command = [sys.executable, "-m", "tconnectsync", "web", "--config", str(config), "--port", "0"]
    process = subprocess.Popen(command, env=clean_environment(), stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = ""
        while "Listening on " not in line:
            line = process.stderr.readline()
            if not line:
                raise RuntimeError("tconnectsync web ended before it listened")
        yield line.partition("Listening on ")[2].strip(), process.pid
    finally:
        process.terminate()
        process.wait()


def cpu_ms(pid: int) -> float:
    """What the process has used up."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_MS


def peak_mb(pid: int) -> float:
    """The process's resident memory at most."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


class Looks:
    """Times of requests, and what they cost the server."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def look(self, ask: Callable[[], requests.Response], pid: int) -> None:
        """Ask once."""
        before, begin = cpu_ms(pid), time.perf_counter()
        answer = ask()
        self.wall.append(1000 * (time.perf_counter() - begin))
        self.cpu.append(cpu_ms(pid) - before)
        if answer.status_code != 200 or "<svg" not in answer.text:
            raise RuntimeError(f"{answer.url} shows nothing ({answer.status_code})")

    def row(self, what: str, must_ms: float | None, notes: str = "") -> Row:
        """What was seen."""
        spread = Spread.of(self.wall)
        return Row(
            what=what,
            must=f"{must_ms:.0f} ms" if must_ms else "",
            measured=f"{spread.text(' ms')}, {sum(self.cpu) / len(self.cpu):.0f} ms of CPU{notes}",
            met=spread.median <= must_ms if must_ms else None,
        )


def rows(small: bool = False) -> Iterator[Row]:
    """The pages, asked over HTTP as a browser does."""
    days, runs = (40, 2) if small else (365, 5)
    first, again, after_news, one_day = Looks(), Looks(), Looks(), Looks()
    unseen = (SystemClock().now().date() - timedelta(days=number) for number in range(2, days))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        folder.mkdir()
        count, news = write_log(folder, days)
        config = Path(name) / "config.toml"
        config.touch(mode=0o600)
        config.write_text(CONFIG.format(zone=ZONE, folder=folder))
        peak = 0.0
        for _ in range(runs):
            with served(config) as (url, pid):
                first.look(partial(_get, url), pid)
                again.look(partial(_get, url), pid)
                if news:
                    with EventLog.open(folder, clock=SystemClock(), writable=True) as log:
                        log.append([news.pop(0)])
                after_news.look(partial(_get, url), pid)
                for _ in range(3):
                    one_day.look(partial(_get, url, next(unseen)), pid)
                peak = max(peak, peak_mb(pid))
    where = f"log of {days} days, {count:,} events"
    yield first.row(f"page of `tconnectsync web`: the first view of a process that just began ({where})", 150)
    yield again.row("– the same again, with nothing new", None)
    yield after_news.row("– after new events", 150)
    yield one_day.row("– the page of a day that was not looked at before", 100, f"; most memory {peak:.0f} MB")
    yield from disturbance(*((3, 1) if small else (30, 5)))


def disturbance(days: int, runs: int) -> Iterator[Row]:
    """A first sync alone and beside a page that is loaded every second, in turns. The log that the page reads is being written."""
    alone: list[Ended] = []
    beside: list[Ended] = []
    with running_world(days=days) as world:
        for _ in range(runs):
            alone.append(_first_sync(world, days, looked_at=False))
            beside.append(_first_sync(world, days, looked_at=True))
    quiet, watched = (Spread.of([each.cpu_s for each in ended]) for ended in (alone, beside))
    walls = [Spread.of([each.wall_s for each in ended]).median for ended in (alone, beside)]
    yield Row(
        what=f"the first sync of {days} days beside a page that is loaded every second",
        must="as without it",
        measured=f"{watched.text(' s', digits=2)} of CPU, {walls[1]:.2f} s",
        limit=f"alone {quiet.text(' s', digits=2)} of CPU, {walls[0]:.2f} s",
    )


def _first_sync(world: SimulatedServices, days: int, *, looked_at: bool) -> Ended:
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        config = world.configure(Path(name), history_days=days)
        if looked_at:
            url, _ = stack.enter_context(served(config))
            ended = threading.Event()
            looks = threading.Thread(target=_load_every_second, args=(url, ended))
            looks.start()
            stack.callback(looks.join)
            stack.callback(ended.set)
        return run_python("tconnectsync", "--config", str(config), "sync", environment=clean_environment())


def _load_every_second(url: str, ended: threading.Event) -> None:
    while not ended.wait(1):
        _get(url).raise_for_status()


def _get(url: str, day: date | None = None) -> requests.Response:
    return requests.get(url if day is None else f"{url}days/{day}", headers={"Accept": "text/html"}, timeout=60)


if __name__ == "__main__":
    main_of(__doc__, rows)
