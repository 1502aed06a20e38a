"""What people cost a fleet: an idle turn, memory, news of everybody at once, and the death of one of two workers; for several numbers."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import attrs

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tconnectsync_fleet.people import People
from tconnectsync_fleet.sealing import sealer
from tconnectsync_fleet.servers import NatsLogin, Servers
from tests.fleet.light_world import LightFleet
from tests.support.memory_folder import memory_folder
from tests.support.nats_servers import server_in
from tests.support.process_cost import cpu_s, memory_kb

WORKERS = ("w1", "w2")
NEWS = 12
"""Records of each person that come at once: an hour at one in five minutes."""
LONGEST_S = 900.0


@attrs.frozen(kw_only=True)
class FleetRow:
    """One number of people."""

    people: int
    turns_per_s: float
    asked_per_s: float
    cpu_ms: float
    memory_mb: float
    news_s: float
    moved: int
    takeover_s: float

    def words(self) -> str:
        return (
            f"| {self.people:,} | {self.turns_per_s:.1f} | {self.asked_per_s:.1f} | {self.cpu_ms:.0f} ms | {self.memory_mb:.1f} MB"
            f" | {self.news_s:.0f} s | {self.moved:,}: {self.takeover_s:.0f} s |"
        )


def wait(fleet: LightFleet, condition: Callable[[], object], what: str) -> float:
    """Wait for a condition; the seconds that it took. Asking costs time too, so it is asked once a second."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > LONGEST_S:
            raise SystemExit(f"{what}: not within {LONGEST_S:.0f} s\n{fleet.logs()}")
        time.sleep(1.0)
    return time.monotonic() - began


def turns(fleet: LightFleet) -> int:
    """Turns of all workers so far."""
    found = json.loads(fleet.run("status", "--json", expect=(0, 9)))
    return sum(int(report["turns"]) for report in found["workers"].values())


def shares(fleet: LightFleet) -> dict[str, int]:
    """People by worker."""
    found = json.loads(fleet.run("status", "--json", expect=(0, 9)))
    return {name: int(report["people"]) for name, report in found["workers"].items()}


def add(fleet: LightFleet, names: list[str]) -> None:
    """Add people as the command does, without checking each configuration."""
    servers = Servers(NatsLogin(servers=[fleet.nats_url]), name="bench")
    people, box = People(servers), sealer(fleet.key)
    for name in names:
        people.add(name, box.encrypt(fleet.config(name).read_bytes()), replace=False)
    servers.close()
    fleet.people += names


def deliver_news(fleet: LightFleet, count: int) -> float:
    """Give everybody ``count`` records; seconds until all receivers have them."""
    for name in fleet.people:
        fleet.cloud.numbers[name] = fleet.cloud.numbers.get(name, 0) + count
    return wait(fleet, lambda: not fleet.cloud.verdict(fleet.people)["lost"], "everything delivered")


def measure_in(fleet: LightFleet, people: int, seconds: float) -> FleetRow:
    """One row: two workers with so many people."""
    fleet.cloud.grows = False
    add(fleet, [f"p{number}" for number in range(people)])
    for name in WORKERS:
        fleet.start(name)
    deliver_news(fleet, 5)
    wait(fleet, lambda: sum(shares(fleet).values()) == people, "a worker for everybody")
    pids = [fleet.workers[name].pid for name in WORKERS]
    time.sleep(fleet.lease_s / 4 + 1)  # a worker's report is renewed four times in a lease
    begun, asked, at, began = turns(fleet), fleet.cloud.asked.total(), sum(map(cpu_s, pids)), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    done, used = turns(fleet) - begun, sum(map(cpu_s, pids)) - at
    asked = fleet.cloud.asked.total() - asked
    memory_mb = sum(map(memory_kb, pids)) / 1024 / len(WORKERS)
    news_s = deliver_news(fleet, NEWS)
    moved = shares(fleet)["w1"]
    before = dict(fleet.cloud.asked)
    fleet.signal("w1", signal.SIGKILL)
    takeover_s = wait(fleet, lambda: shares(fleet) == {"w2": people}, "everybody taken over")
    wait(fleet, lambda: all(fleet.cloud.asked[name] > before[name] for name in fleet.people), "everybody asked again")
    verdict = fleet.cloud.verdict(fleet.people)
    if any(verdict.values()):
        raise SystemExit(f"not everything is right: {verdict}")
    return FleetRow(
        people=people, turns_per_s=done / took, asked_per_s=asked / took, cpu_ms=1000 * used / max(done, 1),
        memory_mb=memory_mb, news_s=news_s, moved=moved, takeover_s=takeover_s,
    )  # fmt: skip


def measure(people: int, seconds: float, poll_s: int) -> FleetRow:
    """One row, on a server of its own."""
    with tempfile.TemporaryDirectory(prefix="fleet-", dir=memory_folder()) as folder:
        (Path(folder) / "nats").mkdir()
        server = server_in(Path(folder) / "nats")
        server.start()
        fleet = LightFleet(Path(folder), f"nats://127.0.0.1:{server.port}", lease_s=15.0, poll_s=poll_s)
        try:
            return measure_in(fleet, people, seconds)
        finally:
            fleet.close()
            server.stop()


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--people", type=int, nargs="*", default=[10, 500, 1000])
    options.add_argument("--seconds", type=float, default=30.0)
    options.add_argument("--poll", type=int, default=30, help="seconds between two turns of a person")
    chosen = options.parse_args()
    print(
        "| people | turns a second | requests a second at the vendor | processor time a turn | memory of a worker | news of all | one of two workers dies |"
    )
    print("|---|---|---|---|---|---|---|")
    for people in chosen.people:
        print(measure(people, chosen.seconds, chosen.poll).words(), flush=True)


if __name__ == "__main__":
    main()
