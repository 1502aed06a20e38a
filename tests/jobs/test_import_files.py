"""Importing files: damaged ones are refused completely, each record is stored once, and folding begins at the end."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import BinaryIO

import attrs
import pytest

from tconnectsync import Batch, Event, FileUnreadable, Importer, ImportOptions
from tconnectsync.errors import MachineTrouble
from tconnectsync.eventlog import EventLog
from tconnectsync.events import BasalDelivered
from tconnectsync.jobs.dispatch import perform
from tconnectsync.jobs.import_files import runs_of
from tconnectsync.jobs.messages import Notice, Progress, Request, Result, Step
from tests.support.engine.harness import BEGIN, EngineHarness


def record(seq: int, minute: int, rate: float, pump: str = "1", device: str | None = "d1") -> Event:
    """The event that the harness's pump makes of the same record."""
    at = BEGIN + timedelta(minutes=minute)
    return Event(
        id=f"pump:{pump}:0:{seq}", kind="basal.delivered", pump=pump, group=0, seq=seq,
        pump_time=(at + timedelta(hours=2)).replace(tzinfo=None), source="pump", received_at=BEGIN,
        body=BasalDelivered(rate_u_per_h=rate), raw={"seq": seq, "device": device},
    )  # fmt: skip


def read(stream: BinaryIO, options: ImportOptions) -> Iterator[Batch]:
    """Lines ``seq minute rate [device]``, two a batch; "bad" is a damaged one."""
    events = []
    for number, line in enumerate(stream.read().decode().splitlines()[1:], start=2):
        if line == "bad" and not options.skip_bad:
            raise FileUnreadable(f"Line {number}: bad.")
        if line == "broken importer":
            raise KeyError("boom")
        if line != "bad":
            seq, minute, rate, *device = line.split()
            told = device[0] if device else None
            events.append(record(int(seq), int(minute), float(rate), options.pump or "1", told))
    for first in range(0, len(events), 2):
        yield Batch(events=events[first : first + 2], note=f"{len(events)} lines")


