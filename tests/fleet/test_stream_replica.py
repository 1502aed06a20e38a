"""An event log whose copy is a subject of a real JetStream server."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import pytest

from tconnectsync import ReplicaFailed
from tconnectsync.eventlog import EventLog
from tconnectsync_fleet.servers import EVENTS, Servers
from tconnectsync_fleet.stream_replica import StreamReplica, TakenOver
from tests.eventlog.sample_events import RECEIVED, basal
from tests.eventlog.test_log_contract import EventLogContract
from tests.support.clocks import FakeClock


def opened(folder: Path, replica: StreamReplica, segment_bytes: int = 1 << 20) -> EventLog:
    return EventLog.open(folder, clock=FakeClock(RECEIVED), writable=True, segment_bytes=segment_bytes, replica=replica)


class TestReplicatedLog(EventLogContract):
    """The whole contract, with tiny segments and a replica."""

    @pytest.fixture
    def log(self, servers: Servers, tmp_path: Path, new_name: Callable[[], str]) -> Iterator[EventLog]:
        replica = StreamReplica(servers, new_name(), "a")
        replica.claim()
        with closing(opened(tmp_path, replica, 600)) as log:
            yield log


@pytest.fixture
def replica(servers: Servers, new_name: Callable[[], str]) -> StreamReplica:
    replica = StreamReplica(servers, new_name(), "a")
    replica.claim()
    return replica


def taken_over(replica: StreamReplica, owner: str = "b") -> StreamReplica:
    """Another worker's replica of the same person, which has claimed the log."""
    other = StreamReplica(replica.servers, replica.person, owner)
    other.look()
    other.claim()
    return other


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "log").iterdir())}


def test_another_disk_gets_the_same_bytes(replica: StreamReplica, tmp_path: Path) -> None:
    """A worker without the log reads it from the stream, byte for byte, and continues it."""
    with closing(opened(tmp_path / "a", replica, 700)) as log:
        for number in range(1, 30):
            log.append([basal(number), basal(100 + number)])
        first = list(log.events())
    other = taken_over(replica)
    with closing(opened(tmp_path / "b", other, 700)) as log:
        assert list(log.events()) == first
        assert files_in(tmp_path / "b") == files_in(tmp_path / "a")
        assert log.append([basal(5)]).duplicates == 1
        assert log.append([basal(500)]).first == 59


def test_disk_that_is_behind_reads_the_rest(replica: StreamReplica, tmp_path: Path) -> None:
    """A worker that had the person before reads only what came since."""
    with closing(opened(tmp_path / "a", replica, 700)) as log:
        log.append([basal(number) for number in range(1, 10)])
    with closing(opened(tmp_path / "b", taken_over(replica), 700)) as log:
        log.append([basal(number) for number in range(10, 20)])
    with closing(opened(tmp_path / "a", taken_over(replica, "a2"), 700)) as log:
        assert [event.seq for event in log.events()] == list(range(1, 20))
        assert not log.notices
    assert files_in(tmp_path / "a") == files_in(tmp_path / "b")


def test_earlier_owner_is_refused(replica: StreamReplica, tmp_path: Path) -> None:
    """After a claim, the earlier owner's append fails and leaves nothing, neither in the stream nor on its disk."""
    with closing(opened(tmp_path / "a", replica)) as log:
        log.append([basal(1)])
        other = taken_over(replica)
        with pytest.raises(ReplicaFailed, match="does not own the event log any more"):
            log.append([basal(2)])
        assert [event.seq for event in log.events()] == [1]
    with pytest.raises(ReplicaFailed, match="does not own the event log any more"):
        opened(tmp_path / "a", replica)
    with closing(opened(tmp_path / "b", other)) as log:
        assert [event.seq for event in log.events()] == [1]


def test_lines_that_were_never_published_are_dropped(replica: StreamReplica, tmp_path: Path) -> None:
    """A worker that was killed between its disk and the stream forgets what the stream does not have."""
    with closing(opened(tmp_path / "a", replica)) as log:
        log.append([basal(1)])
    with closing(EventLog.open(tmp_path / "a", clock=FakeClock(RECEIVED), writable=True)) as log:
        log.append([basal(2), basal(3)])  # without the replica: as if it had been killed before publishing
    with closing(opened(tmp_path / "a", replica)) as log:
        assert [event.seq for event in log.events()] == [1]
        assert not log.damage
        assert log.append([basal(2)]).first == 2


def test_other_history_is_replaced(replica: StreamReplica, tmp_path: Path) -> None:
    """A local log of another history, of the same length, is replaced. It is kept under another name: the stream may be what was lost."""
    with closing(opened(tmp_path / "a", replica)) as log:
        log.append([basal(1)])
    with closing(EventLog.open(tmp_path / "b", clock=FakeClock(RECEIVED), writable=True)) as log:
        log.append([basal(7)])
    [(name, other)] = files_in(tmp_path / "b").items()
    with closing(opened(tmp_path / "b", replica)) as log:
        assert [event.seq for event in log.events()] == [1]
    assert files_in(tmp_path / "b") == files_in(tmp_path / "a") | {f"not-in-replica-1-{name}": other}


def test_corrupt_disk_is_read_again(replica: StreamReplica, tmp_path: Path) -> None:
    """A flipped byte in the last segment is mended from the stream."""
    with closing(opened(tmp_path, replica)) as log:
        log.append([basal(number) for number in range(1, 10)])
    good = files_in(tmp_path)
    [name] = good
    corrupt = bytearray(good[name])
    corrupt[len(corrupt) // 2] ^= 1
    (tmp_path / "log" / name).write_bytes(corrupt)
    with closing(opened(tmp_path, replica)) as log:
        assert [event.seq for event in log.events()] == list(range(1, 10))
    assert files_in(tmp_path) == good | {f"not-in-replica-1-{name}": bytes(corrupt)}


def test_log_that_is_gone_is_not_continued(replica: StreamReplica, tmp_path: Path) -> None:
    """After a purge, or after the stream was lost, nobody owns the log: a worker claims it again before it continues."""
    with closing(opened(tmp_path, replica)) as log:
        log.append([basal(1)])
    replica.servers.call(replica.servers.js.purge_stream(EVENTS, subject=replica.subject))
    with pytest.raises(TakenOver):
        opened(tmp_path, replica)
    replica.claim()
    with closing(opened(tmp_path, replica)) as log:
        assert log.append([basal(2)]).first == 1


def test_lost_lease_stops_appends(replica: StreamReplica, tmp_path: Path) -> None:
    """A worker whose lease ran out appends and delivers nothing, before anybody else has claimed the log."""
    with closing(opened(tmp_path, replica)) as log:
        log.append([basal(1)])
        replica.lease_holds = lambda: False
        with pytest.raises(ReplicaFailed):
            log.append([basal(2)])
        with pytest.raises(ReplicaFailed):
            log.fence(datetime.now(timezone.utc))
    shutil.rmtree(tmp_path / "log")
