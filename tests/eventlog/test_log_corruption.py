"""Every corruption of a sealed segment is found, named by file and line, repaired, and fetched again."""

from __future__ import annotations

import errno
import gzip
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from tconnectsync import events
from tconnectsync.errors import LogCorrupt
from tconnectsync.eventlog import Damage, EventLog, OsFiles
from tconnectsync.eventlog.check import CheckLine, check_log
from tconnectsync.eventlog.framing import frame, header_line
from tconnectsync.eventlog.repair import repair_log
from tests.eventlog.sample_events import RECEIVED, basal, last_segment, numbered
from tests.support.clocks import FakeClock

SEGMENT_BYTES = 700
SEQS = range(1, 16)
SEALED = 1
"""Which of the segments is corrupt: one between two others."""


def open_log(data_dir: Path, *, writable: bool = True) -> EventLog:
    return EventLog.open(data_dir, clock=FakeClock(RECEIVED), writable=writable, segment_bytes=SEGMENT_BYTES)


def filled(data_dir: Path, *, packed: bool = True, pump: str = "123", seqs: Iterable[int] = SEQS) -> Path:
    with open_log(data_dir) as log:
        for seq in seqs:
            log.append([basal(seq, pump=pump)])
        if packed:
            while log.maintain():
                pass
    return data_dir


def segments(data_dir: Path) -> list[Path]:
    return sorted(path for path in (data_dir / "log").glob("[0-9]*") if path.suffix in (".jsonl", ".gz"))


def bad(data_dir: Path) -> list[CheckLine]:
    return [line for line in check_log(data_dir) if not line.good]


def readable(data_dir: Path) -> tuple[set[int], set[int]]:
    """Which events can be read one by one, each as it was written, and which seem never to have been there."""
    good, absent = set(), set()
    with open_log(data_dir) as log:
        for stream in log.streams():
            assert stream.pump == "123", "a stranger's events"
            for seq in SEQS:
                try:
                    found = log.read(stream.id, seq, seq)
                except LogCorrupt:
                    continue
                assert all((event.id, event.body) == (basal(seq).id, basal(seq).body) for event in found)
                (good if found else absent).add(seq)
    return good, absent


def forget_index(data_dir: Path) -> None:
    for path in data_dir.glob("index.sqlite*"):
        path.unlink()


