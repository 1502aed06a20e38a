"""Texts from outside (a vendor, a site, names of files and pumps) cannot control the terminal."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from tconnectsync.cli.progress import ProgressLine
from tconnectsync.errors import ConfigError, FileUnreadable, Retryable
from tconnectsync.plugin.receiver import CheckResult
from tconnectsync.text.printable import one_line, printable, printable_json
from tests.cli.harness import CliHarness, Result
from tests.cli.test_cli_status import Screen, a_status

CLI = Path(__file__).parents[2] / "tconnectsync" / "cli"
EVIL = "\x1b]0;mine\x07\x1b[2J\x9b31mred\u202etxt\u2066\x00"
KEPT = r"\x1b]0;mine\x07\x1b[2J\x9b31mred\u202etxt"


def is_printable(text: str) -> bool:
    return all(each.isprintable() or each == "\n" for each in text)


@pytest.mark.parametrize("text", ["", "plain", "Größe 5,5 µ → 😀", "two\nlines"])
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text
    assert json.loads(printable_json(json.dumps(text, ensure_ascii=False))) == text


def test_control_characters_are_escaped() -> None:
    """The escapes show what was there."""
    assert printable(f"a{EVIL}\nb").startswith(f"a{KEPT}")
    assert is_printable(printable(EVIL))
    assert one_line("a\nb") == r"a\nb"


def test_json_means_the_same_afterwards() -> None:
    text = printable_json(json.dumps({"note": f"{EVIL}\n\U000e0001"}, ensure_ascii=False, indent=2))
    assert is_printable(text)
    assert json.loads(text) == {"note": f"{EVIL}\n\U000e0001"}


@pytest.mark.parametrize("kind", [Retryable, FileUnreadable])
def test_errors_hold_no_control_characters(kind: type[Retryable] | type[FileUnreadable]) -> None:
    error = kind(f"the site said {EVIL}", remedy=f"Look at {EVIL}.")
    assert is_printable(error.message + str(error) + str(error.remedy))
    assert KEPT in error.message


def test_configuration_problems_hold_none() -> None:
    assert is_printable(str(ConfigError((f"config.toml: {EVIL}",))))


@pytest.mark.parametrize(
    "line",
    [
        *("status", "status --json", "check", "check --json", "events", "events --json", "sync", "sync --dry-run"),
        *("dead-letters list", "dead-letters list --json"),
    ],
)
def test_no_command_lets_them_through(harness: CliHarness, line: str) -> None:
    application = harness.application
    application.status = a_status({"message": EVIL, "state": "changed", "remedy": EVIL}, {"message": EVIL})
    application.status["sources"]["tandem"]["pumps"] = {EVIL: {"newest_event": None, "clock_basis": EVIL}}
    application.findings = (CheckResult(good=False, what=EVIL, remedy=EVIL),)
    body = {"name": EVIL, "codes": [EVIL]}
    application.records = ({"pump_time": "2026-03-01T00:00:00", "pump": EVIL, "kind": "alarm.raised", "body": body},)
    application.letters = ({"sink": "site", "id": "0f", "reason": EVIL, "content": {"eventType": EVIL}},)
    application.documents = ({"sink": "site", "action": "put", "document": {"notes": EVIL}},)
    application.answer = Result(status=5, lines=(EVIL,))
    said = harness.run(*line.split())
    assert is_printable(said.out + said.err)
    assert "red" in said.out + said.err


def test_neither_do_errors_and_wrong_arguments(harness: CliHarness) -> None:
    harness.application.answer = OSError(5, EVIL, f"/tmp/{EVIL}")
    assert is_printable(harness.run("sync").err)
    typed = EVIL.replace("\0", "")  # no argument can hold one
    for words in (("events", "--kind", typed), (typed,), ("resume", typed), ("import", f"/nowhere/{typed}")):
        said = harness.run(*words)
        assert said.status == 2
        assert is_printable(said.out + said.err)


def test_neither_does_progress() -> None:
    screen = Screen(terminal=True)
    with ProgressLine(stream=screen, monotonic=lambda: 0.0) as line:  # type: ignore[arg-type]
        line.show(f"pump {EVIL}\n", 1, 2)
    assert screen.text.count("\x1b") == 2, "its own: to clear the line, before and after"
    assert "\n" not in screen.text


def test_commands_print_through_say() -> None:
    """Not with click.echo, click.secho or print."""
    forbidden = {"click.echo", "click.secho", "print"}
    found = [
        f"{path.name}:{node.lineno}"
        for path in sorted(CLI.glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in forbidden
    ]
    assert [place for place in found if not place.startswith("output.py")] == []
