"""What people cost a fleet: an idle turn, memory, news of everybody at once, and the death of one of two workers; for several numbers.

python benchmarks/bench_fleet.py                        # 500, 1,000, 2,000 and 5,000 people: about 15 minutes
python benchmarks/bench_fleet.py --people 100 300       # to see that it works
python benchmarks/bench_fleet.py --takeover --people 1000  # only the death of a worker: about two minutes
python benchmarks/bench_fleet.py --hours 2 --people 1000  # only memory, with news for everybody every five minutes
python benchmarks/bench_fleet.py --entries --people 5000 100000  # only `fleet status`, with people whom no worker has: about four minutes
python benchmarks/bench_fleet.py --days 365              # only one person with a year of records, who changes workers: some ten minutes
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol, TypeVar

import attrs

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fleet_year

from tconnectsync_fleet.lease import live_workers, worker_for
from tconnectsync_fleet.nats_login import NatsLogin
from tconnectsync_fleet.people import CheckedConfig, People
from tconnectsync_fleet.people_watch import PeopleWatch
from tconnectsync_fleet.sealing import sealer
from tconnectsync_fleet.servers import STATUS, Servers
from tests.fleet.light_world import LightFleet
from tests.support.memory_folder import memory_folder
from tests.support.nats_servers import server_in
from tests.support.process_cost import cpu_s, memory_kb

WORKERS = 2
FIRST, NEWS = 5, 12
"""Records of each person at the start, and those that come at once: an hour at one in five minutes."""
NEWS_EVERY_S = 300.0
"""With ``--hours``: what comes hourly in life comes that often, so an hour has half a day of news."""
MEMORY_ROWS = 12
LONGEST_S = 1500.0
LEASE_S = 15.0
TURNS_PER_S = 70
"""How many turns this machine can carry beside the servers, the simulated cloud and receivers: sets the interval between two turns."""
SHORTEST_INTERVAL_S = 30
TAKEOVER_COLUMNS = (
    "people", "of the workers one is killed: people it had", "the first of them works again after", "half of them after",
    "all of them after", "processor time of the others for each", "of the NATS server",
)  # fmt: skip
ENTRIES_COLUMNS = (
    "people",
    "`fleet status`",
    "processor time of it",
    "a new worker has read everybody after",
    "processor time of it",
)
CONFIG_BYTES = 1400
"""Of a sealed configuration: with base64 and the rest, an entry has 2 kB."""
MEMORY_COLUMNS = ("minutes", "memory of the workers", "turns so far", "records at all receivers so far")
COLUMNS = (
    "people", "turn of each every", "processor time a turn", "memory of a worker", "first documents of all after",
    "12 records of everybody at all receivers after", "of two workers one is killed: people it had", "half of them work again after",
    "all of them after", "requests in the worst second (limit)", "`fleet status`",
)  # fmt: skip


@attrs.frozen(kw_only=True)
class FleetRow:
    """One number of people. Times in seconds."""

    people: int
    interval_s: int
    cpu_ms: float
    memory_mb: float
    first_s: float
    news_s: float
    moved: int
    half_s: float
    all_s: float
    worst: int
    limit: float
    status_s: float

    def words(self) -> str:
        cells = (
            f"{self.people:,}", f"{self.interval_s} s", f"{self.cpu_ms:.1f} ms", f"{self.memory_mb:.1f} MB", f"{self.first_s:.0f} s",
            f"{self.news_s:.0f} s", f"{self.moved:,}", f"{self.half_s:.1f} s", f"{self.all_s:.1f} s",
            f"{self.worst} ({self.limit:g})", f"{self.status_s:.1f} s",
        )  # fmt: skip
        return f"| {' | '.join(cells)} |"


class TableRow(Protocol):
    """A line of a table."""

    def words(self) -> str: ...


@attrs.frozen(kw_only=True)
class TakeoverRow:
    """One death of a worker. ``worker_ms``, ``server_ms``: processor time of the other workers and of the NATS server for each person."""

    people: int
    moved: int
    first_s: float
    half_s: float
    all_s: float
    worker_ms: float
    server_ms: float

    def words(self) -> str:
        cells = (
            f"{self.people:,}", f"{self.moved:,}", f"{self.first_s:.1f} s", f"{self.half_s:.1f} s", f"{self.all_s:.1f} s",
            f"{self.worker_ms:.1f} ms", f"{self.server_ms:.1f} ms",
        )  # fmt: skip
        return f"| {' | '.join(cells)} |"


@attrs.frozen(kw_only=True)
class EntriesRow:
    """So many entries: how long reading them takes, and its processor time in this process or the command's."""

    people: int
    status_s: float
    status_cpu_s: float
    look_s: float
    look_cpu_s: float

    def words(self) -> str:
        times = (self.status_s, self.status_cpu_s, self.look_s, self.look_cpu_s)
        return f"| {self.people:,} | {' | '.join(f'{each:.1f} s' for each in times)} |"


