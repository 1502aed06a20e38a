"""Commands: what they ask of the engine, what they print, how they end."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
import sys
from datetime import date
from importlib import import_module

import attrs
import pytest

from tconnectsync.cli.root import COMMANDS, module_of
from tconnectsync.errors import (
    ConfigError,
    CredentialsRefused,
    DataDirLocked,
    LogCorrupt,
    Rejected,
    Retryable,
    SourceChanged,
    TconnectsyncError,
)
from tconnectsync.eventlog import Damage
from tconnectsync.plugin.manager import load_plugins
from tconnectsync.plugin.receiver import CheckResult
from tests.cli.harness import NOW, CliHarness, EntryPoint, Result, made_up_plugin
from tests.support.clocks import FrozenClock


@pytest.mark.parametrize(
    ("arguments", "request_"),
    [
        ((), ("sync", {})),
        (("sync",), ("sync", {})),
        (("backfill", "--from", "2025-03-01"), ("backfill", {"first": "2025-03-01", "last": None})),
        (
            ("backfill", "--to", "2025-03-02", "--from", "2025-03-01"),
            ("backfill", {"first": "2025-03-01", "last": "2025-03-02"}),
        ),
        (("replay", "site"), ("replay", {"sink": "site", "first": None, "last": None})),
        (
            ("replay", "site", "--from", "2025-03-01", "--to", "2025-03-01"),
            ("replay", {"sink": "site", "first": "2025-03-01", "last": "2025-03-01"}),
        ),
        (
            ("import", "/dev/../proc/version", "--pump", "12"),
            ("import", {"files": ["/dev/../proc/version"], "pump": "12", "skip_bad": False}),
        ),
        (("resume", "site"), ("resume", {"sink": "site"})),
        (("resume", "pump"), ("resume", {"sink": "pump"})),
        (
            ("adopt", "site", "--skip"),
            ("adopt", {"sink": "site", "first": None, "last": None, "skip": True, "keep_unclear": False}),
        ),
        (
            ("adopt", "site", "--from", "2025-03-01"),
            ("adopt", {"sink": "site", "first": "2025-03-01", "last": None, "skip": False, "keep_unclear": False}),
        ),
        (("dead-letters", "retry", "site"), ("dead_letters_retry", {"sink": "site", "ids": None})),
        (("dead-letters", "retry", "site", "a", "b"), ("dead_letters_retry", {"sink": "site", "ids": ["a", "b"]})),
        (("dead-letters", "drop", "site", "a"), ("dead_letters_drop", {"sink": "site", "ids": ["a"]})),
        (("dead-letters", "drop", "site", "--all"), ("dead_letters_drop", {"sink": "site", "ids": None})),
    ],
)
def test_a_command_is_one_request(world: CliHarness, arguments: tuple[str, ...], request_: object) -> None:
    said = world.run(*arguments)
    assert world.application.asked == [request_]
    assert (said.status, said.err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("backfill",), "--from"),
        (("backfill", "--from", "yesterday"), "found 'yesterday', expected a day such as 2025-06-01"),
        (("backfill", "--from", "2025-02-30"), "expected a day"),
        (("backfill", "--from", "2025-03-02", "--to", "2025-03-01"), "2025-03-01 is before the first day, 2025-03-02"),
        (("replay", "site", "--from", "0001-01-01"), "expected a day between 2000 and 2099"),
        (("backfill", "--from", "9999-12-31"), "expected a day between 2000 and 2099"),
        (("replay",), "SINK"),
        (("replay", "siet"), "there is no sink 'siet'; did you mean \"site\"?"),
        (("adopt", "site", "--skip", "--dry-run"), "--skip"),
        (("dead-letters", "drop", "site"), "--all"),
        (("dead-letters", "drop", "site", "a", "--all"), "--all"),
        (("events", "--kind", "bolos"), "there is no kind 'bolos'"),
        (("statsu",), 'did you mean "status"?'),
        (("status", "--jsn"), "--json"),
    ],
)
def test_wrong_usage_is_status_2_and_asks_nothing(world: CliHarness, arguments: tuple[str, ...], words: str) -> None:
    said = world.run(*arguments)
    assert said.status == 2
    assert words in said.err
    assert said.out == ""
    assert world.application.asked == []


@pytest.mark.parametrize("status", range(10))
def test_the_engines_exit_status_and_words_reach_the_user(world: CliHarness, status: int) -> None:
    world.application.answer = Result(status=status, lines=("first", "second"))
    said = world.run("sync")
    assert said.status == status
    assert (said.out if status == 0 else said.err) == "first\nsecond\n"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError(("a: b",)), 2),
        (Retryable("no answer"), 3),
        (SourceChanged("new shape"), 3),
        (CredentialsRefused("refused", remedy="Check the region."), 4),
        (Rejected("no"), 5),
        (LogCorrupt("damaged", path="p", line=1), 7),
        (DataDirLocked("process 7 is working here"), 8),
        (TconnectsyncError("odd"), 1),
    ],
)
def test_an_expected_error_is_words_and_its_status(world: CliHarness, error: TconnectsyncError, status: int) -> None:
    world.application.answer = error
    said = world.run("sync")
    assert said.status == status
    assert error.message in said.err
    assert "Traceback" not in said.err
    if error.remedy:
        assert error.remedy in said.err


def test_unexpected_failure(world: CliHarness) -> None:
    """It is one line, and a private file without secrets."""
    (world.folder / "data").mkdir()
    world.application.answer = KeyError("pump-password")
    said = world.run("sync")
    details = world.folder / "data/last-failure.txt"
    assert said.status == 1
    assert said.err.count("\n") == 1
    assert "failed unexpectedly (KeyError" in said.err
    assert str(details) in said.err
    assert "Traceback" in details.read_text()
    assert details.stat().st_mode & 0o777 == 0o600
    for text in (said.err, details.read_text()):
        assert "pump-password" not in text


def test_verbose_shows_the_traceback(world: CliHarness) -> None:
    world.application.answer = KeyError("pump-password")
    for arguments in (("-v", "sync"), ("sync", "-v")):
        said = world.run(*arguments)
        assert said.status == 1
        assert "Traceback" in said.err
        assert "pump-password" not in said.err


def test_ctrl_c_ends_quietly(world: CliHarness) -> None:
    world.application.answer = KeyboardInterrupt()
    said = world.run("sync")
    assert said.status == 130
    assert "Nothing is lost" in said.err


def test_wrong_configuration(world: CliHarness) -> None:
    """Every problem is reported, and nothing is written."""
    (world.folder / "config.toml").write_text('timezone = "Nowhere"\nfoo = 1\n')
    before = sorted(world.folder.iterdir())
    for command in ("sync", "run", "status", "check"):
        said = world.run(command)
        assert said.status == 2
        assert "3 problems" in said.err
        assert f"  {world.folder}/config.toml: foo: found an unknown key" in said.err
        assert said.out == ""
    assert sorted(world.folder.iterdir()) == before
    assert world.application.asked == []


def test_config_may_stand_before_and_after_the_command(world: CliHarness) -> None:
    other = world.folder / "other.toml"
    other.write_text("nonsense = 1")
    for arguments in (("--config", str(other), "sync"), ("sync", "--config", str(other))):
        assert f"{other}: nonsense" in world.run(*arguments).err


def test_features_choose_the_sinks(world: CliHarness) -> None:
    for arguments in (("--features", "PAPER", "run"), ("run", "--features", "paper")):
        world.run(*arguments)
        _, config = world.application.asked.pop()
        assert [name for name, sink in config.sinks.items() if sink.enabled] == ["paper"]


# --- readers --------------------------------------------------------------------------------------------------------


def test_dry_run_prints_documents(world: CliHarness) -> None:
    """It requests nothing else."""
    world.application.documents = ({"id": "a"}, {"id": "ü"})
    said = world.run("sync", "--dry-run")
    assert [json.loads(line) for line in said.out.splitlines()] == [{"id": "a"}, {"id": "ü"}]
    assert "2 documents would be sent" in said.err
    world.run("replay", "site", "--from", "2025-03-01", "--dry-run")
    assert world.application.asked == [
        ("preview", {}),
        ("preview", {"sink": "site", "first": date(2025, 3, 1), "last": None}),
    ]


RECORD = {
    "pos": 42,
    "kind": "basal.delivered",
    "pump": "1234567",
    "group": 0,
    "seq": 98765,
    "pump_time": "2025-11-18T13:12:40",
    "body": {"rate_u_per_h": 0.8, "rate_source": "algorithm", "reasons": ["a", "b"], "left": None},
}


def test_events_are_a_line_each(world: CliHarness) -> None:
    world.application.records = (RECORD,)
    said = world.run("events", "--kind", "bolus", "--kind", "alarm.raised", "--pump", "1234567")
    [line] = said.out.splitlines()
    assert line.split() == [
        "2025-11-18", "13:12:40", "1234567", "0:98765", "basal.delivered", "rate_u_per_h=0.8", "rate_source=algorithm",
        "reasons=a,b",
    ]  # fmt: skip
    [(_, wanted)] = world.application.asked
    assert set(wanted["kinds"]) >= {"bolus.requested", "bolus.completed", "alarm.raised"}
    assert "alarm.cleared" not in wanted["kinds"]
    assert wanted["pump"] == "1234567"


def test_events_as_json_are_the_records(world: CliHarness) -> None:
    world.application.records = (RECORD, RECORD)
    assert [json.loads(line) for line in world.run("events", "--json").out.splitlines()] == [RECORD, RECORD]


@pytest.mark.parametrize("options", [(), ("--json",), ("--follow",)])
def test_events_leave_out_what_is_damaged_and_say_where(world: CliHarness, options: tuple[str, ...]) -> None:
    harm = Damage(path="/data/log/1.jsonl", line=4, position=3, last_position=5, what="the checksum is not right")
    end = Damage(path="/data/log/2.jsonl", line=9, position=9, what="cut")
    world.application.damages = (harm, end)
    world.application.records = (RECORD,)
    said = world.run("events", *options)
    assert said.status == 7
    assert len(said.out.splitlines()) == 1
    heading, first, second = said.err.splitlines()
    assert "`tconnectsync log check`" in heading
    for words in ("/data/log/1.jsonl", "line 4", "3 to 5", harm.what):
        assert words in first
    for words in ("/data/log/2.jsonl", "line 9", "from position 9", end.what):
        assert words in second


def test_check_prints_good_and_bad_with_the_remedy(world: CliHarness) -> None:
    world.application.findings = (
        CheckResult(good=True, what="disk: 9 GB free"),
        CheckResult(good=False, what="login refused", remedy="Is the region right?"),
    )
    said = world.run("check")
    assert said.status == 9
    configuration, disk, login, remedy, sum_ = said.out.splitlines()
    assert configuration.startswith("good ")
    for words in (f"{world.folder}/config.toml", "Europe/Berlin", "pump, site"):
        assert words in configuration
    assert disk.split() == ["good", "disk:", "9", "GB", "free"]
    assert login.split() == ["BAD", "login", "refused"]
    assert remedy.strip() == "Is the region right?"
    assert sum_.startswith("1 ")
    as_json = [json.loads(line) for line in world.run("check", "--json").out.splitlines()]
    assert as_json[-1] == {"good": False, "what": "login refused", "remedy": "Is the region right?"}


def test_check_tells_of_a_secret_that_everybody_can_read(world: CliHarness) -> None:
    path = world.folder / "config.toml"
    path.chmod(0o644)
    said = world.run("check")
    assert said.status == 9
    assert f"chmod 600 {path}" in said.out
    path.chmod(0o600)
    assert world.run("check").status == 0


def test_check_ends_with_0_when_all_is_well(world: CliHarness) -> None:
    world.application.findings = (CheckResult(good=True, what="disk"),)
    assert world.run("check").status == 0


def test_plugins_tells_what_runs_and_what_does_not(world: CliHarness) -> None:
    world.plugins = load_plugins(
        [EntryPoint("made-up", made_up_plugin()), EntryPoint("acme", ImportError("gone"), "acme_sink")],
        blocked=["simulator"],
    )
    found = json.loads(world.run("plugins", "--json").out)
    assert found == {
        "plugins": [
            {
                "name": "made-up",
                "origin": "made_up",
                "sources": ["pump"],
                "sinks": ["site", "paper"],
                "sections": [],
                "importers": [],
                "commands": ["hello"],
            }
        ],
        "blocked": ["simulator"],
        "blocked_in_vain": ["simulator"],
        "problems": [{"plugin": "acme", "message": "acme_sink does not import: ImportError: gone"}],
    }
    words = world.run("plugins").out
    assert "sink site" in words
    assert "simulator  is blocked, but there is no such plugin" in words
    assert "acme: acme_sink does not import" in words


def test_broken_plugin(world: CliHarness) -> None:
    """There is a warning, and everything else runs."""
    world.plugins = load_plugins([EntryPoint("made-up", made_up_plugin()), EntryPoint("acme", ImportError("gone"))])
    said = world.run("sync")
    assert said.status == 0
    assert "plugin acme: " in said.err
    assert "level=" not in said.err


def test_dead_letters_are_listed(world: CliHarness) -> None:
    letter = {
        "sink": "site",
        "id": "0f",
        "at": "2025-11-18T13:12:40Z",
        "collection": "treatments",
        "reason": "insulin is 900 U",
        "content": {"eventType": "Bolus"},
        "attempts": 3,
    }
    world.application.letters = (letter,)
    assert json.loads(world.run("dead-letters", "list", "--json").out) == letter
    said = world.run("dead-letters", "list", "site").out
    assert "site  0f  Bolus of 2025-11-18T13:12:40Z, tried 3 times\n    insulin is 900 U" in said
    world.application.letters = ()
    assert world.run("dead-letters", "list").out.startswith("There are no dead letters")


def test_a_command_of_a_plugin_runs(world: CliHarness) -> None:
    assert world.run("hello").out == "hi\n"


def test_a_plugin_cannot_take_a_command_of_the_engine(world: CliHarness) -> None:
    world.plugins = load_plugins([EntryPoint("greedy", made_up_plugin("status"))])
    assert "Say hi" not in world.run("--help").out
    world.application.status = {"version": "4.0.0", "data_dir": "/data"}
    assert "tconnectsync 4.0.0, data in /data" in world.run("status").out
    assert world.plugins.problems[0].message.startswith('command "status" is ignored')


# --- help -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.EROFS, "remount"), (errno.ENOSPC, "Free some space"), (errno.EIO, "dmesg")]
)
def test_disk_read_only_full_or_failing(world: CliHarness, number: int, remedy: str) -> None:
    """The message says which it is."""
    world.application.answer = OSError(number, os.strerror(number), "/data/lock")
    said = world.run("sync")
    assert said.status == 1, "a service is started again"
    assert os.strerror(number) in said.err
    assert remedy in said.err
    assert "Delete nothing" in said.err
    assert "unexpectedly" not in said.err


@pytest.mark.parametrize(
    ("words", "remedy"), [("database or disk is full", "Free some space"), ("disk I/O error", "dmesg")]
)
def test_disk_failure_in_database(world: CliHarness, words: str, remedy: str) -> None:
    """It is reported in the same way."""
    world.application.answer = sqlite3.OperationalError(words)
    said = world.run("sync")
    assert said.status == 1
    assert remedy in said.err
    assert "unexpectedly" not in said.err


def test_help_lists_every_command_and_every_exit_status(world: CliHarness) -> None:
    said = world.run("--help")
    assert said.status == 0
    for name in (*COMMANDS, "hello"):
        assert f"\n  {name} " in said.out
    assert "9  check, verify or status" in said.out


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_overview_says_what_the_commands_own_help_says(world: CliHarness, name: str) -> None:
    command = import_module(f"tconnectsync.cli.commands.{module_of(name)}").command
    assert (command.help or "").replace("\n    ", " ").split("\n")[0].strip()
    assert command.name == name
    assert world.run(name, "--help").status == 0


def test_help_command_shows_what_help_shows(world: CliHarness) -> None:
    """``help`` for people who do not know ``--help``."""
    assert world.run("help").out == world.run("--help").out
    assert world.run("help", "log", "repair").out == world.run("log", "repair", "--help").out
    assert world.run("help", "statsu").status == 2
    assert "status" in world.run("help", "statsu").err


def test_help_works_while_the_configuration_does_not(world: CliHarness) -> None:
    (world.folder / "config.toml").write_text("= broken")
    assert world.run("--help").status == 0
    assert world.run("sync", "--help").status == 0
    assert world.run("--version").out == "tconnectsync 4.0.0\n"


def test_help_imports_no_heavy_module() -> None:
    """Start-up on a Raspberry Pi: --help needs neither the network, nor cattrs, nor the engine."""
    script = (
        "import sys; from tconnectsync.cli.root import run; status = run(['--help']);"
        "heavy = {'requests', 'cattrs', 'msgspec', 'sqlite3', 'cryptography', 'tconnectsync.runtime.engine', "
        "'tconnectsync.config.model', 'zoneinfo', 'tconnectsync.plugin.receiver', 'tconnectsync_tandem.options', "
        "'tconnectsync_web.people', 'tconnectsync_simulator.demo.running', 'ctypes'} & set(sys.modules);"
        "print(sorted(heavy), file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_a_reader_that_closes_the_pipe_is_no_error(world: CliHarness) -> None:
    """``tconnectsync events | head -1`` ends quietly."""

    @attrs.define
    class Closed:
        def write(self, text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            """Nothing to do."""

        def fileno(self) -> int:
            raise ValueError

    world.application.records = (RECORD,)
    stdout, sys.stdout = sys.stdout, Closed()  # type: ignore[assignment]
    try:
        from tconnectsync.cli.invocation import Invocation
        from tconnectsync.cli.root import run

        invocation = Invocation(
            environ=world.environ, clock=FrozenClock(NOW), system_file=world.folder / "none", plugins=world.plugins
        )
        assert run(["events"], invocation) == 0
    finally:
        sys.stdout = stdout
