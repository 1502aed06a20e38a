"""A disk that is full or fails: nothing is half known, and the same process continues when there is space again."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import attrs
import pytest

from tconnectsync.errors import LogCorrupt
from tconnectsync.eventlog import EventLog, OsFiles, replace_file
from tests.eventlog.crash_scenarios import SCENARIOS, WHOLE, LogProcess, Scenario, poll_events, restarted
from tests.eventlog.sample_events import RECEIVED, START, basal, keys, row
from tests.support.clocks import FakeClock
from tests.support.crashing_files import CallFaults, CrashingFiles

T = TypeVar("T")

FAULT_SCENARIOS = ("a first start", "one large append", "appends over segments", "mending a torn end")


def retried(faults: CallFaults, do: Callable[[], T]) -> T:
    """Call ``do`` again while it fails, and once more when the disk is well. A failure must raise the disk's error."""
    for _ in range(2):
        try:
            return do()
        except OSError as error:
            assert error.errno == faults.code  # noqa: PT017
    faults.fail_at = None
    return do()


def append_everything(process: LogProcess, faults: CallFaults) -> None:
    """One process: everything is appended, whatever fails, and old segments are compressed."""
    log = retried(faults, process.open)
    with log:
        for batch in (poll_events(1, 2), [row("a", START)], poll_events(1, 9), WHOLE):
            end = log.end
            retried(faults, lambda batch=batch: process.append(log, batch))  # type: ignore[misc]
            assert log.end >= end
            retried(faults, lambda: log.maintain(1))
        assert {event.id for event in retried(faults, lambda: list(log.events()))} >= {event.id for event in WHOLE}


@pytest.mark.parametrize(
    ("code", "partly", "looks_too", "forever"),
    [
        (errno.ENOSPC, 0.5, False, False),
        (errno.ENOSPC, 0.5, False, True),
        (errno.EIO, 0.0, True, False),
        (errno.EIO, 1.0, False, False),
    ],
    ids=["full once", "full for a while", "failing", "failing when it is done"],
)
@pytest.mark.parametrize("name", FAULT_SCENARIOS)
def test_any_call_fails_then_power_cut(
    name: str, code: int, partly: float, looks_too: bool, forever: bool, folder: Path
) -> None:
    """Whichever call fails, the same process continues, and a power cut after it loses nothing.

    Each call fails in turn, once or for a while. A sync that failed may have lost its data permanently.
    """
    scenario: Scenario = SCENARIOS[name]
    begun = folder / "begun"
    begun.mkdir()
    start = LogProcess(begun, CrashingFiles(), scenario.segment_bytes)
    scenario.begin(start)
    image = start.files.now()
    for number in range(1, 1000):
        here = folder / "here"
        shutil.copytree(begun, here)
        faults = CallFaults(fail_at=number, code=code, partly=partly, forever=forever, looks_too=looks_too)
        files = CrashingFiles({here / path.relative_to(begun): text for path, text in image.items()}, faults)
        process = LogProcess(here, files, scenario.segment_bytes, dict(start.known))
        print(f"call {number} fails")
        append_everything(process, faults)
        restarted(attrs.evolve(process, files=CrashingFiles(files.after_crash()[0])), loses=False)
        shutil.rmtree(here)
        if not faults.failed:
            assert number > 5
            return


def test_failed_append_keeps_the_end(tmp_path: Path) -> None:
    """A failed append leaves the end where it was."""
    faults = CallFaults()
    process = LogProcess(tmp_path, CrashingFiles(faults=faults))
    with process.open() as log:
        log.append([basal(1)])
        before = process.files.now()
        faults.fail_at = faults.count + 1
        with pytest.raises(OSError, match="No space left"):
            log.append([basal(2), basal(3)])
        assert log.end == 1
        assert process.files.now() == before
        assert list(log.touched(1)) == []
        [stream] = log.streams()
        assert stream.last_key == 1


