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
from tests.cli.harness import NOW, CliHarness, Result, made_up_plugin
from tests.config.fake_plugins import FakeEntryPoint
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
def test_a_command_is_one_request(harness: CliHarness, arguments: tuple[str, ...], request_: object) -> None:
    said = harness.run(*arguments)
    assert harness.application.asked == [request_]
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
        (("backup", "gone/"), "there is no folder gone/. Nothing was written."),
        (("report", "--html", "gone/"), "there is no folder gone/. Nothing was written."),
        (("init", "--output", "gone/"), "there is no folder gone/. Nothing was written."),
        (("statsu",), 'did you mean "status"?'),
        (("status", "--jsn"), "--json"),
    ],
)
def test_wrong_usage_is_status_2_and_asks_nothing(harness: CliHarness, arguments: tuple[str, ...], words: str) -> None:
    said = harness.run(*arguments)
    assert said.status == 2
    assert words in said.err
    assert said.out == ""
    assert harness.application.asked == []


@pytest.mark.parametrize("status", range(10))
def test_the_engines_exit_status_and_words_reach_the_user(harness: CliHarness, status: int) -> None:
    harness.application.answer = Result(status=status, lines=("first", "second"))
    said = harness.run("sync")
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
def test_an_expected_error_is_words_and_its_status(harness: CliHarness, error: TconnectsyncError, status: int) -> None:
    harness.application.answer = error
    said = harness.run("sync")
    assert said.status == status
    assert error.message in said.err
    assert "Traceback" not in said.err
    if error.remedy:
        assert error.remedy in said.err


def test_unexpected_failure(harness: CliHarness) -> None:
    """It is one line, and a private file without secrets."""
    (harness.folder / "data").mkdir()
    harness.application.answer = KeyError("pump-password")
    said = harness.run("sync")
    details = harness.folder / "data/last-failure.txt"
    assert said.status == 1
    assert said.err.count("\n") == 1
    assert "failed unexpectedly (KeyError" in said.err
    assert str(details) in said.err
    assert "Traceback" in details.read_text()
    assert details.stat().st_mode & 0o777 == 0o600
    for text in (said.err, details.read_text()):
        assert "pump-password" not in text


def test_verbose_shows_the_traceback(harness: CliHarness) -> None:
    harness.application.answer = KeyError("pump-password")
    for arguments in (("-v", "sync"), ("sync", "-v")):
        said = harness.run(*arguments)
        assert said.status == 1
        assert "Traceback" in said.err
        assert "pump-password" not in said.err


def test_ctrl_c_ends_quietly(harness: CliHarness) -> None:
    harness.application.answer = KeyboardInterrupt()
    said = harness.run("sync")
    assert said.status == 130
    assert "Nothing is lost" in said.err


def test_wrong_configuration(harness: CliHarness) -> None:
    """Every problem is reported, and nothing is written."""
    (harness.folder / "config.toml").write_text('timezone = "Nowhere"\nfoo = 1\n')
    before = sorted(harness.folder.iterdir())
    for command in ("sync", "run", "status", "check"):
        said = harness.run(command)
        assert said.status == 2
        assert "3 problems" in said.err
        assert f"  {harness.folder}/config.toml: foo: found an unknown key" in said.err
        assert said.out == ""
    assert sorted(harness.folder.iterdir()) == before
    assert harness.application.asked == []