R = TypeVar("R", bound=TableRow)


@attrs.define
class Measured:
    """A fleet, with answers about it that need no separate process for each question."""

    fleet: LightFleet
    servers: Servers
    server_pid: int
    workers: Sequence[str]

    def reports(self, name: str) -> dict[str, int]:
        """A number of each worker's report. It is renewed four times in a lease."""
        return {worker: int(report.get(name, 0)) for worker, report in live_workers(self.servers).items()}

    def wait(self, condition: Callable[[], object], what: str, pause_s: float = 0.5) -> float:
        """Wait for a condition; the seconds that it took."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > LONGEST_S:
                raise SystemExit(f"{what}: not within {LONGEST_S:.0f} s\n{self.fleet.logs()}")
            time.sleep(pause_s)
        return time.monotonic() - began

    def add(self, names: Sequence[str]) -> None:
        """Add people as ``fleet add-all`` does, without checking each configuration."""
        box = sealer(self.fleet.key)
        configs = {name: CheckedConfig(sealed=box.encrypt(self.fleet.config(name).read_bytes())) for name in names}
        assert People(self.servers).add_all(configs) == {}
        self.fleet.people += names

    def give(self, count: int) -> None:
        """Let the cloud have ``count`` more records of everybody."""
        for name in self.fleet.people:
            self.fleet.cloud.numbers[name] = self.fleet.cloud.numbers.get(name, 0) + count

    def delivered(self) -> float:
        """Wait until all receivers have everything; the seconds that it took."""
        return self.wait(lambda: self.fleet.cloud.has_all(self.fleet.people), "everything delivered")

    def idle(self, seconds: float) -> tuple[float, float]:
        """Processor milliseconds of a turn without news, and the memory of a worker in MB. ``seconds``: a turn of each person."""
        pids = [self.fleet.workers[name].pid for name in self.workers]
        time.sleep(self.fleet.lease_s / 4 + 1)  # until the reports are renewed
        begun, at = self.turns(), sum(map(cpu_s, pids))
        time.sleep(seconds)
        turns, used = self.turns() - begun, sum(map(cpu_s, pids)) - at
        return 1000 * used / max(turns, 1), sum(map(memory_kb, pids)) / 1024 / len(pids)

    def turns(self) -> int:
        return sum(self.reports("turns").values())

    def kill_one(self) -> tuple[int, float, float, float]:
        """Kill the first worker: how many people it had, and after how long the first, half and all of them had a turn of another one."""
        killed = self.workers[0]
        left = {name for name in self.fleet.people if worker_for(name, self.workers) == killed}
        moved, first_s, half_s = len(left), 0.0, 0.0
        self.fleet.signal(killed, signal.SIGKILL)
        began, seen = time.monotonic(), self.servers.bucket_state(STATUS).last_revision
        while left:
            for name, entry in self.servers.changes(STATUS, seen).items():
                seen = max(seen, entry.revision)
                state = json.loads(entry.value or b"{}")
                if state.get("worker") in self.workers[1:] and state.get("status") == 0:
                    left.discard(name)
            took_s = time.monotonic() - began
            if not first_s and len(left) < moved:
                first_s = took_s
            if not half_s and len(left) <= moved / 2:
                half_s = took_s
            if took_s > LONGEST_S:
                raise SystemExit(f"{len(left)} people not taken over\n{self.fleet.logs()}")
            time.sleep(0.25)
        return moved, first_s, half_s, took_s

    def status_s(self) -> float:
        """Seconds of ``fleet status``, in a process of its own."""
        command = [sys.executable, "-m", "tconnectsync", *self.fleet.words("status")]
        began = time.monotonic()
        done = subprocess.run(command, env=self.fleet.environment, stdout=subprocess.DEVNULL, check=False)
        assert done.returncode in (0, 9)
        return time.monotonic() - began

    def takeover(self) -> TakeoverRow:
        """Kill the first worker, and measure what taking over its people costs the others and the machine."""
        survivors, server = [self.fleet.workers[name].pid for name in self.workers[1:]], self.server_pid
        before, server_before = sum(map(cpu_s, survivors)), cpu_s(server)
        moved, first_s, half_s, all_s = self.kill_one()
        used_s, server_s = sum(map(cpu_s, survivors)) - before, cpu_s(server) - server_before
        return TakeoverRow(
            people=len(self.fleet.people), moved=moved, first_s=first_s, half_s=half_s, all_s=all_s,
            worker_ms=1000 * used_s / max(moved, 1), server_ms=1000 * server_s / max(moved, 1),
        )  # fmt: skip


def note(words: str) -> None:
    """Show how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)


