"""The demo: its page, and the commands that it tells people to type."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

from tconnectsync_simulator.demo.page import page

NOW = datetime(2026, 3, 20, 12, tzinfo=timezone.utc)


def test_boluses_are_drawn_over_basal_in_whatever_order_the_site_lists_them() -> None:
    treatments = [
        {"eventType": kind, "created_at": (NOW - timedelta(hours=hours)).isoformat(), **values}
        for kind, hours, values in (
            ("Meal Bolus", 2, {"insulin": 4.0}),
            ("Temp Basal", 3, {"absolute": 3.5, "duration": 120}),
            ("Sleep", 4, {"duration": 60}),
            ("Correction Bolus", 1, {"insulin": 1.0}),
            ("Temp Basal", 1.5, {"absolute": 2.0, "duration": 60}),
        )
    ]
    drawn = page(now=NOW, status={}, treatments=treatments, log_lines=[], folder="/tmp/demo")
    fills = re.findall(r'<rect [^>]*fill="(#\w+)"', drawn)
    assert fills == ["#8fbfe8", "#8fbfe8", "#5b4b8a", "#1f5fa8", "#1f5fa8"]


def test_the_commands_it_names_run_as_typed_with_nothing_on_the_path(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tconnectsync", "demo", "--days", "1", "--port", "0"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
        )
        stack.callback(process.kill)
        assert process.stdout is not None
        commands = []
        while len(commands) < 3:
            line = process.stdout.readline()
            assert line, "it ended"
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
        process.send_signal(signal.SIGTERM)
        process.wait(20)
