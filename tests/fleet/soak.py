"""A fleet under incidents for as long as you like, with a summary; status 1 if anything was lost, doubled or wrong.

    python tests/fleet/soak.py --minutes 60 --nats 3 --people 40 --workers 4 --seed 7

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
from collections.abc import Iterator
from pathlib import Path

import attrs

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tconnectsync import counted
from tests.fleet.incidents import strike
from tests.fleet.light_world import LightFleet
from tests.support.memory_folder import memory_folder
from tests.support.nats_cluster import NatsCluster
from tests.support.process_cost import memory_kb


@attrs.frozen(kw_only=True)
class SoakSettings:
    """One run."""

    minutes: float
    nats: int
    people: int
    workers: int
    lease: float
    seed: int
    without: list[str]


def run(chosen: SoakSettings, folder: Path) -> bool:
    """One run. False: something was not as it should be."""
    nats = NatsCluster(folder, chosen.nats)
    nats.start()
    fleet = LightFleet(folder, nats.url, lease_s=chosen.lease, replicas=nats.size, is_gated=True)
    chance, struck = random.Random(chosen.seed), Counter[str]()
    memory: list[int] = []
    try:
        fleet.add(*(f"p{number}" for number in range(chosen.people)))
        for number in range(chosen.workers):
            fleet.start(f"w{number}")
        fleet.wait_until_all_asked()
        end = time.monotonic() + chosen.minutes * 60
        while time.monotonic() < end:
            began = time.monotonic()
            name = strike(fleet, nats, chance, chosen.without)
            struck[name] += 1
            log(f"{name}: {time.monotonic() - began:.1f} s")
            time.sleep(chance.uniform(0.0, 2.0))
            memory.append(max(memory_kb(process.pid) for process in fleet.workers.values()))
        verdict = fleet.settle(within_s=180.0)
    finally:
        fleet.close()
        nats.stop()
    for line in summary(chosen, fleet, struck, verdict, memory):
        print(line)
    return not any(verdict.values())


def log(line: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def summary(
    chosen: SoakSettings, fleet: LightFleet, struck: Counter[str], verdict: dict[str, list[str]], memory: list[int]
) -> Iterator[str]:
    """The lines for people; the first is for the guarantees."""
    counts = ", ".join(f"{kind} {len(found)}" for kind, found in verdict.items())
    copies = sum(len(stored) for stored in fleet.cloud.stored.values())
    yield (
        f"{chosen.minutes:g} min, {counted(chosen.nats, 'NATS server')}, {chosen.people} people, {chosen.workers} workers,"
        f" seed {chosen.seed}: {sum(struck.values())} incidents, {copies:,} documents: {counts}"
    )
    for name, count in sorted(struck.items()):
        yield f"  {name.replace('_', ' ')}: {count}"
    yield f"{fleet.cloud.repeated} documents were sent once more by a worker without a lease, and replaced their copy"
    half = len(memory) // 2
    if half:
        yield f"largest worker: {max(memory[:half]) / 1024:.0f} MB in the first half, {max(memory[half:]) / 1024:.0f} MB in the second"
    for kind, found in verdict.items():
        for words in found[:10]:
            yield f"  {kind}: {words}"


def main() -> int:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=5.0)
    options.add_argument("--nats", type=int, choices=(1, 3, 5), default=3, help="how many NATS servers")
    options.add_argument("--lease", type=float, default=3.0, help="seconds of a worker's lease")
    options.add_argument("--people", type=int, default=20)
    options.add_argument("--workers", type=int, default=3)
    options.add_argument("--seed", type=int, default=random.randrange(10_000))
    options.add_argument("--without", action="append", default=[], help="an incident that does not happen")
    arguments = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fleet-soak-", dir=memory_folder()))
    good = False
    try:
        good = run(SoakSettings(**vars(arguments)), folder)
    finally:
        if good:
            shutil.rmtree(folder)
        else:
            print(f"Seed {arguments.seed}. The workers' logs and data are in {folder}.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
