"""``status`` as text: each step from the pump to Nightscout, since when, and what to do next."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import click
import pytest

from tconnectsync.cli.commands import status as status_command
from tconnectsync.cli.progress import ProgressLine, bar_words
from tconnectsync.cli.status_lines import StatusLine, status_lines, too_old
from tconnectsync.projection.pending_notes import PendingNote
from tconnectsync.text.durations import size_words, span_words, when_words
from tests.cli.harness import NOW, CliHarness

BERLIN = ZoneInfo("Europe/Berlin")
OK = {"state": "ok", "since": None, "message": "", "remedy": None}


def a_status(source: dict[str, Any] | None = None, sink: dict[str, Any] | None = None) -> dict[str, Any]:
    """All is well, except for the changes."""
    return {
        "version": "4.0.0",
        "data_dir": "/var/lib/tconnectsync",
        "log": {
            "positions": 438_000,
            "bytes": 96_000_000,
            "segments": 23,
            "damaged": False,
            "verified_at": "2025-11-18T01:00:00Z",
            "bytes_a_year": 21_000_000,
            "bytes_a_year_basis": "measured",
        },
        "sources": {
            "tandem": {
                **OK,
                "last_fetch": "2025-11-18T13:02:00Z",
                "last_upload": "2025-11-18T13:00:00Z",
                "newest_event": "2025-11-18T12:58:00Z",
                "next_poll": "2025-11-18T13:20:00Z",
                "pumps": {
                    "1234567": {
                        "newest_event": "2025-11-18T12:58:00Z",
                        "clock_offset_minutes": 60,
                        "clock_basis": "evidence",
                        "worn": True,
                    }
                },
                "unknown_codes": {},
                "set_aside": 0,
                **(source or {}),
            }
        },
        "sinks": {
            "nightscout-treatments": {
                **OK,
                "cursor": 438_000,
                "behind": 0,
                "pending": 0,
                "dead": 0,
                "last_delivered": "2025-11-18T13:02:10Z",
                **(sink or {}),
            }
        },
    }


def link(status: dict[str, Any], name: str) -> StatusLine:
    return next(found for found in status_lines(status, NOW, BERLIN) if found.name == name)


def test_a_chain_that_is_well(harness: CliHarness) -> None:
    harness.application.status = a_status()
    first, space, *links, end_of_links, last = harness.run("status").out.splitlines()
    assert space == end_of_links == ""
    assert first.startswith("ok ")
    assert "13:58 (14 min ago)" in first
    expected = {
        "phone to tandem": ("14:00 (12 min ago)",),
        "tandem login": ("accepted",),
        "tandem data": ("14:02 (10 min ago)", "next 14:20 (in 8 min)"),
        "pump 1234567": ("13:58 (14 min ago)", "worn", "UTC+01:00"),
        "event log": ("438,000 records", "96 MB", "21 MB", "02:00 (12 h ago)"),
        "nightscout-treatments": ("14:02 (10 min ago)",),
    }
    for line, (name, words) in zip(links, expected.items(), strict=True):
        assert line.startswith(f"ok    {name} ")
        assert [each for each in words if each not in line] == []
    assert "4.0.0" in last
    assert "/var/lib/tconnectsync" in last


@pytest.mark.parametrize(
    ("source", "sink", "first"),
    [
        (
            {"state": "refused", "message": "unknown"},
            {"state": "halted", "message": "an older bridge"},
            "BAD   needs you:",
        ),
        ({"last_upload": None}, {}, "WAIT  waiting: phone to tandem."),
    ],
    ids=["bad", "waiting"],
)
def test_verdict_comes_first(harness: CliHarness, source: dict[str, Any], sink: dict[str, Any], first: str) -> None:
    """The first line names the worst steps."""
    harness.application.status = a_status(source, sink)
    line, *_ = harness.run("status").out.splitlines()
    assert line.startswith(first)
    assert ("nightscout-treatments" in line) == bool(sink)


def test_verdict_has_the_worn_pump(harness: CliHarness) -> None:
    """A replaced pump comes first in the list, and its data is old."""
    status = a_status()
    worn = status["sources"]["tandem"]["pumps"]["1234567"]
    old = {**worn, "newest_event": "2025-10-31T22:00:00Z", "worn": False}
    status["sources"]["tandem"]["pumps"] = {"1111111": old, "1234567": worn}
    harness.application.status = status
    line, *_ = harness.run("status").out.splitlines()
    assert "everything works; newest data" in line
    assert "(14 min ago)" in line


@pytest.mark.parametrize(("age_min", "worn", "level"), [(300, True, "bad"), (300, False, "ok"), (60, True, "ok")])
def test_phone_without_its_pump(age_min: int, worn: bool, level: str) -> None:
    """The phone uploads, and the worn pump's data in it is hours old: `status` does not call that well."""
    status = a_status()
    newest = f"{NOW - timedelta(minutes=age_min):%Y-%m-%dT%H:%M:%SZ}"
    status["sources"]["tandem"]["pumps"]["1234567"] |= {"newest_event": newest, "worn": worn}
    found = link(status, "pump 1234567")
    assert found.level == level
    assert ("Look at the pump" in found.lines[-1]) == (level == "bad")