@pytest.mark.parametrize("arguments", [("status",), ("status", "--json"), ("restore", "--data-dir", "data", "saved")])
def test_data_folder_is_a_file(
    harness: CliHarness, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """It is said, and is no unexpected failure."""
    monkeypatch.chdir(harness.folder)
    (harness.folder / "data").touch()
    said = harness.run(*arguments)
    assert said.status == 2
    assert "is not a folder" in said.err or "is a file" in said.err


def test_config_may_stand_before_and_after_the_command(harness: CliHarness) -> None:
    other = harness.folder / "other.toml"
    other.write_text("nonsense = 1")
    for arguments in (("--config", str(other), "sync"), ("sync", "--config", str(other))):
        assert f"{other}: nonsense" in harness.run(*arguments).err


def test_features_choose_the_sinks(harness: CliHarness) -> None:
    for arguments in (("--features", "PAPER", "run"), ("run", "--features", "paper")):
        harness.run(*arguments)
        _, config = harness.application.asked.pop()
        assert [name for name, sink in config.sinks.items() if sink.enabled] == ["paper"]


# --- readers --------------------------------------------------------------------------------------------------------


def test_dry_run_prints_documents(harness: CliHarness) -> None:
    """It requests nothing else."""
    harness.application.documents = ({"id": "a"}, {"id": "ü"})
    said = harness.run("sync", "--dry-run")
    assert [json.loads(line) for line in said.out.splitlines()] == [{"id": "a"}, {"id": "ü"}]
    assert "2 documents would be sent" in said.err
    harness.run("replay", "site", "--from", "2025-03-01", "--dry-run")
    assert harness.application.asked == [
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


def test_events_are_a_line_each(harness: CliHarness) -> None:
    harness.application.records = (RECORD,)
    said = harness.run("events", "--kind", "bolus", "--kind", "alarm.raised", "--pump", "1234567")
    [line] = said.out.splitlines()
    assert line.split() == [
        "2025-11-18", "13:12:40", "1234567", "0:98765", "basal.delivered", "rate_u_per_h=0.8", "rate_source=algorithm",
        "reasons=a,b",
    ]  # fmt: skip
    [(_, wanted)] = harness.application.asked
    assert set(wanted["kinds"]) >= {"bolus.requested", "bolus.completed", "alarm.raised"}
    assert "alarm.cleared" not in wanted["kinds"]
    assert wanted["pump"] == "1234567"


def test_events_as_json_are_the_records(harness: CliHarness) -> None:
    harness.application.records = (RECORD, RECORD)
    assert [json.loads(line) for line in harness.run("events", "--json").out.splitlines()] == [RECORD, RECORD]


@pytest.mark.parametrize("options", [(), ("--json",), ("--follow",)])
def test_events_leave_out_what_is_damaged_and_say_where(harness: CliHarness, options: tuple[str, ...]) -> None:
    harm = Damage(path="/data/log/1.jsonl", line=4, position=3, last_position=5, what="the checksum is not right")
    end = Damage(path="/data/log/2.jsonl", line=9, position=9, what="cut")
    harness.application.damages = (harm, end)
    harness.application.records = (RECORD,)
    said = harness.run("events", *options)
    assert said.status == 7
    assert len(said.out.splitlines()) == 1
    heading, first, second = said.err.splitlines()
    assert "`tconnectsync log check`" in heading
    for words in ("/data/log/1.jsonl", "line 4", "3 to 5", harm.what):
        assert words in first
    for words in ("/data/log/2.jsonl", "line 9", "from position 9", end.what):
        assert words in second


def test_check_prints_good_and_bad_with_the_remedy(harness: CliHarness) -> None:
    harness.application.findings = (
        CheckResult(good=True, what="disk: 9 GB free"),
        CheckResult(good=False, what="login refused", remedy="Is the region right?"),
    )
    said = harness.run("check")
    assert said.status == 9
    configuration, disk, login, remedy, sum_ = said.out.splitlines()
    assert configuration.startswith("good ")
    for words in (f"{harness.folder}/config.toml", "Europe/Berlin", "pump, site"):
        assert words in configuration
    assert disk.split() == ["good", "disk:", "9", "GB", "free"]
    assert login.split() == ["BAD", "login", "refused"]
    assert remedy.strip() == "Is the region right?"
    assert sum_.startswith("1 ")
    as_json = [json.loads(line) for line in harness.run("check", "--json").out.splitlines()]
    assert as_json[-1] == {"good": False, "what": "login refused", "remedy": "Is the region right?"}


def test_check_tells_of_a_secret_that_everybody_can_read(harness: CliHarness) -> None:
    path = harness.folder / "config.toml"
    path.chmod(0o644)
    said = harness.run("check")
    assert said.status == 9
    assert f"chmod 600 {path}" in said.out
    path.chmod(0o600)
    assert harness.run("check").status == 0


def test_check_ends_with_0_when_all_is_well(harness: CliHarness) -> None:
    harness.application.findings = (CheckResult(good=True, what="disk"),)
    assert harness.run("check").status == 0


def test_plugins_tells_what_runs_and_what_does_not(harness: CliHarness) -> None:
    harness.plugins = load_plugins(
        [FakeEntryPoint("made-up", made_up_plugin()), FakeEntryPoint("acme", ImportError("gone"), "acme_sink")],
        blocked=["simulator"],
    )
    found = json.loads(harness.run("plugins", "--json").out)
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
        "problems": [{"plugin": "acme", "message": "acme_sink cannot be imported: ImportError: gone"}],
    }
    words = harness.run("plugins").out
    assert "sink site" in words
    assert "simulator  is blocked, but there is no such plugin" in words
    assert "acme: acme_sink cannot be imported" in words


def test_broken_plugin(harness: CliHarness) -> None:
    """There is a warning, and everything else runs."""
    harness.plugins = load_plugins(
        [FakeEntryPoint("made-up", made_up_plugin()), FakeEntryPoint("acme", ImportError("gone"))]
    )
    said = harness.run("sync")
    assert said.status == 0
    assert "plugin acme: " in said.err
    assert "level=" not in said.err


def test_dead_letters_are_listed(harness: CliHarness) -> None:
    letter = {
        "sink": "site",
        "id": "0f",
        "at": "2025-11-18T13:12:40Z",
        "collection": "treatments",
        "reason": "insulin is 900 U",
        "content": {"eventType": "Bolus"},
        "attempts": 3,
    }
    harness.application.letters = (letter,)
    assert json.loads(harness.run("dead-letters", "list", "--json").out) == letter
    said = harness.run("dead-letters", "list", "site").out
    assert "site  0f  Bolus of 2025-11-18T13:12:40Z, tried 3 times\n    insulin is 900 U" in said
    harness.application.letters = ()
    assert harness.run("dead-letters", "list").out.startswith("There are no dead letters")


def test_a_command_of_a_plugin_runs(harness: CliHarness) -> None:
    assert harness.run("hello").out == "hi\n"


def test_a_plugin_cannot_take_a_command_of_the_engine(harness: CliHarness) -> None:
    harness.plugins = load_plugins([FakeEntryPoint("greedy", made_up_plugin("status"))])
    assert "Say hi" not in harness.run("--help").out
    harness.application.status = {"version": "4.0.0", "data_dir": "/data"}
    assert "tconnectsync 4.0.0, data in /data" in harness.run("status").out
    assert harness.plugins.problems[0].message.startswith('command "status" is ignored')


# --- help -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.EROFS, "remount"), (errno.ENOSPC, "Free some space"), (errno.EIO, "dmesg")]
)
def test_disk_read_only_full_or_failing(harness: CliHarness, number: int, remedy: str) -> None:
    """The message says which it is."""
    harness.application.answer = OSError(number, os.strerror(number), "/data/lock")
    said = harness.run("sync")
    assert said.status == 1, "a service is started again"
    assert os.strerror(number) in said.err
    assert remedy in said.err
    assert "Delete nothing" in said.err
    assert "unexpectedly" not in said.err


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("database or disk is full", "Free some space"),
        ("disk I/O error", "dmesg"),
        ("database is locked", "lsof +D"),
        ("attempt to write a readonly database", "sudo"),
        ("unable to open database file", "sudo"),
    ],
)
def test_disk_failure_in_database(harness: CliHarness, words: str, remedy: str) -> None:
    """It is reported in the same way."""
    harness.application.answer = sqlite3.OperationalError(words)
    said = harness.run("sync")
    assert said.status == 1
    assert remedy in said.err
    assert "unexpectedly" not in said.err


