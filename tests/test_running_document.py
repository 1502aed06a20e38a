"""What docs/running.md tells people to copy holds what the contract of exit statuses says, and runs commands that there are."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import pytest

from tconnectsync.cli.exit_status import ExitStatus
from tconnectsync.cli.root import COMMANDS

NO_PROGRAM = 127
"""What supervisord's child ends with where the command may not be run."""
TEXT = (Path(__file__).parents[1] / "docs" / "running.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.fixture
def program() -> configparser.SectionProxy:
    [block] = [block for block in blocks("ini") if "[program:" in block]
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"))  # as supervisord reads it
    parser.read_string(block)
    return parser["program:tconnectsync"]


def test_supervisord_does_not_start_it_again_after_a_stop_a_bad_configuration_or_refused_credentials(
    program: configparser.SectionProxy,
) -> None:
    final = {int(status) for status in program["exitcodes"].split(",")}
    assert final == {ExitStatus.DONE, ExitStatus.USAGE, ExitStatus.REFUSED, NO_PROGRAM}
    assert program["autorestart"] == "unexpected"
    assert program["startsecs"] == "0", "else a start that ends at once is tried again whatever its status"


def test_supervisord_gives_it_time_to_stop(program: configparser.SectionProxy) -> None:
    from tconnectsync.daemon import LAST_S

    assert program["stopsignal"] == "TERM"
    assert int(program["stopwaitsecs"]) > LAST_S


def test_what_is_run_are_commands_that_there_are(program: configparser.SectionProxy) -> None:
    assert shlex.split(program["command"])[-1] == "run"
    assert "run" in COMMANDS
    [cron] = blocks("cron")
    [line] = [line for line in cron.splitlines() if line.startswith("*")]
    assert "%" not in line, "cron takes it for the end of the line"
    assert shlex.split(line)[5:-2] == ["/opt/tconnectsync/bin/tconnectsync"], "a bare call is one cycle"
