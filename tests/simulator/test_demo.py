"""The demo: its page, and the commands that it tells people to type."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import requests

from tests.e2e.installation import eventually


def test_named_commands_run_as_typed(tmp_path: Path) -> None:
    """Also with nothing on the PATH."""
    words = [sys.executable, "-m", "tconnectsync", "demo", "--days", "1", "--port", "0"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
        )
        stack.callback(process.kill)
        assert process.stdout is not None
        commands, address = [], ""
        while len(commands) < 3:
            line = process.stdout.readline()
            assert line, "it ended"
            if line.startswith("The page is at "):
                address = line.split()[4]
            if line.startswith("  "):
                commands.append(line.strip())
        [status] = [command for command in commands if shlex.split(command)[-1] == "status"]
        said = subprocess.run(
            ["sh", "-c", status], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert said.returncode == 0, said.stderr
        assert "event log" in said.stdout
        assert {shlex.split(command)[0] for command in commands} == {shlex.split(status)[0]}
        assert os.access(shlex.split(status)[0], os.X_OK)
        eventually(lambda: "glucose-now" in page(address) and "data-readings" in page(address), "glucose on the page")
        assert all(f'class="dose {kind}"' in page(f"{address}?hours=24") for kind in ("bolus", "carbs"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_port_that_is_taken(tmp_path: Path) -> None:
    """The advice is an option of the demo, too."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "tconnectsync", "demo", "--days", "1", "--port", port],
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert "`--port 0`" in done.stderr


def page(address: str) -> str:
    """The page as a browser gets it."""
    return requests.get(address, headers={"Accept": "text/html"}, timeout=30).text
