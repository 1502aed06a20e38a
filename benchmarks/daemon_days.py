"""``daemon_days.py CONFIG CLOCK DAYS IDLE_HOURS``: the engine as the daemon opens it, on a clock that a simulated world shares.

Lives through so many days, turn by turn, then through hours in which nothing new comes, and prints what it saw as JSON.
Everything that the daemon's process holds is in this one; only the waiting is left out.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

from simulated_services import SteppedClock

from tconnectsync.config.load import load_config
from tconnectsync.plugin.manager import load_plugins
from tconnectsync.runtime.engine import Engine
from tconnectsync.runtime.open_engine import open_engine


def resident_mb() -> float:
    """Memory of this process now."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def written_mb() -> float:
    """What this process made the kernel write to the disk so far."""
    found = Path("/proc/self/io").read_text()
    return int(found.split("\nwrite_bytes:")[1].split()[0]) / 1024 / 1024


def live_until(engine: Engine, clock: SteppedClock, when: datetime) -> None:
    """What the daemon's loop does, without the waiting."""
    while (now := clock.now()) < when:
        if not engine.run_once():
            clock.sleep(min(max(0.5, engine.next_due()), (when - now).total_seconds() + 0.001))


def main() -> None:
    """Run the days, and print the result."""
    config, clock = Path(sys.argv[1]), SteppedClock(Path(sys.argv[2]))
    days, idle_h = int(sys.argv[3]), float(sys.argv[4])
    plugins = load_plugins()
    engine = open_engine(load_config(config, {}, plugins), plugins, clock=clock)
    begin, began_s = clock.now(), time.process_time()
    resident, written, day_s = [], [], []
    for day in range(1, days + 1):
        before_mb, before_s = written_mb(), time.process_time()
        live_until(engine, clock, begin + timedelta(days=day))
        written.append(written_mb() - before_mb)
        day_s.append(time.process_time() - before_s)
        resident.append(resident_mb())
    lived_s = time.process_time() - began_s
    # the newest data is delivered, and its upload is an hour old
    live_until(engine, clock, clock.now() + timedelta(hours=3))
    print("idle begins", flush=True)
    sys.stdin.readline()
    [poller] = engine.pollers.values()
    polls, idle_s, until = 0, 0.0, clock.now() + timedelta(hours=idle_h)
    costs_s = []
    while clock.now() < until:
        fetched, before_s = poller.state.last_fetch, time.process_time()
        while engine.run_once():
            pass
        spent_s = time.process_time() - before_s
        idle_s += spent_s
        if poller.state.last_fetch != fetched:
            polls += 1
            costs_s.append(spent_s)
        clock.sleep(max(0.5, engine.next_due()))
    found = {
        "records": engine.events.end,
        "resident_mb": resident,
        "written_mb": written,
        "day_s": day_s,
        "lived_s": lived_s,
    }
    found |= {"polls": polls, "poll_s": costs_s, "idle_s": idle_s}
    engine.close()
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