def test_steps_that_are_off_take_no_line(harness: CliHarness) -> None:
    """They are named together at the end."""
    harness.application.status = a_status(sink={"state": "off"})
    *steps, last = harness.run("status").out.splitlines()
    assert not any("nightscout-treatments" in line for line in steps)
    assert last.startswith("Off: nightscout-treatments.")


def test_long_lines_are_wrapped_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe gets whole lines, for grep."""
    step = StatusLine(
        name="phone", level="bad", lines=("word " * 40 + "https://nightscout.example.org/a-long-address",)
    )
    status_command._print(step, 5)
    assert len(capsys.readouterr().out.splitlines()) == 1
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    status_command._print(step, 5)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 3
    assert all(len(click.unstyle(line)) <= 60 for line in lines)
    assert lines[1].startswith(" " * 13 + "word")


def test_json_is_what_the_engine_says(harness: CliHarness) -> None:
    harness.application.status = a_status()
    said = harness.run("status", "--json")
    assert json.loads(said.out) == a_status()


def test_a_phone_that_is_silent_is_told_apart() -> None:
    found = link(a_status({"last_upload": "2025-11-18T06:00:00Z"}), "phone to tandem")
    assert found.level == "bad"
    assert "7 h 12 min ago" in found.lines[0]
    assert "app on the phone" in found.lines[1]


def test_a_phone_is_not_blamed_when_nobody_asked_since() -> None:
    asleep = {"last_upload": "2025-11-15T06:00:00Z", "last_fetch": "2025-11-15T06:10:00Z"}
    assert link(a_status(asleep), "phone to tandem").level == "ok"


def test_a_refused_login_is_told_apart() -> None:
    refused = {"state": "refused", "since": "2025-11-18T12:00:00Z", "message": "unknown in US", "remedy": "Try EU."}
    status = a_status(refused)
    assert link(status, "tandem login") == StatusLine(
        name="tandem login",
        level="bad",
        lines=("refused since 13:00 (1 h 12 min ago): unknown in US", "Try EU."),
    )
    assert link(status, "tandem data").level == "wait"
    assert link(status, "phone to tandem").level == "ok"


def test_a_changed_vendor_is_told_apart() -> None:
    found = link(a_status({"state": "changed", "message": "HTML instead of JSON", "remedy": "Update."}), "tandem data")
    assert found.level == "bad"
    assert found.lines[:2] == ("changed: HTML instead of JSON", "Update.")


def test_unknown_records_are_counted() -> None:
    found = link(a_status({"unknown_codes": {"219": 4}, "set_aside": 2}), "tandem data")
    assert "219 (4 times)" in found.lines[1]
    assert "2 records" in found.lines[2]


def test_damage_names_the_next_command() -> None:
    status = a_status()
    status["log"]["damaged"] = "000000000001.jsonl line 7: flipped"
    found = link(status, "event log")
    assert found.level == "bad"
    assert "line 7" in found.lines[0]
    assert "tconnectsync log check" in found.lines[1]


@pytest.mark.parametrize(
    ("state", "level"),
    [("backing_off", "wait"), ("waiting", "wait"), ("refused", "bad"), ("halted", "bad"), ("braked", "bad")],
)
def test_a_sink_in_trouble(state: str, level: str) -> None:
    trouble = {"state": state, "since": "2025-11-18T11:12:00Z", "message": "no answer", "remedy": "Look.", "pending": 7}
    found = link(a_status(sink=trouble), "nightscout-treatments")
    assert found.level == level
    assert found.lines == (
        f"{state.replace('_', ' ')} since 12:12 (2 h ago): no answer",
        "Look.",
        "last delivered 14:02 (10 min ago), 7 documents waiting",
    )


@pytest.mark.parametrize("state", ["backing_off", "waiting"])
def test_trouble_that_should_pass_and_does_not_is_bad(state: str) -> None:
    trouble = {"state": state, "since": "2025-11-16T13:12:00Z", "message": "no answer"}
    assert link(a_status(sink=trouble), "nightscout-treatments").level == "bad"
    assert link(a_status(trouble), "tandem data").level == "bad"
    assert "2025-11-16 14:12 (2 days ago)" in link(a_status(sink=trouble), "nightscout-treatments").lines[0]


def test_status_exit_code_option(harness: CliHarness) -> None:
    """Without the option, `status` ends with 0, whatever it finds."""
    harness.application.status = a_status(sink={"state": "halted", "message": "no", "remedy": "Look."})
    assert harness.run("status").status == 0
    assert harness.run("status", "--exit-code").status == 9
    assert harness.run("status", "--exit-code", "--json").status == 9
    harness.application.status = a_status()
    assert harness.run("status", "--exit-code").status == 0
    harness.application.status = a_status({"state": "backing_off", "since": "2025-11-18T13:00:00Z"})
    assert harness.run("status", "--exit-code").status == 0, "it passes, as a rule"


@pytest.mark.parametrize(
    ("limit", "status"), [("3h", 0), ("15m", 0), ("13m", 9), ("10 min", 9), ("1.5h", 0), ("2d", 0), ("600s", 9)]
)
def test_data_that_is_too_old_is_an_exit_status(harness: CliHarness, limit: str, status: int) -> None:
    harness.application.status = a_status()
    said = harness.run("status", "--max-age", limit)
    assert said.status == status
    assert ("14 min old" in said.err) == bool(status)
    assert harness.run("status", "--json", "--max-age", limit).status == status


def test_max_age_of_worn_pump() -> None:
    """The worn pump counts, and no data is too old."""
    status = a_status()
    pumps = status["sources"]["tandem"]["pumps"]
    pumps["7654321"] = {"newest_event": "2025-11-18T01:00:00Z", "worn": True}
    pumps["1234567"]["worn"] = False
    assert "12 h old" in str(too_old(status, NOW, timedelta(hours=3)))
    assert "no pump data" in str(too_old(a_status({"pumps": {}, "newest_event": None}), NOW, timedelta(hours=3)))
    assert too_old(a_status({"pumps": {}}), NOW, timedelta(hours=3)) is None
    off = a_status({"state": "off"})
    assert "no pump data" in str(too_old(off, NOW, timedelta(hours=3)))


@pytest.mark.parametrize(("ahead_min", "words"), [(25, None), (59, None), (90, "in the future")])
def test_max_age_with_a_clock_that_is_behind(ahead_min: int, words: str | None) -> None:
    """Data of the future is not new: this computer's clock is behind, and nothing may be read."""
    newest = f"{NOW + timedelta(minutes=ahead_min):%Y-%m-%dT%H:%M:%SZ}"
    found = too_old(a_status({"pumps": {}, "newest_event": newest}), NOW, timedelta(hours=3))
    assert (words in str(found)) if words else found is None


