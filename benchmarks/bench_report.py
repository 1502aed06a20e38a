"""How long the figures of days take from a long log: ``report``, the first look at a day, and a day in an open log."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

from measure import Row, Spread, main_of, run_python
from simulated_services import clean_environment

from tconnectsync import Clock, PumpLog, Zones
from tconnectsync.clock import SystemClock
from tconnectsync.eventlog import EventLog
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import Simulation
from tconnectsync_simulator.pump.truth import utc
from tconnectsync_tandem.decode.event_factory import make_event

ZONE = "Europe/Berlin"
CONFIG = """timezone = "{zone}"
data_dir = "{folder}"
[sources.tandem]
email = "a@example.org"
password = "never used"
region = "EU"
[nightscout]
url = "https://site.example"
api_secret = "never used here"
"""


def write_log(folder: Path, days: int, clock: Clock) -> int:
    """Write the log of these days up to yesterday; return the number of its events."""
    plan = SimulationPlan(seed=9, zone=ZONE, start=clock.now().date() - timedelta(days=days), days=days)
    with EventLog.open(folder, clock=clock, writable=True) as log:
        for day in Simulation(plan).days():
            log.append([make_event(each.entry, pump=plan.serial, received_at=utc(each.uploaded_s))[0] for each in day])
        while log.maintain(10):
            pass
        return log.end


def look_at_days(folder: Path, first: date, count: int) -> tuple[float, float, list[float]]:
    """Milliseconds of CPU to open the log, for the newest 24 hours of it, and for each of ``count`` older days."""
    begin = time.process_time()
    with PumpLog.open(folder, Zones(timezone=ZONE), clock=SystemClock()) as log:
        newest = log.newest()
        opened = time.process_time()
        assert newest is not None
        log.therapy(newest - timedelta(days=1), newest)
        seen = time.process_time()
        spent = []
        for number in range(count):
            before = time.process_time()
            log.days(first - timedelta(days=9 * number), first - timedelta(days=9 * number))
            spent.append(1000 * (time.process_time() - before))
    return 1000 * (opened - begin), 1000 * (seen - opened), spent


def rows(small: bool = False) -> Iterator[Row]:
    """The command, then the parts of a page."""
    days, runs = (40, 2) if small else (365, 5)
    clock = SystemClock()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        folder.mkdir()
        count = write_log(folder, days, clock)
        config = Path(name) / "config.toml"
        config.touch(mode=0o600)
        config.write_text(CONFIG.format(zone=ZONE, folder=folder))
        where = f"from a log of {days} days ({count:,} events)"
        longest = 30 if small else 90
        for length, stored in ((14, False), (longest, False), (longest, True)):
            ended = []
            for _ in range(runs):
                if not stored:
                    (folder / "daily-figures.json.gz").unlink(missing_ok=True)
                words = ("tconnectsync", "report", "--config", str(config), "--days", str(length))
                ended.append(run_python(*words, environment=clean_environment()))
            walls, cpus = Spread.of([each.wall_s for each in ended]), Spread.of([each.cpu_s for each in ended])
            memory = Spread.of([each.peak_mb for each in ended])
            yield Row(
                what=f"`report --days {length}` {where}" + (", with the figures of past days stored" if stored else ""),
                measured=f"{walls.text(' s', digits=2)}, {cpus.median:.2f} s of CPU, {memory.median:.0f} MB",
            )
        looks = [look_at_days(folder, clock.now().date() - timedelta(days=2), 3) for _ in range(runs)]
        first = Spread.of([opening + newest for opening, newest, _ in looks])
        one = Spread.of([spent for _, _, each in looks for spent in each])
        yield Row(
            what=f"opening the log and reading the newest 24 hours {where}",
            must="150 ms of CPU",
            measured=first.text(" ms"),
            met=first.median <= 150,
        )
        yield Row(
            what="the figures of one day in an open log",
            must="100 ms of CPU",
            measured=one.text(" ms"),
            met=one.median <= 100,
        )


if __name__ == "__main__":
    main_of(__doc__, rows)
