"""A real mosquitto, as the distribution brings it, for the tests of what speaks MQTT."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.real_servers import in_ci

__all__ = ["broker"]


def find_mosquitto() -> str:
    """The program; without it the test is skipped, in CI it fails."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        reason = "mosquitto is not installed (apt-get install mosquitto)"
        if in_ci(os.environ):
            pytest.fail(f"in CI the real servers must run: {reason}", pytrace=False)
        pytest.skip(reason)
    return found


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Callable[..., int]]:
    """Starts a broker with these further lines of configuration; returns its port.

    One that has this port already is stopped first.
    """
    running: list[subprocess.Popen[bytes]] = []
    ports: dict[int, subprocess.Popen[bytes]] = {}

    def start(*lines: str, port: int | None = None) -> int:
        program = find_mosquitto()
        if port in ports:
            ports[port].kill()
            ports[port].wait(10)
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", 0 if port is None else port))
            port = free.getsockname()[1]
        path = tmp_path / f"mosquitto-{len(running)}.conf"
        anonymous = "false" if any(line.startswith("password_file") for line in lines) else "true"
        path.write_text(
            "\n".join([f"listener {port} 127.0.0.1", f"allow_anonymous {anonymous}", "user root", *lines, ""])
        )
        running.append(
            subprocess.Popen([program, "-c", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )
        ports[port] = running[-1]
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                assert running[-1].poll() is None, "mosquitto ended at once"
                time.sleep(0.05)
            else:
                return port
        raise AssertionError("mosquitto does not listen")

    yield start
    for process in running:
        process.terminate()
        process.wait(10)