def begin(measured: Measured, people: int) -> float:
    """Start two workers for this number of people; return the seconds until all first documents are delivered."""
    fleet = measured.fleet
    fleet.cloud.grows = False
    measured.add([f"p{number}" for number in range(people)])
    measured.give(FIRST)
    for name in measured.workers:
        fleet.start(name)
    note(f"{people} people: the first documents")
    first_s = measured.delivered()
    measured.wait(lambda: sum(measured.reports("people").values()) == people, "a worker for everybody")
    return first_s


def check_all(measured: Measured) -> None:
    """Wait until everything is delivered. Ends the program if something is wrong."""
    cloud, people = measured.fleet.cloud, measured.fleet.people
    measured.delivered()
    verdict = cloud.verdict(people)
    if any(verdict.values()):
        raise SystemExit(f"not everything is right: {verdict}")


def measure_takeover(measured: Measured, people: int) -> TakeoverRow:
    """One row of the table of takeovers."""
    note(f"after {begin(measured, people):.0f} s. A worker is killed")
    row = measured.takeover()
    check_all(measured)
    return row


def measure_entries(measured: Measured, people: int) -> EntriesRow:
    """Read this number of entries as `fleet status` does, and as a worker that begins."""
    note(f"{people} people: add them")
    servers = measured.servers
    names = [f"p{number}" for number in range(people)]
    assert People(servers).add_all({name: CheckedConfig(sealed=os.urandom(CONFIG_BYTES)) for name in names}) == {}
    at = datetime.now(timezone.utc).isoformat()
    value = json.dumps({"status": 0, "lines": [], "worker": "w1", "records": 1, "last_fetch": at, "at": at}).encode()

    async def publish_states() -> None:
        for name in names:
            await servers.client.publish(f"$KV.{STATUS}.{name}", value)
        await servers.client.flush()

    servers.call(publish_states(), LONGEST_S)
    status_cpu_s = children_cpu_s()
    status_s = measured.status_s()
    status_cpu_s = children_cpu_s() - status_cpu_s
    began, used_s, read = time.monotonic(), time.process_time(), set[str]()
    PeopleWatch(servers).look(lambda name, _: read.add(name), read.clear)
    look_s, look_cpu_s = time.monotonic() - began, time.process_time() - used_s
    assert len(read) == people, len(read)
    return EntriesRow(people=people, status_s=status_s, status_cpu_s=status_cpu_s, look_s=look_s, look_cpu_s=look_cpu_s)


def children_cpu_s() -> float:
    """Return the processor time of all commands that have ended."""
    used = os.times()
    return used.children_user + used.children_system


def print_memory(measured: Measured, people: int, hours: float) -> None:
    """Print what the workers take while everybody has a turn at each interval, and news every few minutes."""
    fleet = measured.fleet
    note(f"after {begin(measured, people):.0f} s. News of everybody every {NEWS_EVERY_S:.0f} s, for {hours:g} hours")
    print(f"| {' | '.join(MEMORY_COLUMNS)} |\n|{'---|' * len(MEMORY_COLUMNS)}")
    began = news_at = time.monotonic()
    for row in range(MEMORY_ROWS + 1):
        while time.monotonic() < began + row * hours * 3600 / MEMORY_ROWS:
            if time.monotonic() >= news_at:
                measured.give(NEWS)
                measured.delivered()
                news_at += NEWS_EVERY_S
            time.sleep(1.0)
        memory = ", ".join(f"{memory_kb(fleet.workers[name].pid) / 1024:.1f} MB" for name in measured.workers)
        minutes = (time.monotonic() - began) / 60
        records = sum(fleet.cloud.numbers.values())
        print(f"| {minutes:.0f} | {memory} | {measured.turns():,} | {records:,} |", flush=True)
    check_all(measured)


def measure_in(measured: Measured, people: int, interval_s: int) -> FleetRow:
    """One row: two workers and this number of people."""
    fleet = measured.fleet
    first_s = begin(measured, people)
    note(f"after {first_s:.0f} s. Turns without news for {interval_s} s")
    cpu_ms, memory_mb = measured.idle(interval_s)
    status_s = measured.status_s()
    note(f"{cpu_ms:.1f} ms each. News of everybody")
    measured.give(NEWS)
    news_s = measured.delivered()
    note(f"after {news_s:.0f} s. A worker is killed")
    moved, _, half_s, all_s = measured.kill_one()
    check_all(measured)
    return FleetRow(
        people=people, interval_s=interval_s, cpu_ms=cpu_ms, memory_mb=memory_mb, first_s=first_s, news_s=news_s,
        moved=moved, half_s=half_s, all_s=all_s, worst=fleet.cloud.most_in_a_second(), limit=fleet.requests_per_second,
        status_s=status_s,
    )  # fmt: skip


