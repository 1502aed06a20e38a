"""A fleet under incidents for as long as you like, with a summary; status 1 if anything was lost, doubled or wrong.

    python tests/fleet/soak.py --minutes 60 --nats 3 --people 40 --workers 4 --seed 7

The folder of a run that failed is kept, with the workers' logs and data.
"""

from __future__ import annotations

import argparse
import contextlib
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
from tests.fleet.incidents import SLEEPS, strike
from tests.fleet.light_cloud import GROWTH_PER_S
from tests.fleet.light_world import THREADS, LightFleet
from tests.fleet.real_people import RealPeople, real_people
from tests.support.memory_folder import memory_folder
from tests.support.nats_cluster import NatsCluster
from tests.support.process_cost import memory_kb

STEADY = "w0"
"""Nothing ends this worker: it sleeps and is cut off, and its memory shows whether it stays flat."""
REAL_HOURS = 36.0
"""This much of the lives of real pumps arrives during a run."""
PATIENCE_S = 240.0
"""Nobody may be without a turn for longer, whatever happens."""
BATCH_SIZE = 5
"""The same for the light receiver."""


@attrs.frozen(kw_only=True)
class SoakSettings:
    """One run."""

    minutes: float
    nats: int
    people: int
    real_people: int
    workers: int
    lease: float
    growth: float
    poll: int
    snapshots: float
    seed: int
    without: list[str]


@attrs.define
class Observations:
    """What was seen during a run."""

    struck: Counter[str] = attrs.field(factory=Counter)
    repeated: Counter[str] = attrs.field(factory=Counter)
    """Documents that were sent by a worker that did not know of their copy, by the incident during or after which that was."""
    steady_kb: list[int] = attrs.field(factory=list)
    """The memory of the worker that never ends, after each incident."""
    others_kb: list[int] = attrs.field(factory=list)
    real_documents: int = 0

    @property
    def incidents(self) -> int:
        return self.struck.total()


def run(chosen: SoakSettings, folder: Path) -> bool:
    """One run. False: something was not as it should be."""
    nats = NatsCluster(folder, chosen.nats)
    nats.start()
    fleet = LightFleet(
        folder,
        nats.url,
        lease_s=chosen.lease,
        replicas=nats.size,
        is_gated=True,
        patience_s=PATIENCE_S,
        poll_s=chosen.poll,
        snapshots_s=chosen.snapshots,
        blocked_plugins=() if chosen.real_people else ("nightscout",),
    )
    fleet.cloud.growth_per_s = chosen.growth
    seen = Observations()
    verdict: dict[str, list[str]] = {}
    names = [f"real{number}" for number in range(chosen.real_people)]
    opened = contextlib.ExitStack()
    try:
        real = opened.enter_context(real_people(folder / "real", names, history_days=2, hours_ago=REAL_HOURS))
        real.add_to(fleet)
        fleet.add(*(f"p{number}" for number in range(chosen.people)))
        for number in range(chosen.workers):
            fleet.start(f"w{number}")
        fleet.wait_until_all_asked()
        try:
            have_incidents(chosen, fleet, real, nats, seen)
            verdict = fleet.settle(within_s=PATIENCE_S)
        except AssertionError as error:
            verdict = fleet.cloud.verdict(fleet.people)
            verdict["stopped"] = [str(error)]
        judge(fleet, seen, verdict)
        judge_real(real, seen, verdict)
    finally:
        fleet.close()
        opened.close()
        nats.stop()
    for line in summary(chosen, fleet, seen, verdict):
        print(line)
    return not any(verdict.values())


def have_incidents(
    chosen: SoakSettings, fleet: LightFleet, real: RealPeople, nats: NatsCluster, seen: Observations
) -> None:
    """One incident after another, until the time is over. Errors: AssertionError if the fleet does not work again."""
    chance, end = random.Random(chosen.seed), time.monotonic() + chosen.minutes * 60
    while time.monotonic() < end:
        began, repeated = time.monotonic(), fleet.cloud.repeated
        real.arrive(REAL_HOURS * (end - began) / (chosen.minutes * 60))
        name = strike(fleet, nats, chance, chosen.without, {STEADY} if chosen.workers > 1 else ())
        seen.struck[name] += 1
        time.sleep(chance.uniform(0.0, 2.0))
        seen.repeated[name] += fleet.cloud.repeated - repeated
        seen.steady_kb.append(memory_kb(fleet.workers[STEADY].pid))
        seen.others_kb.append(max(memory_kb(process.pid) for process in fleet.workers.values()))
        if seen.repeated[name]:
            log(f"sent again: {list(fleet.cloud.repeats)[-1]}")
        log(f"{name}: {time.monotonic() - began:.1f} s, {STEADY} has {seen.steady_kb[-1] / 1024:.1f} MB")