def test_foreign_bytes_at_the_end(tmp_path: Path) -> None:
    """Half a line that appears behind the end while the process runs is moved aside before the next record."""
    with closing(EventLog.open(tmp_path, clock=FakeClock(RECEIVED), writable=True, decoders={})) as log:
        log.append([basal(1)])
        [segment] = (tmp_path / "log").glob("*.jsonl")
        with segment.open("ab") as file:
            file.write(b'{"pos":99,"id":"tan')
        log.append([basal(2)])
        assert keys(list(log.events())) == [1, 2]
        assert not log.damage
    with closing(EventLog.open(tmp_path, clock=FakeClock(RECEIVED), writable=True, decoders={})) as log:
        assert keys(list(log.events())) == [1, 2]
        assert not log.damage
    assert [path.read_bytes() for path in (tmp_path / "log").glob("torn-*")] == [b'{"pos":99,"id":"tan']


@pytest.mark.parametrize("deleted", [False, True])
def test_log_became_shorter(tmp_path: Path, deleted: bool) -> None:
    """It is reported, and whole after a restart."""
    with closing(EventLog.open(tmp_path, clock=FakeClock(RECEIVED), writable=True, decoders={})) as log:
        log.append([basal(1)])
        log.append([basal(2)])
        [segment] = (tmp_path / "log").glob("*.jsonl")
        if deleted:
            segment.unlink()
        else:
            os.truncate(segment, segment.stat().st_size - 20)
        with pytest.raises(LogCorrupt, match="shorter") as caught:
            log.append([basal(3)])
        assert "restart" in (caught.value.remedy or "")
    with closing(EventLog.open(tmp_path, clock=FakeClock(RECEIVED), writable=True, decoders={})) as log:
        log.append([basal(1), basal(2), basal(3)])
        assert keys([event for event in log.events() if event.seq]) == [1, 2, 3]
        assert not log.damage


def touched_keys(log: EventLog, after: int) -> list[list[int]]:
    """The new keys after a position, by both ways of asking for them."""
    intervals = log.touched_intervals(
        after, log.end, frozenset({"basal.delivered"}), numbered_width=1, unnumbered_width=1
    )
    return [[key for _, _, key, _ in log.touched(after)], [key for _, key, _ in intervals]]


def test_unwritable_index_catches_up(tmp_path: Path) -> None:
    """An index that cannot be written catches up later."""
    with EventLog.open(tmp_path, clock=FakeClock(RECEIVED), writable=True) as log:
        log.append([basal(1)])
        with closing(sqlite3.connect(tmp_path / "index.sqlite", isolation_level=None)) as other:
            log._index.database.execute("PRAGMA busy_timeout = 1")
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(OSError, match="index"):
                log.append([basal(2)])
            other.execute("ROLLBACK")
        assert log.end == 1, "what the index does not know cannot be read"
        assert touched_keys(log, 0) == [[1], [1]]
        assert log.append([basal(2), basal(3)]).duplicates == 1
        assert touched_keys(log, 1) == [[2, 3], [2, 3]]
        [stream] = log.streams()
        assert keys(log.read(stream.id, 0, 9)) == [1, 2, 3]


# --- whole files ----------------------------------------------------------------------------------------------------------


def test_replaced_file_is_whole() -> None:
    """A replaced file is what it was or what it is now.

    The power goes before each call in turn, and leaves the disk in any state.
    """
    path = Path("/data/state/pump.json")
    for number in range(1, 20):
        faults = CallFaults(crash_at=number)
        files = CrashingFiles({path: b"old" * 400}, faults)
        try:
            replace_file(files, path, b"new" * 500)
        except BaseException:  # noqa: BLE001 - the power went
            assert {image[path] for image in files.after_crash(every_byte=True)} <= {b"old" * 400, b"new" * 500}
        else:
            assert {image[path] for image in files.after_crash(every_byte=True)} == {b"new" * 500}
            assert number > 4
            return


def test_new_folder_is_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new folder is durable with its parents."""
    synced: list[Path] = []
    sync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda number: (synced.append(Path(f"/proc/self/fd/{number}").resolve()), sync(number))
    )
    OsFiles().make_folder(tmp_path / "data" / "log")
    assert synced == [tmp_path, tmp_path / "data"]
    OsFiles().make_folder(tmp_path / "data" / "log")
    assert len(synced) == 2
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0
