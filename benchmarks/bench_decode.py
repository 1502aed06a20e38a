"""Vendor JSON to typed events: ``python benchmarks/bench_decode.py [--days 365]``.

Windows of 28 days are simulated into a folder first; a process of its own then reads them one by one, as a poll does, and
tells its own peak memory. Prints a markdown row per figure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import date, datetime, timezone
from pathlib import Path

WINDOW_DAYS = 28


def simulate_windows(folder: Path, days: int) -> int:
    """Write one answer per window; returns how many events there are."""
    import msgspec

    from tconnectsync_simulator.plan import SimulationPlan
    from tconnectsync_simulator.pump import Simulation

    count, window = 0, []
    simulation = Simulation(SimulationPlan(start=date(2025, 1, 1), days=days))
    for number, records in enumerate(simulation.days(), start=1):
        window += [msgspec.json.encode(record.entry) for record in records]
        if number % WINDOW_DAYS == 0 or number == days:
            body = b'{"events":[' + b",".join(window) + b'],"clockChanges":[]}'
            (folder / f"{number:05d}.json").write_bytes(body)
            count += len(window)
            window = []
    return count


def read_windows(folder: Path) -> None:
    """What a poll does with each answer, but for the log."""
    from tconnectsync_tandem.answers import split_answer
    from tconnectsync_tandem.envelope import make_event

    now = datetime.now(timezone.utc)
    events = 0
    spent_s = 0.0
    for path in sorted(folder.iterdir()):
        body = path.read_bytes()
        begin = time.perf_counter()
        for _, raw in split_answer(body, "events").entries():
            make_event(raw, pump="1", received_at=now)
            events += 1
        spent_s += time.perf_counter() - begin
    print(json.dumps({"events": events, "seconds": spent_s, "peak_mb": peak_mb()}))


def peak_mb() -> float:
    """This process's own peak; ``ru_maxrss`` would be the parent's where that was larger."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    """Measure, in a process of its own."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--days", type=int, default=365)
    arguments.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.read is not None:
        read_windows(given.read)
        return
    with tempfile.TemporaryDirectory() as name:
        count = simulate_windows(Path(name), given.days)
        done = subprocess.run([sys.executable, __file__, "--read", name], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["events"] == count
    print("| figure | measured |")
    print("|---|---|")
    print(f"| vendor JSON to typed events | {found['events'] / found['seconds']:,.0f} events/s |")
    print(
        f"| {given.days} days decoded ({count:,} events) | {found['seconds']:.1f} s, {found['peak_mb']:.0f} MB at most |"
    )


if __name__ == "__main__":
    main()