@pytest.mark.parametrize("limit", ["3", "h", "-3h", "0h", "3 weeks", "", "1e3h", "nan h"])
def test_an_age_without_a_unit_is_refused(harness: CliHarness, limit: str) -> None:
    said = harness.run("status", "--max-age", limit)
    assert said.status == 2
    assert "3h" in said.err


def test_disk_and_daemon_are_links_of_their_own() -> None:
    status = a_status()
    status["disk"] = {"state": "halted", "message": "the disk is read-only", "remedy": "Look.", "free_bytes": 5}
    status["daemon"] = {
        "state": "halted",
        "since": None,
        "message": "ended without being stopped",
        "remedy": "Start it.",
    }
    assert link(status, "disk") == StatusLine(name="disk", level="bad", lines=("the disk is read-only", "Look."))
    assert link(status, "daemon").level == "bad"
    status["disk"] = {"state": "ok", "message": "", "remedy": None, "free_bytes": 12_000_000_000}
    status["daemon"] = {"state": "ok", "since": "2025-11-18T13:00:00Z", "message": "", "remedy": None, "pid": 77}
    assert [link(status, "disk").level, link(status, "daemon").level] == ["ok", "ok"]
    assert "77" in link(status, "daemon").lines[0]
    status["daemon"] = {"state": "off", "since": None, "message": "not running", "remedy": None}
    assert link(status, "daemon").level == "off", "cron may do it"