def test_help_lists_every_command_and_every_exit_status(harness: CliHarness) -> None:
    said = harness.run("--help")
    assert said.status == 0
    for name in (*COMMANDS, "hello"):
        assert f"\n  {name} " in said.out
    assert "9  check, verify or status" in said.out


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_overview_says_what_the_commands_own_help_says(harness: CliHarness, name: str) -> None:
    command = import_module(f"tconnectsync.cli.commands.{module_of(name)}").command
    assert (command.help or "").replace("\n    ", " ").split("\n")[0].strip()
    assert command.name == name
    assert harness.run(name, "--help").status == 0


def test_help_command_shows_what_help_shows(harness: CliHarness) -> None:
    """``help`` for people who do not know ``--help``."""
    assert harness.run("help").out == harness.run("--help").out
    assert harness.run("help", "log", "repair").out == harness.run("log", "repair", "--help").out
    assert harness.run("help", "statsu").status == 2
    assert "status" in harness.run("help", "statsu").err


def test_help_works_while_the_configuration_does_not(harness: CliHarness) -> None:
    (harness.folder / "config.toml").write_text("= broken")
    assert harness.run("--help").status == 0
    assert harness.run("sync", "--help").status == 0
    assert harness.run("--version").out == "tconnectsync 4.0.0\n"


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


def test_a_reader_that_closes_the_pipe_is_no_error(harness: CliHarness) -> None:
    """``tconnectsync events | head -1`` ends quietly."""

    @attrs.define
    class Closed:
        def write(self, text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            """Nothing to do."""

        def fileno(self) -> int:
            raise ValueError

    harness.application.records = (RECORD,)
    stdout, sys.stdout = sys.stdout, Closed()  # type: ignore[assignment]
    try:
        from tconnectsync.cli.invocation import Invocation
        from tconnectsync.cli.root import run

        invocation = Invocation(
            environ=harness.environ,
            clock=FrozenClock(NOW),
            system_file=harness.folder / "none",
            plugins=harness.plugins,
        )
        assert run(["events"], invocation) == 0
    finally:
        sys.stdout = stdout
