"""What one person with a long log costs a fleet: sizes, and the time of each way in which the person changes workers.

``bench_fleet.py --days 365`` prints it.

The person has Tandem's source and the default sinks, on a simulated cloud and site in another process, and was synced once before. The
workers are made in this process, one after the other, with a folder of their own or an earlier one's.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import attrs
from measure import run_python
from simulated_services import SimulatedServices, clean_environment, running_world

from tconnectsync.cli.invocation import Invocation
from tconnectsync_fleet.log_transfer import move_in
from tconnectsync_fleet.nats_login import NatsLogin
from tconnectsync_fleet.people import People
from tconnectsync_fleet.person_runner import PersonRunner
from tconnectsync_fleet.sealing import create_key, opener
from tconnectsync_fleet.servers import SNAPSHOTS, Servers, set_up
from tests.support.memory_folder import memory_folder
from tests.support.nats_servers import server_in

MB = 1e6
NAME = "anna"
MOST_TURNS, SHOWN_TURNS = 101, (1, 10, 100)
"""Turns without news, in which the log is compressed."""
COLUMNS = ("what", "time", "processor time")


@attrs.frozen
class OwnLease:
    """A lease that no server knows: of a worker that nobody competes with."""

    owner: str

    def holds(self) -> bool:
        return True


@attrs.define
class YearFleet:
    """One person in a fleet. Each measured step is a row."""

    servers: Servers
    engine: Invocation
    key: Path
    folder: Path
    workers: int = 0

    def runner(self, folder: str) -> PersonRunner:
        """A worker's runner of the person, with this folder."""
        person = People(self.servers).get(NAME)
        return PersonRunner(person, self.folder / folder, self.servers, opener(self.key), self.engine)

    def take(self, runner: PersonRunner) -> None:
        """Take the person over and give the first turn."""
        self.workers += 1
        assert runner.take(OwnLease(f"w{self.workers}.bench"), ())  # type: ignore[arg-type]
        outcome = runner.work(lambda: False)
        assert outcome.status == 0, outcome.lines

    def size(self, stream: str) -> int:
        return int(self.servers.call(self.servers.js.stream_info(stream)).state.bytes)


def measured(what: str, step: Callable[[], object]) -> str:
    """Do a step; return its row."""
    began, used = time.monotonic(), time.process_time()
    step()
    return f"| {what} | {time.monotonic() - began:.2f} s | {time.process_time() - used:.2f} s |"


def sizes_in(folder: Path) -> str:
    """The sizes of a data folder's parts."""
    parts = {
        "log": (folder / "log").rglob("*"),
        "index": folder.glob("index.sqlite*"),
        "outboxes": (folder / "outbox").rglob("*"),
    }
    return ", ".join(f"{part} {bytes_of(paths) / MB:.1f} MB" for part, paths in parts.items())


def bytes_of(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())


@contextlib.contextmanager
def new_year_fleet(folder: Path) -> Iterator[YearFleet]:
    """A fleet without people, on a server of its own."""
    (folder / "nats").mkdir()
    server = server_in(folder / "nats")
    server.start()
    try:
        login = NatsLogin(servers=[f"nats://127.0.0.1:{server.port}"])
        with contextlib.closing(Servers(login, name="bench")) as servers:
            set_up(servers, replicas=1, lease_s=15.0)
            create_key(folder / "fleet.key")
            (folder / "worker.toml").touch(mode=0o600)
            engine = Invocation(environ=clean_environment(), config_path=folder / "worker.toml")
            yield YearFleet(servers, engine, folder / "fleet.key", folder)
    finally:
        server.stop()


def rows(days: int) -> Iterator[str]:
    """The lines of the tables."""
    with (
        tempfile.TemporaryDirectory(prefix="fleet-", dir=memory_folder()) as name,
        running_world(days=days + 2) as world,
    ):
        folder = Path(name)
        data = synced(world, folder / "home", days)
        yield f"{days} days, {world.counts()['treatments']:,} treatments. The data folder: {sizes_in(data)}"
        with new_year_fleet(folder) as fleet:
            yield from moves(fleet, folder, data)


def synced(world: SimulatedServices, home: Path, days: int) -> Path:
    """A data folder after the first sync."""
    config = world.configure(home, history_days=days)
    run_python("tconnectsync", "--config", str(config), "sync", environment=clean_environment())
    return home / "data"


def moves(fleet: YearFleet, folder: Path, data: Path) -> Iterator[str]:
    """The person comes into the fleet, and changes workers in each way."""
    config = folder / "home" / "config.toml"
    yield f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"
    yield measured(
        "`fleet import` of the data folder",
        lambda: move_in(fleet.servers, fleet.engine, NAME, config=config, source=data, key=Path(f"{fleet.key}.pub")),
    )
    sizes = fleet.size("events"), fleet.size(f"OBJ_{SNAPSHOTS}")
    first = fleet.runner("first")
    yield measured("taken over without a copy, from a snapshot", lambda: fleet.take(first))
    yield measured("a turn without news", lambda: first.work(lambda: False))
    yield measured("given back with a snapshot", first.release)
    yield measured("taken over with an older copy of the log, from a snapshot", lambda: fleet.take(first))
    again = fleet.runner("first")
    yield measured("a worker that was killed takes the person again, on its folder", lambda: fleet.take(again))
    other = fleet.runner("other")
    yield measured("taken over from a lost computer, without a copy, with an older snapshot", lambda: fleet.take(other))
    replica = other._replica  # noqa: SLF001 - what an operator's request does before it changes anything
    assert replica is not None
    replica.forget_snapshot()
    last = fleet.runner("last")
    yield measured("taken over from a lost computer, without a copy or a snapshot", lambda: fleet.take(last))
    yield f"in NATS: log {sizes[0] / MB:.1f} MB, snapshot {sizes[1] / MB:.1f} MB"
    yield f"folder of the last worker: {sizes_in(folder / 'last')}"
    for turns in range(1, MOST_TURNS):
        last.work(lambda: False)
        if turns in SHOWN_TURNS:
            yield f"after {turns} turns more: {sizes_in(folder / 'last')}"