def test_dead_letters_are_bad_even_where_the_rest_is_well() -> None:
    found = link(a_status(sink={"dead": 2}), "nightscout-treatments")
    assert found.level == "bad"
    assert "tconnectsync dead-letters list nightscout-treatments" in found.lines[-1]


def test_a_site_that_has_everything_needs_nothing() -> None:
    """A second installation sends nothing, and nothing is missing: it is not waiting for a first delivery."""
    found = link(a_status(sink={"last_delivered": None, "had_everything": True}), "nightscout-treatments")
    assert found.lines == ("nothing to send: everything is there already",)
    found = link(a_status(sink={"last_delivered": None, "had_everything": False}), "nightscout-treatments")
    assert found.lines == ("nothing delivered yet",)


def test_what_is_off_says_so() -> None:
    assert link(a_status(sink={"state": "off"}), "nightscout-treatments").level == "off"


def test_a_first_start_has_nothing_to_show() -> None:
    empty: dict[str, Any] = {
        "last_fetch": None,
        "last_upload": None,
        "newest_event": None,
        "next_poll": None,
        "pumps": {},
    }
    status = a_status(empty, {"last_delivered": None})
    status["log"] = {"positions": 0, "bytes": 0, "segments": 0, "damaged": False, "verified_at": None}
    assert [found.level for found in status_lines(status, NOW, BERLIN)] == ["wait", "wait", "wait", "wait", "ok"]


def test_ages_and_sizes() -> None:
    spans = [timedelta(seconds=9), timedelta(minutes=59), timedelta(hours=2), timedelta(hours=30), timedelta(days=9)]
    assert [span_words(span) for span in spans] == ["a moment", "59 min", "2 h", "30 h", "9 days"]
    assert when_words(NOW + timedelta(minutes=5), NOW, timezone.utc) == "13:17 (in 5 min)"
    assert when_words(datetime(2025, 11, 1, tzinfo=timezone.utc), NOW, BERLIN) == "2025-11-01 01:00 (17 days ago)"
    assert [size_words(count) for count in (0, 1, 812_400, 1_500_000, 96_000_000, 1_500_000_000, 67_000_000_000)] == [
        "0 kB",
        "1 kB",
        "812 kB",
        "1.5 MB",
        "96 MB",
        "1.5 GB",
        "67 GB",
    ]


class Screen:
    """A stream that is, or is not, a terminal."""

    def __init__(self, *, terminal: bool) -> None:
        self.terminal = terminal
        self.text = ""

    def isatty(self) -> bool:
        return self.terminal

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        """Nothing to do."""


