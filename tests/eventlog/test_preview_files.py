"""A log over another folder's files: what is appended stays beside them."""

from __future__ import annotations

from pathlib import Path

from tconnectsync.eventlog import INDEX_NAME, EventLog, OverlayFiles
from tests.eventlog.sample_events import RECEIVED, basal
from tests.support.clocks import FakeClock


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "log").iterdir()}


def numbers(log: EventLog) -> list[int]:
    return [event.seq or 0 for event in log.events()]


def open_preview(tmp_path: Path) -> EventLog:
    files = OverlayFiles(tmp_path / "data/log", tmp_path / "own/log")
    return EventLog.open(tmp_path / "own", clock=FakeClock(RECEIVED), writable=True, files=files, segment_bytes=2000)


def test_preview_append(tmp_path: Path) -> None:
    """Events that a preview appends follow the real files and change none of them."""
    data, own = tmp_path / "data", tmp_path / "own"
    with EventLog.open(data, clock=FakeClock(RECEIVED), writable=True, segment_bytes=2000) as owner:
        owner.append([basal(seq) for seq in range(1, 40)])
        owner.maintain()
        before = contents(data)
        assert len(before) > 3
        with open_preview(tmp_path) as log:
            assert log.append([basal(seq) for seq in range(30, 60)]).duplicates == 10
            assert numbers(log) == list(range(1, 60))
            assert log.maintain(budget=20) > 0  # compresses sealed segments: those of its own folder
            assert numbers(log) == list(range(1, 60))
        assert contents(data) == before
        assert not (own / INDEX_NAME).samefile(data / INDEX_NAME)
        assert numbers(owner) == list(range(1, 40))


def test_preview_beside_owner(tmp_path: Path) -> None:
    """The owner may append, seal and compress meanwhile."""
    with EventLog.open(tmp_path / "data", clock=FakeClock(RECEIVED), writable=True, segment_bytes=2000) as owner:
        owner.append([basal(seq) for seq in range(1, 40)])
        with open_preview(tmp_path) as log:
            owner.append([basal(seq) for seq in range(40, 80)])
            while owner.maintain(budget=20):
                pass
            log.append([basal(100)])
            assert numbers(log) == [*range(1, 40), 100]
        assert numbers(owner) == list(range(1, 80))


def test_preview_of_empty_log(tmp_path: Path) -> None:
    """A preview over an empty log is an empty log."""
    with open_preview(tmp_path) as log:
        log.append([basal(1)])
        assert numbers(log) == [1]
    assert not (tmp_path / "data").exists()
