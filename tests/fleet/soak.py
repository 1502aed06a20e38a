"""A fleet under incidents for as long as you like, with a summary; status 1 if anything was lost, doubled or wrong.

    python tests/fleet/soak.py --minutes 10 --people 40 --workers 4 --seed 7

The folder of a run that failed is kept, with the workers' logs and data.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.fleet.incidents import strike
from tests.fleet.light_world import LightFleet
from tests.support.memory_folder import memory_folder
from tests.support.nats_servers import server_in


def run(*, minutes: float, people: int, workers: int, seed: int, without: list[str], folder: Path) -> bool:
    """One run. False: something was not as it should be."""
    (folder / "nats").mkdir()
    server = server_in(folder / "nats")
    server.start()
    fleet = LightFleet(folder, f"nats://127.0.0.1:{server.port}")
    chance, struck = random.Random(seed), Counter[str]()
    try:
        fleet.add(*(f"p{number}" for number in range(people)))
        for number in range(workers):
            fleet.start(f"w{number}")
        end = time.monotonic() + minutes * 60
        while time.monotonic() < end:
            struck[strike(fleet, server, chance, without)] += 1
            time.sleep(chance.uniform(0.0, 2.0))
        verdict = fleet.settle(within_s=120.0)
        copies = sum(len(stored) for stored in fleet.cloud.stored.values())
    finally:
        fleet.close()
        server.stop()
    print(f"{people} people, {workers} workers, {minutes:g} min, seed {seed}: {sum(struck.values())} incidents")
    for name, count in sorted(struck.items()):
        print(f"  {name.replace('_', ' ')}: {count}")
    print(f"{copies:,} documents; " + ", ".join(f"{kind} {len(found)}" for kind, found in verdict.items()))
    print(
        f"{fleet.cloud.repeated} documents were sent once more by a worker that woke up after its lease, and replaced their copy"
    )
    for kind, found in verdict.items():
        for words in found[:10]:
            print(f"  {kind}: {words}")
    return not any(verdict.values())


def main() -> int:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=5.0)
    options.add_argument("--people", type=int, default=20)
    options.add_argument("--workers", type=int, default=3)
    options.add_argument("--seed", type=int, default=random.randrange(10_000))
    options.add_argument("--without", action="append", default=[], help="an incident that does not happen")
    folder = Path(tempfile.mkdtemp(prefix="fleet-soak-", dir=memory_folder()))
    good = run(folder=folder, **vars(options.parse_args()))
    if good:
        shutil.rmtree(folder)
    else:
        print(f"The workers' logs and data are in {folder}.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