LINES = Importer(
    name="lines",
    recognises=lambda head: head.startswith(b"lines"),
    read=read,
    device=lambda event: (event.raw or {}).get("device"),
)
VAGUE = attrs.evolve(LINES, partial=lambda event: event.seq is not None and event.seq % 50 == 0)
"""An importer with records that a source may report in more detail."""
CRASHING = Importer(name="crashing", recognises=lambda head: bool(1 // 0), read=read)


@pytest.fixture
def home(harness: EngineHarness) -> EngineHarness:
    """An engine with importers for the files of these tests."""
    harness.engine.importers = (CRASHING, LINES)
    return harness


def steps(
    harness: EngineHarness, *files: Path, turning: bool = False, pump: str | None = None, skip_bad: bool = False
) -> list[Step]:
    """Every step of an import."""
    args = {"files": [str(file) for file in files], "pump": pump, "skip_bad": skip_bad}
    return list(perform(harness.engine, Request(command="import", args=args), harness.zones.zone_at))


def imported(harness: EngineHarness, *files: Path, pump: str | None = None, skip_bad: bool = False) -> Result:
    result = steps(harness, *files, pump=pump, skip_bad=skip_bad)[-1]
    assert isinstance(result, Result)
    return result


def file_of(folder: Path, *lines: str, name: str = "a file") -> Path:
    path = folder / name
    path.write_text("\n".join(("lines", *lines)))
    return path


def basal(minutes: int, first: int = 0) -> list[str]:
    return [f"{10 + minute} {minute} {minute // 60 % 3}" for minute in range(first, minutes, 5)]


def opened(harness: EngineHarness) -> list[tuple[str, str | None]]:
    return [(fact.body.first_day, fact.body.last_day) for fact in harness.engine.events.facts("history.opened")]


def refused(harness: EngineHarness, error: type[Exception], words: str, *files: Path, pump: str | None = None) -> None:
    end = harness.engine.events.end
    with pytest.raises(error, match=words):
        steps(harness, *files, pump=pump)
    assert harness.engine.events.end == end
    assert harness.engine.append_depth == 0


def test_import_once(home: EngineHarness, tmp_path: Path) -> None:
    """A file is imported once, and its days are delivered."""
    file = file_of(tmp_path, *basal(24 * 60))
    result = imported(home, file)
    assert result.status == 0
    assert result.lines[:2] == (
        "288 new pump events, 0 were in the log already", "pump 1 (pump): 2026-06-01 to 2026-06-02",
    )  # fmt: skip
    assert result.lines[2] == "a file: 288 lines"
    assert opened(home) == [("2026-06-01", "2026-06-02")]
    there, end = home.starts(), home.engine.events.end
    assert len(there) == 24
    assert imported(home, file).lines[0] == "0 new pump events, 288 were in the log already"
    assert (home.starts(), home.engine.events.end) == (there, end)


def test_import_of_known_events(home: EngineHarness, tmp_path: Path) -> None:
    """Events that the source has already fetched are known: nothing is appended."""
    home.ask("sync")
    end = home.engine.events.end
    assert imported(home, file_of(tmp_path, *basal(12 * 60))).lines[0].startswith("0 new pump events, 144 were")
    assert home.engine.events.end == end


def test_import_partial_events(home: EngineHarness, tmp_path: Path) -> None:
    """Partial events of a file are imported only if the log has nothing there."""
    home.engine.importers = (VAGUE,)
    home.ask("sync")
    end = home.engine.events.end
    otherwise = [f"{line.rsplit(' ', 1)[0]} 9" if line.startswith(("50 ", "100 ")) else line for line in basal(12 * 60)]
    assert imported(home, file_of(tmp_path, *otherwise)).lines[0].startswith("0 new pump events, 144 were")
    assert home.engine.events.end == end
    more = file_of(tmp_path, *otherwise, "5000 4990 3", name="more")
    assert imported(home, more).lines[0].startswith("1 new pump event, 144 were")
    home.engine.importers = (LINES,)
    assert imported(home, more).lines[0].startswith("2 new pump events, 143 were")


def test_import_checks_file_first(home: EngineHarness, tmp_path: Path) -> None:
    """A file is checked as a whole before it is taken."""
    asked = []

    def noted(stream: BinaryIO, options: ImportOptions) -> Iterator[Batch]:
        asked.append((options.check_only, home.engine.events.end))
        found = list(read(stream, options))
        return iter(found[:1] if options.check_only else found)

    home.engine.importers = (attrs.evolve(LINES, read=noted),)
    assert imported(home, file_of(tmp_path, *basal(24 * 60))).lines[0].startswith("288 new pump events")
    assert asked == [(True, 0), (False, 0)]
    assert opened(home) == [("2026-06-01", "2026-06-02")]


def test_import_folds_after_everything(home: EngineHarness, tmp_path: Path) -> None:
    """Nothing is folded before everything is in the log.

    What half an hour of one rate gives would have to be sent again.
    """
    file = file_of(tmp_path, *reversed(basal(24 * 60)))
    args = {"files": [str(file)]}
    for step in perform(home.engine, Request(command="import", args=args), home.zones.zone_at):
        if isinstance(step, Progress) and "a file" in step.message:
            home.engine.run_once(polling=False)  # as in the daemon
            home.engine.run_once(polling=False)
            assert home.receiver.there == {}
    assert len(home.starts()) == 24


def test_import_corrupt_file_refuses_all(home: EngineHarness, tmp_path: Path) -> None:
    """A corrupt file is refused together with all others of the command."""
    good, bad = file_of(tmp_path, *basal(60)), file_of(tmp_path, *basal(60), "bad", name="bad file")
    refused(home, FileUnreadable, f"{bad}: Line 14: bad", good, bad)
    assert imported(home, good, bad, skip_bad=True).status == 0
    assert home.engine.events.end > 0


def test_import_refused_exit_status(home: EngineHarness, tmp_path: Path) -> None:
    """A refused request ends with the exit status for usage."""
    from tconnectsync.jobs.dispatch import next_step

    args = {"files": [str(file_of(tmp_path, "bad"))]}
    result = next_step(perform(home.engine, Request(command="import", args=args), home.zones.zone_at))
    assert isinstance(result, Result)
    assert result.status == 2
    assert "--skip-bad" in result.lines[1]


def test_importer_raises(home: EngineHarness, tmp_path: Path) -> None:
    """A bug in an importer leaves the log as it was."""
    refused(home, KeyError, "boom", file_of(tmp_path, *basal(60), "broken importer"))


@pytest.mark.parametrize(("content", "words"), [("papers", "Known formats: crashing; lines"), ("", "Known formats")])
def test_import_unknown_file(home: EngineHarness, tmp_path: Path, content: str, words: str) -> None:
    """The message for an unknown file names the known kinds."""
    file = tmp_path / "other"
    file.write_text(content)
    refused(home, Exception, words, file)


def test_import_not_a_file(home: EngineHarness, tmp_path: Path) -> None:
    """A path that is no file is reported."""
    refused(home, Exception, "is not a file", tmp_path)
    refused(home, Exception, "cannot be read by user", tmp_path / "gone")


def test_import_file_changes(home: EngineHarness, tmp_path: Path) -> None:
    """A file that changes between check and import is refused."""
    file = file_of(tmp_path, *basal(60))
    job = perform(home.engine, Request(command="import", args={"files": [str(file)]}), home.zones.zone_at)
    next(job)
    file.write_text(file.read_text() + "\n900 900 1")
    with pytest.raises(FileUnreadable, match="was changed during"):
        list(job)
    assert home.engine.events.end == 0


def test_import_days_between_files(home: EngineHarness, tmp_path: Path) -> None:
    """Days between the files stay outside the delivery window."""
    imported(home, file_of(tmp_path, "10 0 1", "11 5 2", "9000 8640 1", "9001 8645 2"))
    assert sorted(opened(home)) == [("2026-06-01", "2026-06-01"), ("2026-06-07", "2026-06-07")]


def test_import_other_serial_for_known_records(home: EngineHarness, tmp_path: Path) -> None:
    """Known records under another serial number are refused."""
    home.ask("sync")
    refused(home, Exception, "already, but from pump 1, not from 2", file_of(tmp_path, *basal(60)), pump="2")


def test_import_other_records_for_known_serial(home: EngineHarness, tmp_path: Path) -> None:
    """Another pump's records under a known serial number are refused."""
    home.ask("sync")
    refused(home, Exception, "this is another pump's data", file_of(tmp_path, "10 777 1"))


def test_import_known_device_other_serial(home: EngineHarness, tmp_path: Path) -> None:
    """A device that the log knows under another serial number is refused."""
    imported(home, file_of(tmp_path, *(f"{line} d1" for line in basal(60))))
    refused(home, Exception, "from pump 1, not from 2", file_of(tmp_path, "90 9000 1 d1"), pump="2")
    refused(home, Exception, "2 devices", file_of(tmp_path, "90 9000 1 d2", "91 9005 1 d3"), pump="2")


def test_import_new_pump(home: EngineHarness, tmp_path: Path) -> None:
    """A pump that is new to the log is reported clearly."""
    imported(home, file_of(tmp_path, *basal(60)))
    told = [step for step in steps(home, file_of(tmp_path, "90 9000 1"), pump="2") if isinstance(step, Notice)]
    assert ["ATTENTION: pump 2 is new; the log has 1." in notice.words for notice in told] == [True]


def test_import_of_a_siblings_pump(home: EngineHarness, tmp_path: Path) -> None:
    """A new pump in days of a known one must be named. One shared day, as in a change of pumps, needs no question."""
    imported(home, file_of(tmp_path, "10 0 1", "11 1440 1", "12 2880 2"))
    home.engine.importers = (
        attrs.evolve(LINES, read=lambda stream, options: read(stream, attrs.evolve(options, pump="2"))),
    )
    sibling = file_of(tmp_path, "90 1445 1", "91 2885 1", "92 2890 2", name="sibling")
    refused(home, Exception, "Pump 2 is new here, and pump 1 has records of the same days", sibling)
    assert imported(home, file_of(tmp_path, "93 2895 1", "94 4320 1")).lines[0].startswith("2 new pump events")
    assert imported(home, sibling).lines[0].startswith("3 new pump events")  # now the pump is known


def test_import_of_two_pumps_of_one_person(home: EngineHarness, tmp_path: Path) -> None:
    imported(home, file_of(tmp_path, "10 0 1", "11 1440 1", "12 2880 2"))
    assert (
        imported(home, file_of(tmp_path, "90 1445 1", "91 2885 1"), pump="2").lines[0].startswith("2 new pump events")
    )


def test_import_event_in_two_files(home: EngineHarness, tmp_path: Path) -> None:
    """An event that two files have is counted once."""
    whole, part = tmp_path / "whole", tmp_path / "part"
    whole.mkdir()
    part.mkdir()
    files = file_of(whole, *basal(60)), file_of(part, *basal(30))
    assert imported(home, *files).lines[0] == "12 new pump events, 0 were in the log already"
    assert imported(home, *files).lines[0] == "0 new pump events, 12 were in the log already"


def test_import_full_disk(home: EngineHarness, tmp_path: Path) -> None:
    """A full disk ends the import; a second run completes it."""
    file, batches = file_of(tmp_path, *basal(60)), iter((None, None, "only 1 MB are free"))
    home.engine.free_space = lambda: next(batches)
    with pytest.raises(Exception, match="only 1 MB are free; the import stopped after 4 new events"):
        steps(home, file)
    assert (home.engine.append_depth, opened(home)) == (0, [])
    home.engine.free_space = lambda: None
    assert imported(home, file).lines[0] == "8 new pump events, 4 were in the log already"
    assert opened(home) == [("2026-06-01", "2026-06-01")]


@pytest.mark.parametrize(
    ("number", "way_out"), [(errno.ENOSPC, "df -h"), (errno.EIO, "dmesg"), (errno.EROFS, "remount")]
)
def test_import_failing_disk(
    home: EngineHarness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, way_out: str
) -> None:
    """The remedy fits the reason, and names the command to repeat."""

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(EventLog, "append", fail)
        with pytest.raises(MachineTrouble, match="cannot be written") as told:
            steps(home, file_of(tmp_path, *basal(60)))
    assert way_out in (told.value.remedy or "")
    assert "tconnectsync import" in (told.value.remedy or "")
    assert "resumes" not in (told.value.remedy or "")


def test_import_progress(home: EngineHarness, tmp_path: Path) -> None:
    """Progress goes from nothing to everything."""
    file = file_of(tmp_path, *basal(24 * 60))
    shown = [step for step in steps(home, file) if isinstance(step, Progress) and "a file" in step.message]
    assert [step.done for step in shown] == sorted(step.done for step in shown)
    assert shown[-1].done == shown[-1].total == file.stat().st_size


def test_import_days_in_a_row() -> None:
    """Days in a row are one span."""
    days = {date(2026, 6, day) for day in (1, 2, 3, 5, 9, 10)}
    assert [(first.day, last.day) for first, last in runs_of(days)] == [(1, 3), (5, 5), (9, 10)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_import_unreadable_file(home: EngineHarness, tmp_path: Path) -> None:
    """A file that the user may not read is reported."""
    file = file_of(tmp_path, *basal(60))
    file.chmod(0o600)
    program = (
        "from pathlib import Path; import sys; from tconnectsync.errors import RequestRefused\n"
        "from tconnectsync.jobs.import_files import _recognise_file\n"
        "import os; os.setuid(65534)\n"
        "try: _recognise_file(Path(sys.argv[1]), ())\n"
        "except RequestRefused as error: print(error.message, error.remedy)"
    )
    said = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True).stdout
    assert "cannot be read by user" in said
    assert "Permission denied" in said
    assert "has its own /tmp" in said
