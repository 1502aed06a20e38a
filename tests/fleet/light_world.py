"""A fleet for chaos: a light cloud and receiver for many people in this process, workers as processes."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import attrs
from nats.errors import Error as NatsError

from tconnectsync import Event, LogEnd, ReplicaFailed, Retryable
from tconnectsync.clock import SystemClock
from tconnectsync.eventlog import EventLog
from tconnectsync_fleet.lease import live_workers
from tconnectsync_fleet.nats_login import NatsLogin
from tconnectsync_fleet.servers import Servers
from tconnectsync_fleet.stream_replica import StreamReplica
from tests.e2e.command_in_process import run_command
from tests.fleet.light_cloud import LightCloud, LightCloudServer, carbs_g, numbers_found
from tests.support.tcp_gate import TcpGate

PLUGIN = Path(__file__).with_name("light_plugin") / "light.py"
THREADS = 4
NO_NIGHTSCOUT = "".join(
    f"[sinks.nightscout-{name}]\nenabled = false\n" for name in ("treatments", "iob", "pump-events")
)
PASSWORD = "a password of a simulated person"


class ReadReplica(StreamReplica):
    """The replica of somebody who only reads, whoever owns the log."""

    def end(self) -> LogEnd:
        return self.look().end


def read_log(servers: Servers, person: str, folder: Path, within_s: float = 60.0) -> list[Event]:
    """The events of a person's shared log, read into an empty folder.

    Servers that were just started again may give no answer: like a worker, it then opens the log again, and reads on.

    Errors: LogCorrupt if its checksums are not right; ReplicaFailed if the servers gave no answer for that time.
    """
    end = time.monotonic() + within_s
    while True:
        try:
            replica = ReadReplica(servers, person, "reader")
            with contextlib.closing(EventLog.open(folder, clock=SystemClock(), writable=True, replica=replica)) as log:
                assert not log.damage
                return list(log.events())
        except ReplicaFailed:
            if time.monotonic() > end:
                raise
            time.sleep(1.0)


@attrs.define
class LightFleet:
    """The fleet: commands run in this process, workers are processes."""

    folder: Path
    nats_url: str
    """The addresses of the servers, with commas between them."""
    lease_s: float = 2.0
    requests_per_second: float = 0.0
    """The limit towards the cloud; 0: none."""
    replicas: int = 1
    first: datetime = attrs.field(factory=lambda: datetime.now(timezone.utc) - timedelta(days=1))
    """The time of the first records. They are recent, like most of what a pump uploads."""
    snapshots_s: float = 86400.0
    """How often each worker stores everybody's outboxes at the servers."""
    poll_s: int = 1
    threads: int = THREADS
    is_gated: bool = False
    """Whether each worker reaches the servers through a gate of its own, which can be closed."""
    blocked_plugins: Sequence[str] = ("nightscout",)
    """What the workers do not load."""
    patience_s: float = 60.0
    """How long to wait for something that must happen."""
    gates: dict[str, TcpGate] = attrs.field(factory=dict)
    cloud: LightCloud = attrs.field(factory=LightCloud)
    workers: dict[str, subprocess.Popen[bytes]] = attrs.field(factory=dict)
    people: list[str] = attrs.field(factory=list)
    programs: dict[str, list[str]] = attrs.field(factory=dict)
    """The program of a worker of another release."""
    _server: LightCloudServer = attrs.field(init=False)
    _log_numbers: itertools.count[int] = attrs.field(factory=itertools.count)

    def __attrs_post_init__(self) -> None:
        self._server = LightCloudServer(self.cloud)
        plugins = self.folder / "plugins"
        plugins.mkdir(mode=0o700)
        shutil.copy(PLUGIN, plugins / PLUGIN.name)
        (plugins / PLUGIN.name).chmod(0o600)
        (plugins / "first").write_text(self.first.isoformat())
        blocked = json.dumps([*self.blocked_plugins])
        (self.folder / "worker.toml").write_text(f'plugins_dir = "{plugins}"\nblocked_plugins = {blocked}\n')
        self.run("key", str(self.key))
        lease = ("--replicas", str(self.replicas), "--lease", str(self.lease_s))
        self.run("init", *lease, "--requests-per-second", f"{self.requests_per_second:g}")

    @property
    def key(self) -> Path:
        return self.folder / "fleet.key"

    @property
    def environment(self) -> dict[str, str]:
        kept = ("PATH", "LANG", "PYTHONPATH", "VIRTUAL_ENV")
        return {
            "HOME": str(self.folder),
            "no_proxy": "127.0.0.1",
            **{name: value for name, value in os.environ.items() if name in kept},
        }

    def words(self, command: str, *words: str) -> list[str]:
        more = [] if command == "key" or (command == "worker" and self.is_gated) else ["--servers", self.nats_url]
        more += ["--key", str(self.key)] if command in {"add", "add-all", "import", "worker"} else []
        return ["--config", str(self.folder / "worker.toml"), "fleet", command, *more, *words]

    def run(self, *words: str, expect: Sequence[int] = (0,)) -> str:
        """A command; what it printed."""
        done = run_command(self.words(*words), self.environment)
        assert done.returncode in expect, f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def config(self, person: str, **changes: str) -> Path:
        """The file of a person's configuration."""
        url = f"http://127.0.0.1:{self._server.port}/{person}"
        off = "" if "nightscout" in self.blocked_plugins else NO_NIGHTSCOUT
        values = {"url": url, "password": PASSWORD, "more": off, **changes}
        path = self.folder / f"{person}.toml"
        path.touch(mode=0o600)
        path.write_text(
            'timezone = "Africa/Accra"\n[sources.light]\nenabled = true\nurl = "{url}"\npassword = "{password}"\n'
            '[sinks.light]\nenabled = true\nurl = "{url}"\npassword = "{password}"\n'
            "[daemon]\npoll_min = {poll_s}\npoll_max = {poll_s}\n{more}".format(poll_s=self.poll_s, **values)
        )
        return path

    def add(self, *people: str) -> None:
        for person in people:
            words = ("add", person, "--config", str(self.config(person)))
            # A new cluster may elect the leader of a stream while this is stored: status 3, which is tried again.
            self.eventually(
                lambda words=words: "was added" in self.run(*words, expect=(0, 3)), f"{person} in the fleet"
            )
            self.people.append(person)

    def start(self, name: str, *options: str) -> None:
        """Start a worker; a killed one continues on its disk."""
        command = self.programs.get(name, [sys.executable, "-m", "tconnectsync"]).copy()
        command += self.words("worker", "--name", name, "--threads", str(self.threads))
        command += ["--folder", str(self.folder / name), *self._through_gate(name), *options]
        if name not in self.programs:  # earlier releases store none
            command += ["--snapshots-every", f"{self.snapshots_s / 3600:f}"]
        with self.log(name).open("ab") as log:
            self.workers[name] = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )  # in a folder without code: with `-m`, Python would load it instead of the chosen release's

    def _through_gate(self, name: str) -> list[str]:
        if not self.is_gated:
            return []
        if name not in self.gates:
            self.gates[name] = TcpGate([int(url.rpartition(":")[2]) for url in self.nats_url.split(",")])
        return ["--servers", ",".join(f"nats://127.0.0.1:{port}" for port in self.gates[name].ports)]

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a worker. Errors: AssertionError if it has ended by itself."""
        assert self.workers[name].poll() is None, f"{name} has ended by itself\n{self.logs()}"
        self.workers[name].send_signal(number)
        if number is signal.SIGKILL:
            self.workers[name].wait(10)

    def close(self) -> None:
        for process in self.workers.values():
            process.kill()
            process.wait(10)
        for gate in self.gates.values():
            gate.close()
        self._server.close()

    def logs(self) -> str:
        """The end of every worker's log."""
        return "\n".join(f"--- {name}\n{self.log(name).read_text()[-3000:]}" for name in self.workers)

    def eventually(
        self, condition: Callable[[], object], what: str, within_s: float | None = None, every_s: float = 0.05
    ) -> None:
        within_s = within_s or self.patience_s
        end = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < end, f"{what}: not within {within_s} s\n{self.logs()}"
            time.sleep(every_s)

    def wait_until_all_asked(self, within_s: float | None = None) -> None:
        """Wait until a source was asked for everybody from now on: all people have a worker that works."""
        within_s = within_s or self.patience_s
        before = dict(self.cloud.asked)

        def waiting() -> list[str]:
            return [person for person in self.people if self.cloud.asked[person] <= before.get(person, 0)]

        end = time.monotonic() + within_s
        while left := waiting():
            assert time.monotonic() < end, f"nobody asked for {left} within {within_s} s\n{self.logs()}"
            time.sleep(0.05)

    def settle(self, within_s: float = 60.0) -> dict[str, list[str]]:
        """Let nothing new come, wait until nothing is missing and everybody had one more turn, and return the verdict on receivers and logs."""
        self.cloud.stop_growing(self.people)
        self.eventually(lambda: not self.cloud.verdict(self.people)["lost"], "everything delivered", within_s)
        self.wait_until_all_asked(within_s)  # what comes too late, or is deleted again, is seen too
        self.eventually(self._all_have_a_lease, "a lease of every worker", within_s, every_s=0.5)
        found = self.cloud.verdict(self.people)
        for kind, words in self._logs_verdict().items():
            found[kind] += words
        return found

    def _all_have_a_lease(self) -> bool:
        """Whether every worker runs and has a lease. One whose main loop hangs keeps its lease for two minutes."""
        if any(process.poll() is not None for process in self.workers.values()):
            return False
        with contextlib.suppress(Retryable, NatsError), self._servers() as servers:
            return self.workers.keys() <= live_workers(servers).keys()
        return False

    def _servers(self) -> contextlib.closing[Servers]:
        return contextlib.closing(Servers(NatsLogin(servers=self.nats_url.split(",")), name="tests"))

    def _logs_verdict(self) -> dict[str, list[str]]:
        """What is lost, doubled or wrong in the shared logs, by person and number. Errors: LogCorrupt, ReplicaFailed."""
        found: dict[str, list[str]] = {"lost": [], "doubled": [], "wrong": []}
        with self._servers() as servers:
            for person in self.people:
                events = [each for each in read_log(servers, person, self.folder / "read" / person) if each.seq]
                wanted, where = range(1, self.cloud.numbers.get(person, 0) + 1), f"the log of {person}:"
                numbers_found(found, where, [each.seq or 0 for each in events], wanted)
                found["wrong"] += [
                    f"{where} {each.seq}" for each in events if each.body.carbs_g != carbs_g(each.seq or 0)
                ]
        return found
