"""What an idle person costs a worker of the fleet: processor time for a turn without news, and memory, for several numbers of people."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fleet.light_world import LightFleet
from tests.support.memory_folder import memory_folder
from tests.support.nats_servers import server_in
from tests.support.process_cost import cpu_s, memory_kb


def turns(fleet: LightFleet) -> int:
    """Turns of the only worker so far."""
    found = json.loads(fleet.run("status", "--json", expect=(0, 9)))
    return int(found["workers"]["w"]["turns"])


def measure(people: int, seconds: float) -> str:
    """One row: a worker with so many people and no news."""
    with tempfile.TemporaryDirectory(prefix="fleet-", dir=memory_folder()) as folder:
        (Path(folder) / "nats").mkdir()
        server = server_in(Path(folder) / "nats")
        server.start()
        fleet = LightFleet(Path(folder), f"nats://127.0.0.1:{server.port}", lease_s=10.0)
        try:
            fleet.cloud.grows = False
            names = [f"p{number}" for number in range(people)]
            fleet.cloud.numbers = dict.fromkeys(names, 5)
            fleet.add(*names)
            fleet.start("w")
            fleet.eventually(lambda: len(fleet.cloud.stored) == people, "everybody", 300.0)
            fleet.settle(300.0)
            pid = fleet.workers["w"].pid
            time.sleep(3.0)  # the worker's report is renewed every 2.5 s
            begun, at = turns(fleet), cpu_s(pid)
            time.sleep(seconds)
            done, used = turns(fleet) - begun, cpu_s(pid) - at
            return f"| {people:,} | {done / seconds:.1f} | {1000 * used / max(done, 1):.0f} ms | {memory_kb(pid) / 1024:.1f} MB |"
        finally:
            fleet.close()
            server.stop()


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--people", type=int, nargs="*", default=[10, 100, 300])
    options.add_argument("--seconds", type=float, default=20.0)
    chosen = options.parse_args()
    print("| people | idle turns a second | processor time a turn | memory of the worker |")
    print("|---|---|---|---|")
    for people in chosen.people:
        print(measure(people, chosen.seconds), flush=True)


if __name__ == "__main__":
    main()
