"""Real NATS servers with JetStream that form a cluster, each with a disk of its own, to be killed one by one."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import attrs

from tests.support.nats_servers import find_nats_server, greets
from tests.support.real_servers import Server

_READY_S = 90.0
_ATTEMPTS = 3
_open = build_opener(ProxyHandler({})).open


@attrs.define
class NatsCluster:
    """``size`` servers: 1 (no cluster), 3 or 5. Clients are not told of each other's addresses, so that a proxy cannot be passed by."""

    folder: Path
    size: int = 3
    servers: list[Server] = attrs.field(factory=list)
    _monitors: list[int] = attrs.field(factory=list)
    _victims: Iterator[int] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._victims = itertools.cycle(range(self.size))

    @property
    def replicas(self) -> int:
        """On how many servers a stream can be stored."""
        return self.size

    @property
    def ports(self) -> list[int]:
        """The clients' ports."""
        return [server.port for server in self.servers]

    @property
    def url(self) -> str:
        """The addresses, with commas between them."""
        return ",".join(f"nats://127.0.0.1:{port}" for port in self.ports)

    def start(self) -> None:
        """Start all, and wait until they have a leader. Another program may take a port that was free: then with other ports."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._begin()
                return
            except RuntimeError:
                self.stop()
                if attempt == _ATTEMPTS:
                    raise

    def _begin(self) -> None:
        program = find_nats_server()
        ports = free_ports(2 * self.size)
        routes, self._monitors = ports[: self.size], ports[self.size :]
        self.servers = []
        for number in range(self.size):
            words = [program, "-a", "127.0.0.1", "-n", f"n{number}", "-js", "-sd", str(self.disk(number))]
            words += ["-m", str(self._monitors[number])]
            if self.size > 1:
                words += [
                    "--cluster_name",
                    "tests",
                    "--cluster",
                    f"nats://127.0.0.1:{routes[number]}",
                    "--no_advertise",
                ]
                words += ["--routes", ",".join(f"nats://127.0.0.1:{port}" for port in routes)]
            self.servers.append(_server(words, self.folder / f"nats-{number}.log"))
        for server in self.servers:
            server.start()
        self.wait_until_current()

    def disk(self, number: int) -> Path:
        """The folder with a server's streams."""
        return self.folder / f"streams-{number}"

    def stop(self) -> None:
        """End all."""
        for server in self.servers:
            server.stop()

    def next_victim(self) -> int:
        """The number of the server that the next incident hits: each in turn."""
        return next(self._victims)

    def lose_disk(self, number: int) -> None:
        """Kill a server, and delete its streams; :meth:`wait_until_current` after it was started again."""
        self.servers[number].kill()
        shutil.rmtree(self.disk(number))

    def wait_until_current(self) -> None:
        """Wait until every server has a leader and the newest messages. Errors: RuntimeError if that does not happen."""
        end = time.monotonic() + _READY_S
        while not all(map(self._is_current, self._monitors)):
            if time.monotonic() > end:
                raise RuntimeError(f"the NATS servers do not agree:\n{self.logs()}")
            time.sleep(0.1)

    def _is_current(self, monitor: int) -> bool:
        if self.size > 1 and not self._asked(monitor, "jsz").get("meta_cluster", {}).get("leader"):
            return False
        return bool(self._asked(monitor, "healthz").get("status") == "ok")

    def _asked(self, monitor: int, what: str) -> dict[str, Any]:
        with contextlib.suppress(URLError, OSError), _open(f"http://127.0.0.1:{monitor}/{what}", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
        return {}

    def logs(self) -> str:
        """The end of every server's log."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text()[-2000:]}" for path in sorted(self.folder.glob("nats-*.log"))
        )


def _server(words: Sequence[str], log: Path) -> Server:
    return Server(command=lambda port: [*words, "-p", str(port)], log=log, is_up=greets)


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in taken]
