"""A disk that is full or fails: nothing half-known, and it goes on when there is space again."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from log_worlds import FailingFiles, StillClock, basal, keys, last_segment

from tconnectsync.eventlog import EventLog, check_log


def failure(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def scenario(data_dir: Path, files: FailingFiles) -> None:
    """Three batches over several segments, some of them compressed; every call may be the one that fails."""
    with EventLog.open(data_dir, clock=StillClock(), writable=True, files=files, segment_bytes=900) as log:
        for batch in ([basal(1), basal(2)], [basal(3), basal(4), basal(5)], [basal(6)]):
            log.append(batch)
            log.maintain(1)


def total_calls(data_dir: Path) -> int:
    files = FailingFiles()
    scenario(data_dir, files)
    return files.calls


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("partly", [False, True])
def test_any_failing_call_costs_at_most_repeated_work(tmp_path: Path, code: int, partly: bool) -> None:
    """The same process goes on after the failure; what it then appends is all there, once."""
    for number in range(1, total_calls(tmp_path / "count") + 1):
        data_dir = tmp_path / str(number)
        files = FailingFiles(failure(code), partly=partly)
        files.fail_at = number
        try:
            scenario(data_dir, files)
        except OSError as error:
            assert error.errno == code  # noqa: PT017
        with EventLog.open(data_dir, clock=StillClock(), writable=True, segment_bytes=900) as log:
            log.append([basal(seq) for seq in range(1, 8)])
            [stream] = log.streams()
            assert keys(log.read(stream.id, 0, 99)) == list(range(1, 8))
            assert [event.seq for event in log.events()] == list(range(1, 8))
        assert all(line.good for line in check_log(data_dir))


@pytest.mark.parametrize("partly", [False, True])
def test_the_same_log_goes_on_when_there_is_space_again(tmp_path: Path, partly: bool) -> None:
    for number in range(1, 12):
        data_dir = tmp_path / str(number)
        files = FailingFiles(failure(errno.ENOSPC), partly=partly)
        with EventLog.open(data_dir, clock=StillClock(), writable=True, files=files, segment_bytes=900) as log:
            log.append([basal(1)])
            files.fail_at = files.calls + number
            failed = 0
            for seq in range(2, 9):
                try:
                    log.append([basal(seq)])
                except OSError:
                    failed += 1
                    end = log.end
                    log.append([basal(seq)])
                    assert log.end in (end, end + 1)
            [stream] = log.streams()
            assert keys(log.read(stream.id, 0, 99)) == list(range(1, 9))
            assert failed <= 1
        assert all(line.good for line in check_log(data_dir))


def test_a_failed_append_leaves_the_end_where_it_was(tmp_path: Path) -> None:
    files = FailingFiles(failure(errno.ENOSPC))
    with EventLog.open(tmp_path, clock=StillClock(), writable=True, files=files) as log:
        log.append([basal(1)])
        size = last_segment(tmp_path).stat().st_size
        files.fail_at = files.calls + 1
        with pytest.raises(OSError, match="No space left"):
            log.append([basal(2), basal(3)])
        assert log.end == 1
        assert last_segment(tmp_path).stat().st_size == size
        assert list(log.touched(1)) == []
        [stream] = log.streams()
        assert stream.last_key == 1


def test_an_index_that_cannot_be_written_catches_up_later(tmp_path: Path) -> None:
    with EventLog.open(tmp_path, clock=StillClock(), writable=True) as log:
        log.append([basal(1)])
        with closing(sqlite3.connect(tmp_path / "index.sqlite", isolation_level=None)) as other:
            log._index.database.execute("PRAGMA busy_timeout = 1")
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(OSError, match="index"):
                log.append([basal(2)])
            other.execute("ROLLBACK")
        assert log.append([basal(2), basal(3)]).duplicates == 1
        [stream] = log.streams()
        assert keys(log.read(stream.id, 0, 9)) == [1, 2, 3]
