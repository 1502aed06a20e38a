"""A whole log moves into a replica, from any point of it, and out again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

import attrs
import pytest

from tconnectsync.errors import LogCorrupt, RequestRefused
from tconnectsync.eventlog import EventLog, LogEnd, copy_of_log, replica_transfer
from tconnectsync.eventlog.compression import unpack
from tconnectsync.eventlog.replica import MOVED_ASIDE, has_all_of
from tconnectsync.eventlog.replica_transfer import back_up_replica, batches_after
from tconnectsync.filesystem import OsFiles
from tests.eventlog.sample_events import RECEIVED, basal
from tests.support.clocks import FakeClock

REMEDY = "delete the other one"


@attrs.define
class MemoryReplica:
    """A replica in memory."""

    batches: list[tuple[bytes, LogEnd]] = attrs.field(factory=list)

    def end(self) -> LogEnd:
        return self.batches[-1][1] if self.batches else LogEnd()

    def tail(self, after: int) -> Iterator[bytes]:
        yield from (lines for lines, end in self.batches if end.position > after)

    def append(self, lines: bytes, end: LogEnd) -> None:
        self.batches.append((lines, end))

    def fence(self, oldest: datetime) -> None:
        """Always ours."""


def grown(folder: Path, *numbers: int) -> Path:
    """A data folder whose log has these events, in small segments, the older ones compressed."""
    with closing(EventLog.open(folder, clock=FakeClock(RECEIVED), writable=True, segment_bytes=900)) as log:
        for number in numbers:
            log.append([basal(number), basal(1000 + number)])
        log.maintain(budget=20)
    return folder


def text_of(folder: Path) -> bytes:
    copy = copy_of_log(folder)
    assert copy is not None
    return b"".join(content if name.endswith("jsonl") else unpack(content) for name, content in copy.contents())


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_transfer, "BATCH_BYTES", 300)


def test_log_without_records_leaves_nothing(tmp_path: Path) -> None:
    """A person's log to which nothing could be appended yet is no copy that must be kept, however often it was opened."""
    replica, folder = MemoryReplica(), tmp_path / "log"

    def opened(data: Path) -> EventLog:
        return EventLog.open(data, clock=FakeClock(RECEIVED), writable=True, replica=replica)

    for _ in range(3):
        opened(tmp_path).close()
        assert not [path.name for path in folder.iterdir() if path.name.startswith(MOVED_ASIDE)]
        assert has_all_of(replica, replica.end(), folder, OsFiles())
    with closing(opened(tmp_path / "another")) as log:
        log.append([basal(1)])
    assert has_all_of(replica, replica.end(), folder, OsFiles())
    with closing(opened(tmp_path)) as log:
        assert log.end == 1
    assert text_of(tmp_path) == text_of(tmp_path / "another")


def test_whole_log_and_the_rest_of_it(tmp_path: Path) -> None:
    """The batches after every earlier end are the rest; a grown log continues the replica, whose backup is the log."""
    data, replica = grown(tmp_path / "data", *range(1, 9)), MemoryReplica()
    replica.batches += batches_after(data, LogEnd(), remedy=REMEDY)
    assert len(replica.batches) > len(list((data / "log").iterdir())) > 2
    for number, (_, end) in enumerate(replica.batches, 1):
        assert list(batches_after(data, end, remedy=REMEDY)) == replica.batches[number:]

    grown(data, 20, 21)
    replica.batches += batches_after(data, replica.end(), remedy=REMEDY)
    made = back_up_replica(replica, tmp_path / "log.tar.gz", clock=FakeClock(RECEIVED))
    assert made.manifest.positions == replica.end().position == 20
    assert b"".join(lines for lines, _ in replica.batches) == text_of(data)


def test_another_log_is_refused(tmp_path: Path) -> None:
    """A log that does not contain the replica's end gives nothing, and neither does a folder without a log."""
    [*_, (_, end)] = batches_after(grown(tmp_path / "data", 1, 2, 3), LogEnd(), remedy=REMEDY)
    for folder in (grown(tmp_path / "other", 1, 2, 3, 4), grown(tmp_path / "shorter", 1), tmp_path):
        with pytest.raises(RequestRefused) as refused:
            next(batches_after(folder, end, remedy=REMEDY))
        assert refused.value.remedy == REMEDY


def test_newer_release_in_the_replica(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older release says so and leaves the replica. Nothing of its disk is deleted, and nothing piles up there."""
    newer, end = MemoryReplica(), LogEnd()
    with monkeypatch.context() as release:
        for module in ("framing", "segments", "segment_continuity"):
            release.setattr(f"tconnectsync.eventlog.{module}.FORMAT", 2)
        for number in (1, 2):
            with closing(
                EventLog.open(tmp_path / "newer", clock=FakeClock(RECEIVED), writable=True, replica=newer)
            ) as log:
                log.append([basal(number)])
                end = newer.end()
        with closing(EventLog.open(tmp_path / "part", clock=FakeClock(RECEIVED), writable=True)):
            pass
    for folder in (tmp_path / "empty", tmp_path / "newer", tmp_path / "part"):
        before = [path.read_bytes() for path in sorted(folder.glob("log/*"))]
        for _ in range(3):
            with pytest.raises(LogCorrupt, match="newer release"):
                EventLog.open(folder, clock=FakeClock(RECEIVED), writable=True, replica=newer)
        assert [path.read_bytes() for path in sorted(folder.glob("log/*"))] == before
    assert newer.end() == end