@contextlib.contextmanager
def new_fleet(chosen: argparse.Namespace, interval_s: int) -> Iterator[Measured]:
    """A fleet on its own server, in memory."""
    with tempfile.TemporaryDirectory(prefix="fleet-", dir=memory_folder()) as folder:
        (Path(folder) / "nats").mkdir()
        server = server_in(Path(folder) / "nats")
        server.start()
        url = f"nats://127.0.0.1:{server.port}"
        fleet = LightFleet(
            Path(folder),
            url,
            lease_s=chosen.lease,
            poll_s=interval_s,
            requests_per_second=chosen.limit,
            threads=chosen.threads,
        )
        fleet.cloud.answer_s = chosen.answer
        try:
            with contextlib.closing(Servers(NatsLogin(servers=[url]), name="bench")) as servers:
                yield Measured(fleet, servers, server.pid, [f"w{number}" for number in range(1, chosen.workers + 1)])
        finally:
            fleet.close()
            server.stop()


def slopes(rows: Sequence[FleetRow]) -> Iterable[str]:
    """What each person more costs, from the smallest and the largest row."""
    few, many = rows[0], rows[-1]
    more = (many.people - few.people) / WORKERS
    if more > 0:
        yield f"memory for each person more: {1024 * (many.memory_mb - few.memory_mb) / more:.1f} kB"
        yield f"a turn with {many.people:,} people costs {many.cpu_ms / few.cpu_ms:.2f} times what it costs with {few.people:,}"
        moved = many.moved - few.moved
        if moved > 0:
            yield f"a taken-over person more: {1000 * (many.all_s - few.all_s) / moved:.0f} ms"
    yield "JSON: " + json.dumps([attrs.asdict(row) for row in rows])


def interval_for(people: int, chosen_s: int | None) -> int:
    """Return the seconds between two turns of a person: as chosen, or what this machine can carry."""
    return chosen_s or max(SHORTEST_INTERVAL_S, people // TURNS_PER_S)


def measure_each(
    chosen: argparse.Namespace, measure: Callable[[Measured, int, int], R], columns: Sequence[str]
) -> list[R]:
    """Print the table, a row for each number of people."""
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    rows: list[R] = []
    for people in chosen.people:
        interval_s = interval_for(people, chosen.interval)
        try:
            with new_fleet(chosen, interval_s) as measured:
                rows.append(measure(measured, people, interval_s))
        except SystemExit as failure:
            print(f"{people:,} people: {failure}", file=sys.stderr, flush=True)
            continue
        print(rows[-1].words(), flush=True)
    return rows


def main() -> None:
    """Print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--people", type=int, nargs="*", default=[500, 1000, 2000, 5000])
    options.add_argument(
        "--interval", type=int, help="seconds between two turns of a person; else by the number of people"
    )
    options.add_argument("--limit", type=float, default=150.0, help="requests per second towards the simulated vendor")
    options.add_argument("--lease", type=float, default=LEASE_S, help="seconds of a worker's lease")
    options.add_argument(
        "--answer", type=float, default=0.0, help="seconds that each answer of cloud and receivers takes"
    )
    options.add_argument("--threads", type=int, default=8, help="of a worker")
    options.add_argument("--takeover", action="store_true", help="only the death of a worker")
    options.add_argument("--entries", action="store_true", help="only `fleet status`, without workers")
    options.add_argument("--days", type=int, default=0, help="only one person with a log of so many days")
    options.add_argument("--hours", type=float, default=0.0, help="only the workers' memory, for so long")
    options.add_argument("--workers", type=int, default=WORKERS, help="with --takeover: how many there are")
    chosen = options.parse_args()
    if chosen.workers != WORKERS and not chosen.takeover:
        options.error("the other figures are those of two workers")
    if chosen.days:
        for line in fleet_year.rows(chosen.days):
            print(line, flush=True)
        return
    if chosen.entries:
        done = len(measure_each(chosen, lambda measured, people, _: measure_entries(measured, people), ENTRIES_COLUMNS))
    elif chosen.hours:
        done = len(chosen.people)
        for people in chosen.people:
            interval_s = interval_for(people, chosen.interval)
            with new_fleet(chosen, interval_s) as measured:
                print_memory(measured, people, chosen.hours)
    elif chosen.takeover:
        done = len(
            measure_each(chosen, lambda measured, people, _: measure_takeover(measured, people), TAKEOVER_COLUMNS)
        )
    else:
        rows = measure_each(chosen, measure_in, COLUMNS)
        done = len(rows)
        for line in slopes(rows) if rows else ():
            print(line)
    sys.exit(0 if done == len(chosen.people) else 1)


if __name__ == "__main__":
    main()
