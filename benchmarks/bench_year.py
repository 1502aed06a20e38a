"""What runs for years: memory after a year, disk writes and syncs per day, and what a cycle with nothing new costs.

The engine lives on a clock that it shares with the simulated cloud and site, which are another process. Its own process holds
all that the daemon's holds (interpreter, libraries, plugins, log, three outboxes); only the waiting is left out.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any

from measure import HERE, Row, Spread, main_of
from simulated_services import SteppedClock, clean_environment, running_world

LEAD_DAYS = 4
HISTORY_DAYS = 2
MB = 1024.0


def live(days: int, idle_h: float, *, under: tuple[str, ...] = ()) -> tuple[dict[str, Any], dict[str, int]]:
    """Run for these days in a separate world; return the output of the process, and the requests of the idle hours."""
    start = datetime.now(timezone.utc).date() - timedelta(days=days + LEAD_DAYS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = datetime.combine(start, time(8), timezone.utc) + timedelta(days=LEAD_DAYS)
        SteppedClock.made(folder / "clock", began)
        with running_world(days=days + LEAD_DAYS, start=start, clock=folder / "clock") as world:
            config = world.configure(folder / "home", history_days=HISTORY_DAYS)
            words = [
                sys.executable,
                str(HERE / "daemon_days.py"),
                str(config),
                str(folder / "clock"),
                str(days),
                str(idle_h),
            ]
            process = subprocess.Popen(
                [*under, *words], env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            assert process.stdin is not None
            assert process.stdout is not None
            told = process.stdout.readline()
            assert told == "idle begins\n", told
            before = world.counts()
            process.stdin.write("\n")
            process.stdin.close()
            found = json.loads(process.stdout.readline())
            assert process.wait() == 0
            process.stdout.close()
            after = world.counts()
    return found, {name: after[name] - before.get(name, 0) for name in after}


def syncs_per_day(days: int) -> float | None:
    """fsync and fdatasync calls a day, counted by strace; None where there is none."""
    strace = shutil.which("strace")
    if strace is None:
        return None
    with tempfile.TemporaryDirectory() as name:
        totals = []
        for lived in (1, 1 + days):  # the difference leaves out the start and the first sync
            told = Path(name) / str(lived)
            live(lived, 0.0, under=(strace, "-f", "-c", "-o", str(told), "-e", "trace=fsync,fdatasync"))
            counts = [line.split() for line in told.read_text().splitlines() if line.strip().endswith("sync")]
            totals.append(sum(int(words[3]) for words in counts))
    return (totals[1] - totals[0]) / days


def rows(small: bool = False) -> Iterator[Row]:
    """A year, then the idle hours after it."""
    days = 5 if small else 365
    found, asked = live(days, 6.0 if small else 48.0)
    resident = found["resident_mb"]
    points = sorted({max(1, days * part // 12) for part in (0, 1, 3, 6, 9, 12)})
    course = ", ".join(f"day {day}: {resident[day - 1]:.0f}" for day in points)
    yield Row(
        what=f"memory of the daemon after {days} simulated days ({found['records']:,} records)",
        must="under 60 MB",
        measured=f"{resident[-1]:.0f} MB ({course}; most {max(resident):.0f})",
        met=max(resident) < 60,
    )
    written = Spread.of(found["written_mb"][1:])
    yield Row(
        what="disk writes per simulated day (`write_bytes`)",
        must="8 MB",
        met=written.median < 8,
        measured=f"{written.median:.1f} MB ({written.low:.1f}–{written.high:.1f})",
    )
    synced = syncs_per_day(2 if small else 10)
    yield Row(
        what="syncs to disk per simulated day (fsync and fdatasync, strace)",
        must="200",
        met=None if synced is None else synced < 200,
        measured="no strace here" if synced is None else f"{synced:,.0f}",
    )
    day_s = Spread.of(found["day_s"][1:])
    yield Row(what="CPU per simulated day", measured=f"{day_s.median:.2f} s ({day_s.low:.2f}–{day_s.high:.2f})")
    polls = found["polls"]
    cost = Spread.of([1000 * each for each in found["poll_s"]])
    extra = asked.get("pump-logs", 0)
    yield Row(
        what="cycle with nothing new, in the daemon",
        must="50 ms of CPU, 1 + 0 requests",
        measured=f"{cost.text(' ms', digits=1).replace('runs', 'cycles')} of CPU; {polls} cycles asked {asked['pumper']} + {asked['site']}"
        f" (and {extra} windows after six hours each, {asked['cloud'] - asked['pumper'] - extra} for logins)",
        met=cost.median <= 50 and asked["pumper"] == polls and asked["site"] == 0,
    )


if __name__ == "__main__":
    main_of(__doc__, rows)