# --- every bit ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
def test_bit_flip_in_sealed_segment(tmp_path: Path, packed: bool) -> None:
    """Every bit flip in a sealed segment is found, and file and line are named.

    All of them, one after the other: the header, the checksums, gzip's own header, padding and trailer included.
    """
    filled(tmp_path, packed=packed, seqs=range(1, 8))  # three segments: all of them are read after each flip
    path = segments(tmp_path)[SEALED]
    assert (path.suffix == ".gz") == packed
    whole = path.read_bytes()
    text = gzip.decompress(whole) if packed else whole
    for bit in range(len(whole) * 8):
        corrupted = bytearray(whole)
        corrupted[bit // 8] ^= 1 << bit % 8
        path.write_bytes(corrupted)
        [first, *more] = bad(tmp_path)
        assert {line.path for line in (first, *more)} == {str(path)}, bit
        assert first.line is not None
        assert 1 <= first.line <= text.count(b"\n") + 1
        if not packed:
            assert first.line == text.count(b"\n", 0, bit // 8) + 1, bit
            assert more == []


@pytest.mark.parametrize("packed", [False, True])
def test_cut_in_sealed_segment(tmp_path: Path, packed: bool) -> None:
    """A cut anywhere in a sealed segment is found."""
    filled(tmp_path, packed=packed)
    path = segments(tmp_path)[SEALED]
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        assert [line.path for line in bad(tmp_path)] == [str(path)], size


def test_bit_flip_in_compressed_segment(tmp_path: Path) -> None:
    """A bit flip in a compressed segment costs only the records after it."""
    filled(tmp_path)
    path = segments(tmp_path)[SEALED]
    whole = path.read_bytes()
    costs = set()
    for at in range(0, len(whole), 5):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        good, absent = readable(tmp_path)
        assert not absent
        here = set(range(int(path.name[:12]), int(segments(tmp_path)[SEALED + 1].name[:12])))
        assert set(SEQS) - good <= here
        costs.add(len(here - good))
    assert min(costs) == 0, "a corrupt trailer costs nothing: every line has its own checksum"
    assert len(costs) > 2, "what comes before the corrupt part can be read"


@pytest.mark.parametrize("at", [3, 20, -9, -1])
def test_checksums_in_corrupt_segment(tmp_path: Path, at: int) -> None:
    """A bit flip in a compressed segment changes no checksum; those after it cannot be read."""
    filled(tmp_path)
    with open_log(tmp_path) as log:
        before = [log.checksum_at(position) for position in range(1, log.end + 1)]
    path = segments(tmp_path)[SEALED]
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    with open_log(tmp_path) as log:
        for position, checksum in enumerate(before, 1):
            with suppress(LogCorrupt):
                assert log.checksum_at(position) == checksum


# --- files ----------------------------------------------------------------------------------------------------------


def remove(path: Path, other: Path) -> None:
    path.unlink()


def empty(path: Path, other: Path) -> None:
    path.write_bytes(b"")


def zeros(path: Path, other: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def noise(path: Path, other: Path) -> None:
    path.write_bytes(bytes(range(256)) * 9)


def folder(path: Path, other: Path) -> None:
    path.unlink()
    path.mkdir()


def file_of_other_log(path: Path, other: Path) -> None:
    path.unlink()
    [theirs] = [theirs for theirs in segments(other) if theirs.name[:12] == path.name[:12]]
    shutil.copy(theirs, path.parent / theirs.name)


def rewritten(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    path.unlink()
    path.with_name(path.name.removesuffix(".gz")).write_bytes(b"".join(change(text.splitlines(keepends=True))))


def swapped(path: Path, other: Path) -> None:
    rewritten(path, lambda lines: [lines[0], lines[2], lines[1], *lines[3:]])


def doubled(path: Path, other: Path) -> None:
    rewritten(path, lambda lines: [*lines[:2], lines[1], *lines[2:]])


def line_of_other_log(path: Path, other: Path) -> None:
    """A line of another log that is whole and at the right position: only the chain of checksums shows it."""
    [theirs] = [theirs for theirs in segments(other) if theirs.name[:12] == path.name[:12]]
    line = gzip.decompress(theirs.read_bytes()) if theirs.suffix == ".gz" else theirs.read_bytes()
    rewritten(path, lambda lines: [lines[0], line.splitlines(keepends=True)[1], *lines[2:]])


def without_header(path: Path, other: Path) -> None:
    rewritten(path, lambda lines: lines[1:])


def other_segment(path: Path, other: Path) -> None:
    """Another segment of the same log under this one's name."""
    first = segments(path.parent.parent)[0]
    shutil.copy(first, path.with_name(path.name[:12] + first.name[12:]))
    if first.suffix != path.suffix:
        path.unlink()


def without_last_line(path: Path, other: Path) -> None:
    """The same segment without its last line, as a disk returns it that has gone back in time."""
    rewritten(path, lambda lines: lines[:-1])


CORRUPTIONS = [
    remove, empty, zeros, noise, folder, file_of_other_log, swapped, doubled, line_of_other_log, without_header, other_segment, without_last_line,
]  # fmt: skip


@pytest.mark.parametrize("number", [0, SEALED, -1])
@pytest.mark.parametrize("corrupt", CORRUPTIONS)
@pytest.mark.parametrize("indexed", [True, False])
def test_corrupt_file_repaired_and_fetched(
    tmp_path: Path, corrupt: Callable[[Path, Path], None], number: int, indexed: bool
) -> None:
    """A corrupt file is reported, repaired and fetched again.

    Nothing corrupt is believed, nothing is silently absent, nothing is deleted, and in the end all is there.
    """
    data, other = filled(tmp_path / "data"), filled(tmp_path / "other", pump="124")
    path = segments(data)[number]
    if corrupt is other_segment and number == 0:
        pytest.skip("it is that segment itself")
    first = int(path.name[:12])
    following = [int(each.name[:12]) for each in segments(data) if int(each.name[:12]) > first]
    here = set(range(first, following[0] if following else SEQS[-1] + 1))
    corrupt(path, other)
    if not indexed:
        forget_index(data)
    corrupted = [each.read_bytes() for each in segments(data) if each.is_file()]

    at_the_end = number == -1
    found = bad(data)
    if at_the_end and corrupt in (remove, without_last_line):
        assert found == [], "the log by itself cannot know that there was more"
    else:
        assert found
        assert all(line.line is not None for line in found)
    with suppress(LogCorrupt):  # a file at the end of the log that cannot be used at all
        good, absent = readable(data)
        assert set(SEQS) - good <= here | {min(here) - 1, max(here) + 1} or (number == 0 and not indexed)
        assert absent <= here
        assert at_the_end or not absent, "what cannot be read must not look as if it had never been there"
        assert not good & here or corrupt not in (remove, empty, zeros, noise, folder, file_of_other_log, other_segment)

    report = repair_log(data, clock=FakeClock(RECEIVED))
    assert report.unrepaired == ()
    assert bad(data) == []
    kept = b"".join(each.read_bytes() for each in (data / "log").iterdir() if each.is_file())
    for content in corrupted:
        assert content in kept or (at_the_end and all(line in kept for line in content.splitlines()))
    with open_log(data) as log:
        log.append([basal(seq) for seq in SEQS])
        [stream] = log.streams()
        assert [event.seq for event in log.read(stream.id, 1, 99)] == list(SEQS)
        assert log.damage == []
    assert bad(data) == []


def test_newer_segment_not_repaired(tmp_path: Path) -> None:
    """A segment of a newer release is reported and never repaired."""
    filled(tmp_path, packed=False)
    path = segments(tmp_path)[SEALED]
    newer = header_line(int(path.name[:12]), "abc", 0)[0].replace(b'"format":1', b'"format":2')
    path.write_bytes(frame(newer[24:-2], 0)[0] + b"a new kind of line\n")
    before = path.read_bytes()
    [found] = bad(tmp_path)
    assert "newer release" in found.what
    with pytest.raises(LogCorrupt, match="newer release") as raised:
        repair_log(tmp_path, clock=FakeClock(RECEIVED))
    assert "repair" not in str(raised.value.remedy)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("log/*damaged*"))


def test_strange_file_kept_aside(tmp_path: Path) -> None:
    """A file that is no part of the log is moved aside and reported."""
    filled(tmp_path)
    forget_index(tmp_path)
    (tmp_path / "log" / "000000000099.jsonl").write_bytes(b"\0" * 5000)
    with open_log(tmp_path) as log:
        assert log.end == SEQS[-1]
        [notice] = log.notices
    assert "000000000099.jsonl" in notice
    [side] = (tmp_path / "log").glob("torn-*")
    assert side.read_bytes() == b"\0" * 5000


# --- the disk -------------------------------------------------------------------------------------------------------


class BadSectors(OsFiles):
    """A disk on which the bytes from ``first`` to ``last`` of one file cannot be read any more."""

    def __init__(self, path: Path, first: int, last: int) -> None:
        self.inode, self.first, self.last = path.stat().st_ino, first, last

    def read(self, path: Path, offset: int = 0, length: int | None = None) -> bytes:
        end = path.stat().st_size if length is None else offset + length
        if path.stat().st_ino == self.inode and offset < self.last and end > self.first:
            raise OSError(errno.EIO, "Input/output error", str(path))
        return super().read(path, offset, length)


@pytest.mark.parametrize("indexed", [True, False])
def test_bad_sector(tmp_path: Path, indexed: bool) -> None:
    """A bad sector is corruption of one segment and can be repaired."""
    with EventLog.open(tmp_path, clock=FakeClock(RECEIVED), writable=True, segment_bytes=30_000) as log:
        log.append([basal(seq) for seq in range(1, 400)])
    if not indexed:
        forget_index(tmp_path)
    path = segments(tmp_path)[0]
    files = BadSectors(path, 8192, 12288)
    [found] = [line for line in check_log(tmp_path, files) if not line.good]
    assert found.path == str(path)
    assert found.line is not None
    assert found.line > 20
    with EventLog.open(tmp_path, clock=FakeClock(RECEIVED), writable=True, files=files, segment_bytes=30_000) as log:
        [stream] = log.streams()
        assert [event.seq for event in log.read(stream.id, 300, 302)] == [300, 301, 302]
        assert found.position is not None
        with pytest.raises(LogCorrupt, match="line"):
            log.read(stream.id, found.position + 1, found.position + 1)
    report = repair_log(tmp_path, files, clock=FakeClock(RECEIVED))
    [gap] = report.gaps
    assert gap.first_position == found.position
    assert gap.last_position - gap.first_position < 40, "the lines around the bad sector stay"
    assert [line for line in check_log(tmp_path, files) if not line.good] == []
    assert (tmp_path / "log" / gap.side_file).stat().st_size > 30_000 - 500
    with EventLog.open(tmp_path, clock=FakeClock(RECEIVED), writable=True, files=files, segment_bytes=30_000) as log:
        log.append([basal(seq) for seq in range(1, 400)])
        [stream] = log.streams()
        assert len(log.read(stream.id, 1, 999)) == 399


def test_bad_sector_at_the_end(tmp_path: Path) -> None:
    """A bad sector at the end of the log is not a line that is being written."""
    with EventLog.open(tmp_path, clock=FakeClock(RECEIVED), writable=True) as log:
        log.append([basal(seq) for seq in range(1, 100)])
    path = last_segment(tmp_path)
    text = path.read_bytes()
    line_begin = text.rindex(b"\n", 0, -1) + 1
    files = BadSectors(path, line_begin + 40, len(text))
    told: list[Damage] = []
    with EventLog.open(tmp_path, clock=FakeClock(RECEIVED), writable=False, files=files) as log:
        found = list(log.events(on_damage=told.append))
    assert found
    assert [damage.path for damage in told] == [str(path)]


def test_repair_on_dead_disk(tmp_path: Path) -> None:
    """A disk that returns nothing ends a repair.

    It is tried a few times and then reported, and the copies are kept.
    """
    filled(tmp_path, packed=False)
    path = segments(tmp_path)[SEALED]

    class Dying(OsFiles):
        def read(self, wanted: Path, offset: int = 0, length: int | None = None) -> bytes:
            if wanted == path:
                raise OSError(errno.EIO, "Input/output error", str(path))
            return super().read(wanted, offset, length)

    report = repair_log(tmp_path, Dying(), clock=FakeClock(RECEIVED))
    assert [damage.path for damage in report.unrepaired] == [str(path)]
    assert list(tmp_path.glob("log/*.damaged-1"))


def test_forbidden_file_is_not_corrupt(tmp_path: Path) -> None:
    """A file that may not be read is not corrupt.

    It is reported as unreadable: a repair would remove it for nothing.
    """
    filled(tmp_path)

    class Forbidden(OsFiles):
        def read(self, path: Path, offset: int = 0, length: int | None = None) -> bytes:
            if path == segments(tmp_path)[SEALED]:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return super().read(path, offset, length)

    with pytest.raises(PermissionError):
        list(check_log(tmp_path, Forbidden()))
    with pytest.raises(PermissionError):
        repair_log(tmp_path, Forbidden(), clock=FakeClock(RECEIVED))
    assert not list(tmp_path.glob("log/*damaged*"))


def test_repair_forgets_past_trouble(tmp_path: Path) -> None:
    """Trouble that has passed is forgotten by a repair.

    A disk that could not be read for a while, and can be again.
    """
    filled(tmp_path)
    path = segments(tmp_path)[SEALED]
    forget_index(tmp_path)
    with EventLog.open(
        tmp_path, clock=FakeClock(RECEIVED), writable=True, files=BadSectors(path, 0, 1), segment_bytes=SEGMENT_BYTES
    ) as log:
        assert log.damage
    assert repair_log(tmp_path, clock=FakeClock(RECEIVED)).gaps == ()
    with open_log(tmp_path) as log:
        assert log.damage == []
        [stream] = log.streams()
        assert len(log.read(stream.id, 1, 99)) == len(SEQS)


# --- records that look like something else --------------------------------------------------------------------------


def test_vendor_record_like_a_gap(tmp_path: Path) -> None:
    """A vendor's record that looks like a gap is not a gap."""
    raw = {"kind": "log.gap", "body": {"last_position": 10**9}, "more": {"kind": "log.gap"}}
    with open_log(tmp_path) as log:
        log.append([numbered(1, events.CarbsEntered(carbs_g=1.0), raw=raw), basal(2)])
        assert log.end == 2
    with open_log(tmp_path) as log:
        assert log.append([basal(3)]).first == 3
        assert [event.seq for event in log.events()] == [1, 2, 3]
    assert bad(tmp_path) == []


def test_index_of_other_history_same_length(tmp_path: Path) -> None:
    """An index of another history is rebuilt even if it is as long as the log.

    A segment that went back in time and grew again, with other events at the same positions.
    """
    filled(tmp_path, packed=False)
    path = last_segment(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    crc = int(lines[-2][8:16], 16)
    other = lines[-1][24:-2].replace(b'"rate_u_per_h":0.8', b'"rate_u_per_h":1.7')
    assert other != lines[-1][24:-2]
    path.write_bytes(b"".join(lines[:-1]) + frame(other, crc)[0])
    with open_log(tmp_path) as log:
        [stream] = log.streams()
        newest = log.newest(stream.id)
        assert newest is not None
        assert newest.body.rate_u_per_h == 1.7
        assert log.append([basal(SEQS[-1], 1.7)]).duplicates == 1
