"""The examples for supervisord and cron in docs/user fit the contract of exit statuses, and run commands that exist."""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tconnectsync.cli.root import COMMANDS
from tconnectsync.exit_status import ExitStatus

NO_PROGRAM = 127
"""The exit status of supervisord's child if the command may not be run."""
USER = Path(__file__).parents[1] / "docs" / "user"
TEXT = "".join((USER / f"{name}.md").read_text(encoding="utf-8") for name in ("services", "monitoring"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.fixture
def program() -> configparser.SectionProxy:
    """The document's section for supervisord."""
    [block] = [block for block in blocks("ini") if "[program:" in block]
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"))  # as supervisord reads it
    parser.read_string(block)
    return parser["program:tconnectsync"]


def test_supervisord_exit_codes(
    program: configparser.SectionProxy,
) -> None:
    """It is not started again after a stop, a bad configuration or refused credentials."""
    final = {int(status) for status in program["exitcodes"].split(",")}
    assert final == {ExitStatus.DONE, ExitStatus.USAGE, ExitStatus.REFUSED, NO_PROGRAM}
    assert program["autorestart"] == "unexpected"
    assert program["startsecs"] == "0", "else a start that ends at once is tried again whatever its status"


def test_supervisord_stop_time(program: configparser.SectionProxy) -> None:
    from tconnectsync.daemon.loop import LAST_S

    assert program["stopsignal"] == "TERM"
    assert int(program["stopwaitsecs"]) > LAST_S


def test_commands_exist(program: configparser.SectionProxy) -> None:
    assert shlex.split(program["command"])[-1] == "run"
    assert "run" in COMMANDS
    cycle, monitor = [line for cron in blocks("cron") for line in cron.splitlines() if line.startswith("*")]
    for line in (cycle, monitor):
        assert "%" not in line, "cron takes it for the end of the line"
    assert shlex.split(cycle)[5:-2] == ["/opt/tconnectsync/bin/tconnectsync"], "a bare call is one cycle"


@pytest.mark.parametrize(("status", "mailed"), [(0, ""), (9, "BAD  disk\nold\n")])
def test_cron_monitor_prints_only_if_bad(tmp_path: Path, status: int, mailed: str) -> None:
    program = tmp_path / "tconnectsync"
    program.write_text(f"#!/bin/sh\necho 'BAD  disk'; echo old >&2; exit {status}\n")
    program.chmod(0o755)
    _, monitor = [line for cron in blocks("cron") for line in cron.splitlines() if line.startswith("*")]
    command = monitor.split(None, 5)[5]
    assert {"--exit-code", "--max-age"} <= set(command.split())
    command = command.replace("/opt/tconnectsync/bin/tconnectsync", str(program))
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (mailed, "")
