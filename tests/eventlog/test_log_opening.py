"""Opening, the index, segments, and a reader beside a writer."""

from __future__ import annotations

import gzip
import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tconnectsync import events
from tconnectsync.errors import TconnectsyncError
from tconnectsync.eventlog import EventLog
from tconnectsync.eventlog.framing import frame
from tests.eventlog.sample_events import RECEIVED, START, basal, keys, last_segment, numbered, row, upload
from tests.support.clocks import FakeClock


def open_log(data_dir: Path, *, writable: bool = True, segment_bytes: int = 4 << 20, **more: Any) -> EventLog:
    return EventLog.open(data_dir, clock=FakeClock(RECEIVED), writable=writable, segment_bytes=segment_bytes, **more)


def state(log: EventLog) -> object:
    return [
        (
            stream,
            log.read(stream.id, stream.first_key, stream.last_key),
            list(log.times(stream.id)),
            log.jumps(stream.id),
        )
        for stream in log.streams()
    ] + [list(log.touched(0)), log.facts("upload.seen"), log.facts("carbs.entered")]


def grow(log: EventLog) -> None:
    log.append([basal(seq) for seq in range(40, 1, -3)] + [upload("1"), row("a", START)])
    log.append([basal(seq, at=START - timedelta(hours=seq)) for seq in range(1, 41)])
    log.append([numbered(seq, events.CarbsEntered(carbs_g=float(seq))) for seq in range(3, 50, 5)] + [upload("2")])


def test_index_deleted(tmp_path: Path) -> None:
    """A deleted index is rebuilt as it was."""
    with open_log(tmp_path, segment_bytes=3000) as log:
        grow(log)
        log.maintain(2)
        before = state(log)
    for path in tmp_path.glob("index.sqlite*"):
        path.unlink()
    seen: list[tuple[int, int]] = []
    with open_log(tmp_path, progress=lambda done, total: seen.append((done, total))) as log:
        assert state(log) == before
        assert seen[-1] == (log.end, log.end)


def test_index_behind(tmp_path: Path) -> None:
    """An index that is behind catches up."""
    with open_log(tmp_path) as log:
        log.append([basal(1)])
    old = (tmp_path / "index.sqlite").read_bytes()
    with open_log(tmp_path) as log:
        grow(log)
        before = state(log)
    for path in tmp_path.glob("index.sqlite*"):
        path.unlink()
    (tmp_path / "index.sqlite").write_bytes(old)
    with open_log(tmp_path) as log:
        assert state(log) == before


@pytest.mark.parametrize("harm", ["garbage", "other log", "other version", "empty"])
def test_index_unusable(tmp_path: Path, harm: str) -> None:
    """An index that cannot be used is rebuilt."""
    with open_log(tmp_path) as log:
        grow(log)
        before = state(log)
    path = tmp_path / "index.sqlite"
    if harm == "garbage":
        path.write_bytes(b"garbage" * 1000)
    elif harm == "empty":
        path.write_bytes(b"")
    else:
        name = "log" if harm == "other log" else "version"
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE meta SET value = 'x' WHERE name = ?", (name,))
    with closing(open_log(tmp_path, writable=False)) as log:
        assert state(log) == before, "a reader makes a private one"
    with open_log(tmp_path) as log:
        assert state(log) == before


def test_index_of_other_history(tmp_path: Path) -> None:
    """An index of another history of the log is rebuilt.

    A copy of the folder was used by itself: the same positions, other events.
    """
    with open_log(tmp_path) as log:
        log.append([basal(1)])
    saved = last_segment(tmp_path).read_bytes()
    with open_log(tmp_path) as log:
        log.append([basal(2)])
    last_segment(tmp_path).write_bytes(saved)
    index = (tmp_path / "index.sqlite").read_bytes()
    (tmp_path / "index.sqlite").unlink()
    with open_log(tmp_path) as log:
        log.append([basal(3), basal(4)])
    (tmp_path / "index.sqlite").write_bytes(index)
    with open_log(tmp_path) as log:
        [stream] = log.streams()
        assert keys(log.read(stream.id, 0, 9)) == [1, 3, 4]


class ToyDecoder:
    def __init__(self, version: int) -> None:
        self.decoder = version

    def decode(self, raw: Mapping[str, Any]) -> tuple[str, object]:
        return "carbs.entered", events.CarbsEntered(carbs_g=float(raw["n"]))


