"""Two releases in one fleet, with real servers and processes: an upgrade, a rollback, kills; status 1 if anything was lost, doubled or wrong.

git worktree add --detach /tmp/older OLDER && python -m venv /tmp/older-venv && /tmp/older-venv/bin/pip install '/tmp/older[fleet]'
python tests/fleet/mixed_releases.py --older /tmp/older-venv/bin/python --rounds 3
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.fleet.light_world import LightFleet
from tests.support.nats_cluster import NatsCluster

WORKERS = ("w1", "w2", "w3")


def replace(fleet: LightFleet, name: str, program: list[str], older: list[str], *, kills: bool) -> None:
    """Stop one worker, in order or not, and start another release on its folder."""
    fleet.signal(name, signal.SIGKILL if kills else signal.SIGTERM)
    fleet.workers[name].wait(60)
    fleet.programs[name] = program
    fleet.start(name, *(() if program == older else ("--snapshots-every", "0.001")))
    fleet.wait_until_all_asked(120.0)


def main() -> int:
    parser = argparse.ArgumentParser(description="Try two releases in one fleet.")
    parser.add_argument("--older", required=True, type=Path, help="the Python that has the older release")
    parser.add_argument("--rounds", default=3, type=int, help="upgrades and rollbacks")
    parser.add_argument("--people", default=12, type=int)
    given = parser.parse_args()
    programs = {"older": [str(given.older), "-m", "tconnectsync"], "newer": [sys.executable, "-m", "tconnectsync"]}
    for name, program in programs.items():
        where = [program[0], "-c", "import tconnectsync_fleet as found; print(found.__file__)"]
        print(name, subprocess.run(where, capture_output=True, text=True, check=True, cwd="/").stdout.strip())
    with tempfile.TemporaryDirectory(prefix="mixed-") as folder:
        nats = NatsCluster(Path(folder), 3)
        nats.start()
        fleet = LightFleet(Path(folder), nats.url, lease_s=4.0, replicas=3)
        try:
            for name in WORKERS:
                fleet.programs[name] = programs["older"]
                fleet.start(name)
            fleet.add(*(f"p{number}" for number in range(given.people)))
            fleet.wait_until_all_asked(120.0)
            for number in range(2 * given.rounds):
                release = ("newer", "older")[number % 2]
                for name in WORKERS:
                    replace(fleet, name, programs[release], programs["older"], kills=number % 4 >= 2)
                print(
                    f"{'upgraded' if release == 'newer' else 'rolled back'}; repeated: {fleet.cloud.repeated}",
                    flush=True,
                )
                if release == "newer":  # two older ones and a newer one, and people move at once
                    replace(fleet, "w1", programs["older"], programs["older"], kills=False)
                    replace(fleet, "w1", programs["newer"], programs["older"], kills=True)
            found = fleet.settle(120.0)
        finally:
            fleet.close()
            nats.stop()
    sent = sum(map(len, fleet.cloud.stored.values()))
    print(
        f"{given.people} people, {sent:,} documents; "
        + ", ".join(f"{kind} {len(each)}" for kind, each in found.items())
    )
    print(*(line for each in found.values() for line in each), sep="\n")
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main())