def test_progress_shows_on_a_terminal_alone() -> None:
    screen, pipe = Screen(terminal=True), Screen(terminal=False)
    for stream in (screen, pipe):
        with ProgressLine(stream=stream, monotonic=lambda: 0.0) as line:  # type: ignore[arg-type]
            line.show("pump 1, October", 1, 2)
    assert "50%] " not in screen.text
    assert "pump 1, October" in screen.text
    assert screen.text.endswith("\r\x1b[K")
    assert pipe.text == ""


def test_no_progress_on_a_dumb_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows control sequences as text."""
    monkeypatch.setenv("TERM", "dumb")
    screen = Screen(terminal=True)
    with ProgressLine(stream=screen) as line:  # type: ignore[arg-type]
        line.show("reading", 1, 2)
    assert screen.text == ""


def test_progress_is_erased_before_output() -> None:
    """Then the next call shows it again at once."""
    screen = Screen(terminal=True)
    line = ProgressLine(stream=screen, monotonic=lambda: 0.0)  # type: ignore[arg-type]
    line.clear()
    assert screen.text == ""
    for done in (1, 2):
        line.counting("reading")(done, 2)
        line.clear()
    assert screen.text.count("reading") == 2
    assert screen.text.endswith("\r\x1b[K")


def test_a_bar_never_leaves_its_bounds() -> None:
    assert bar_words(5, 2).endswith("100%")
    assert bar_words(-1, 2).startswith("[---")
    assert bar_words(1, 0) == "[…]"


def test_status_during_first_read() -> None:
    """It says what is known about the login."""
    begun = {"state": "waiting", "message": "the first read is not complete yet", "remedy": "Wait.", "last_fetch": None}
    status = a_status(begun)
    assert link(status, "tandem login") == StatusLine(name="tandem login", level="ok", lines=("accepted",))
    assert link(status, "tandem data").lines[:2] == ("waiting: the first read is not complete yet", "Wait.")
    nothing = a_status({**begun, "last_upload": None, "newest_event": None})
    assert link(nothing, "tandem login").lines == ("not tried yet",)


def test_unreadable_worn_pump() -> None:
    """The log knows the retired pump alone."""
    long_ago = {"last_upload": "2025-03-01T00:00:00Z", "last_fetch": None}
    hidden = {"state": "changed", "message": "the pump that was used last cannot be read", "remedy": "Look there."}
    status = a_status({**long_ago, **hidden})
    status["sources"]["tandem"]["pumps"]["1234567"]["newest_event"] = "2025-03-01T00:00:00Z"
    phone = link(status, "phone to tandem")
    assert phone.level == "wait"
    assert "app" not in " ".join(phone.lines)
    assert link(status, "tandem data").level == "bad"
    assert "the last one that was worn" in link(status, "pump 1234567").lines[0]
    asked = link(a_status({**long_ago, "last_fetch": "2025-11-18T13:00:00Z"}), "phone to tandem")
    assert asked.level == "bad"
    assert "app" in asked.lines[1]


def test_a_year_of_a_young_log_is_told_as_typical() -> None:
    status = a_status()
    status["log"] |= {"bytes_a_year": 21_000_000, "bytes_a_year_basis": "typical"}
    assert "; a year adds about 21 MB (estimate);" in link(status, "event log").lines[0]


@pytest.mark.parametrize(
    ("age", "words"), [(31, "31 minutes"), (48, "48 minutes"), (119, "119 minutes"), (240, "4 h"), (3 * 1440, "3 days")]
)
def test_a_value_that_is_not_current_is_told_with_its_age(age: int, words: str) -> None:
    note = PendingNote(
        words="no current IOB", since=NOW - timedelta(minutes=age), after=timedelta(minutes=30), current=True
    )
    assert note.is_due(NOW)
    said = note.text(NOW)
    assert "no current IOB" in said
    assert f"{words} ago" in said
    assert "the pump's data" not in said, "newer data of other kinds may be there"
    assert not note.is_due(NOW - timedelta(minutes=age - 29))
    found = link(a_status(sink={"message": said}), "nightscout-treatments")
    assert (found.level, found.lines[0]) == ("ok", said)