def test_newer_decoder(tmp_path: Path) -> None:
    """A newer decoder reads the vendor's record again."""
    old = numbered(7, events.Unknown(code="48", reason="no such code"), raw={"n": 30})
    kept = numbered(8, events.Unknown(code="49", reason="no such code"), raw=None)
    with open_log(tmp_path) as log:
        log.append([old, kept, upload("1")])
        assert keys(log.facts("carbs.entered")) == []
    for _ in range(2):
        with open_log(tmp_path, decoders={"tandem": ToyDecoder(2)}) as log:
            [event] = log.facts("carbs.entered")
            assert (event.body, event.decoder, event.raw) == (events.CarbsEntered(carbs_g=30.0), 2, {"n": 30})
            [stream] = log.streams()
            assert [e.kind for e in log.read(stream.id, 0, 9)] == ["carbs.entered", "unknown"]
            fetched = numbered(7, events.CarbsEntered(carbs_g=30.0), raw={"n": 30}, decoder=2)
            assert log.append([fetched]).duplicates == 1, "what it would be read as is there already"
            assert log.facts("upload.seen")[0].kind == "upload.seen"


def test_read_without_raw(tmp_path: Path) -> None:
    """Without the vendor's records, which only unknown events keep, a newer decoder still reads all of them again."""
    odd = numbered(8, events.Unknown(code="48", reason="no such code"), raw={"n": 30})
    with open_log(tmp_path) as log:
        log.append([basal(7), odd])
        [stream] = log.streams()
        found = log.read(stream.id, 0, 9, with_raw=False)
        assert [(event.body, event.raw) for event in found] == [(basal(7).body, None), (odd.body, {"n": 30})]
    with open_log(tmp_path, decoders={"tandem": ToyDecoder(2)}) as log:
        [stream] = log.streams()
        found = log.read(stream.id, 0, 9, with_raw=False)
        assert [event.body.carbs_g for event in found] == [7.0, 30.0]
        assert [event.raw for event in found] == [None, None]


def test_reader_beside_writer(tmp_path: Path) -> None:
    """A reader works beside the writer."""
    with open_log(tmp_path, segment_bytes=1500) as writer:
        writer.append([basal(1)])
        with closing(open_log(tmp_path, writable=False)) as reader:
            assert (reader.end, reader.log_id) == (1, writer.log_id)
            for seq in range(2, 40):
                writer.append([basal(seq)])
                writer.maintain(seq % 3)
            [stream] = reader.streams()
            assert reader.end == 39
            assert keys(reader.read(stream.id, 0, 99)) == list(range(1, 40))
            assert keys(list(reader.events(30))) == list(range(31, 40))
            assert reader.size().positions == 39
            with pytest.raises(ValueError, match="reading"):
                reader.append([basal(99)])


def test_reader_of_torn_log(tmp_path: Path) -> None:
    """A reader repairs nothing and ends where the lines are whole."""
    with open_log(tmp_path) as log:
        log.append([basal(1)])
    path = last_segment(tmp_path)
    torn = path.read_bytes() + b'{"crc":"0000'
    path.write_bytes(torn)
    with closing(open_log(tmp_path, writable=False)) as log:
        assert keys(list(log.events())) == [1]
        assert log.notices == ()
    assert path.read_bytes() == torn


def test_reader_of_no_log(tmp_path: Path) -> None:
    """A reader of a folder without a log reads nothing."""
    with closing(open_log(tmp_path, writable=False)) as log:
        assert (log.end, log.log_id, list(log.events()), list(log.streams())) == (0, "", [], [])
        assert log.size().positions == 0
    assert list(tmp_path.iterdir()) == []


def test_log_id_stays(tmp_path: Path) -> None:
    """The id of the log stays."""
    with open_log(tmp_path, segment_bytes=500) as log:
        first = log.log_id
        log.append([basal(seq) for seq in range(1, 10)])
    with open_log(tmp_path) as log:
        assert log.log_id == first


def test_full_segment_is_sealed(tmp_path: Path) -> None:
    """A full segment is sealed, and the next one follows it."""
    with open_log(tmp_path, segment_bytes=2000) as log:
        log.append([basal(seq) for seq in range(1, 30)])
        names = sorted(path.name for path in (tmp_path / "log").iterdir())
        assert names[0] == "000000000001.jsonl"
        assert len(names) > 3
        assert all(path.stat().st_size < 2000 + 400 for path in (tmp_path / "log").iterdir())
        assert [event.pos for event in log.events()] == list(range(1, 30))
        second = int(names[1][:12])
        assert [event.pos for event in log.events(second)] == list(range(second + 1, 30))