def judge(fleet: LightFleet, seen: Observations, verdict: dict[str, list[str]]) -> None:
    """Add to the verdict what receivers and logs lack at the end."""
    for name, count in seen.repeated.items():
        if count > (seen.struck[name] * THREADS * BATCH_SIZE if name in SLEEPS else 0):
            verdict["doubled"].append(f"{counted(count, 'document')} sent again after {name.replace('_', ' ')}")
    verdict["forgotten"] = [
        f"{person}: nobody asked for {silence_s:.0f} s"
        for person, silence_s in sorted(fleet.cloud.longest_silence_s.items())
        if silence_s > PATIENCE_S
    ]


def judge_real(real: RealPeople, seen: Observations, verdict: dict[str, list[str]]) -> None:
    """Add to the verdict where the sites of people with the real source and sinks differ from a single pass."""
    real.arrive(0)
    for person in real.people:
        found = real.verdict(person, within_s=PATIENCE_S)
        seen.real_documents += found.documents
        for kind in ("lost", "doubled", "wrong"):
            verdict[kind] += [f"{person.name}: {text}" for text in getattr(found, kind)]


def log(line: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def summary(
    chosen: SoakSettings, fleet: LightFleet, seen: Observations, verdict: dict[str, list[str]]
) -> Iterator[str]:
    """The lines for people; the first is for the guarantees."""
    counts = ", ".join(f"{kind} {len(found)}" for kind, found in verdict.items())
    copies = sum(len(stored) for stored in fleet.cloud.stored.values())
    yield (
        f"{chosen.minutes:g} min, {counted(chosen.nats, 'NATS server')}, {chosen.people + chosen.real_people} people, {chosen.workers} workers,"
        f" seed {chosen.seed}: {seen.incidents} incidents, {copies:,} documents: {counts}"
    )
    if chosen.real_people:
        yield f"{chosen.real_people} of them with the real source and sinks: {seen.real_documents:,} documents"
    for name, count in sorted(seen.struck.items()):
        again = f", {counted(seen.repeated[name], 'document')} sent again" if seen.repeated[name] else ""
        yield f"  {name.replace('_', ' ')}: {count}{again}"
    yield f"{fleet.cloud.repeated} documents were sent once more by a worker without a lease, and replaced their copy"
    yield f"longest time without a turn for one person: {max(fleet.cloud.longest_silence_s.values(), default=0.0):.0f} s"
    if seen.steady_kb:
        places = {"begin": 0, "middle": len(seen.steady_kb) // 2, "end": len(seen.steady_kb) - 1}
        words = (f"{seen.steady_kb[at] / 1024:.1f} MB at the {place}" for place, at in places.items())
        yield f"the worker that never ends: {', '.join(words)}; largest worker: {max(seen.others_kb) / 1024:.1f} MB"
    yield from (f"  sent again: {text}" for text in fleet.cloud.repeats)
    for kind, found in verdict.items():
        for text in found[:10]:
            yield f"  {kind}: {text}"


def main() -> int:
    """The command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=5.0)
    options.add_argument("--nats", type=int, choices=(1, 3, 5), default=3, help="how many NATS servers")
    options.add_argument("--lease", type=float, default=3.0, help="seconds of a worker's lease")
    options.add_argument("--growth", type=float, default=GROWTH_PER_S, help="new records of each person in a second")
    options.add_argument("--poll", type=int, default=1, help="seconds between two polls of a person")
    options.add_argument(
        "--snapshots", type=float, default=20.0, help="seconds between two snapshots of a person's outboxes"
    )
    options.add_argument("--people", type=int, default=20)
    options.add_argument("--real-people", type=int, default=0, help="more people, with the real source and sinks")
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