def test_compressed_segment_read_by_zcat(tmp_path: Path) -> None:
    """Compressed segments can be read by zcat."""
    with open_log(tmp_path, segment_bytes=2000) as log:
        log.append([basal(seq) for seq in range(1, 30)])
        plain = (tmp_path / "log" / "000000000001.jsonl").read_bytes()
        sealed = log.size().segments - 1
        assert log.maintain(1) == 1
        assert log.maintain(1000) == sealed - 1, "each is checked before it is compressed, and that counts"
        assert log.maintain(1000) == 0
        packed = tmp_path / "log" / "000000000001.jsonl.gz"
        assert subprocess.run(["zcat", str(packed)], capture_output=True, check=True).stdout == plain
        assert not (tmp_path / "log" / "000000000001.jsonl").exists()
        [stream] = log.streams()
        assert keys(log.read(stream.id, 0, 99)) == list(range(1, 30))


def test_memory_when_idle(tmp_path: Path) -> None:
    """No decompressed segment stays in memory when there is nothing to do."""
    with open_log(tmp_path, segment_bytes=2000) as log:
        log.append([basal(seq) for seq in range(1, 30)])
        while log.maintain(1):
            pass
        assert len(list(log.events())) == 29
        assert log._segments._texts != {}
        log.maintain(1)
        assert log._segments._texts == {}
        assert len(list(log.events())) == 29


def test_crash_while_compressing(tmp_path: Path) -> None:
    """A crash while compressing leaves two copies and no trouble."""
    with open_log(tmp_path, segment_bytes=2000) as log:
        log.append([basal(seq) for seq in range(1, 30)])
    plain = tmp_path / "log" / "000000000001.jsonl"
    (tmp_path / "log" / "000000000001.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    (tmp_path / "log" / "000000000009.jsonl.gz.tmp").write_bytes(b"half")
    with open_log(tmp_path, segment_bytes=2000) as log:
        assert [event.pos for event in log.events()] == list(range(1, 30))
        log.maintain(100)
        assert [event.pos for event in log.events()] == list(range(1, 30))
    assert not plain.exists()
    assert not list((tmp_path / "log").glob("*.tmp"))


def test_segments_checked_monthly(tmp_path: Path) -> None:
    """Segments are checked again after a month."""
    clock = FakeClock(RECEIVED, still=True)
    with EventLog.open(tmp_path, clock=clock, writable=True, segment_bytes=2000) as log:
        assert log.verified_at == clock.now()
        log.append([basal(seq) for seq in range(1, 30)])
        assert log.verified_at is None
        log.maintain(1000)
        assert log.verified_at == clock.now()
        clock.sleep(86400 * 31)
        assert log.maintain(1000) == log.size().segments - 1
        assert log.verified_at == clock.now()


def test_background_check_finds_corruption(tmp_path: Path) -> None:
    """The background check finds corruption."""
    with open_log(tmp_path, segment_bytes=2000) as log:
        log.append([basal(seq) for seq in range(1, 30)])
        path = tmp_path / "log" / "000000000001.jsonl"
        text = path.read_bytes()
        path.write_bytes(text[:700] + b"#" + text[701:])
        log.maintain(1000)
        assert [(damage.path, damage.position) for damage in log.damage] == [(str(path), 3)]
        assert path.exists(), "what is corrupt is left as it is"
    with closing(open_log(tmp_path, writable=False)) as log:
        assert [damage.position for damage in log.damage] == [3]


def test_log_of_newer_release(tmp_path: Path) -> None:
    """A log of a newer release is refused."""
    folder = tmp_path / "log"
    folder.mkdir()
    header = b'{"format":2,"first":1,"log":"abc","chain":"00000000"}'
    (folder / "000000000001.jsonl").write_bytes(frame(header, 0)[0])
    for writable in (True, False):
        with pytest.raises(TconnectsyncError, match="newer release"):
            open_log(tmp_path, writable=writable)


def test_log_files_are_private(tmp_path: Path) -> None:
    """The files can be read by their owner only."""
    with open_log(tmp_path / "data") as log:
        log.append([basal(1)])
    for path in (tmp_path / "data").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
