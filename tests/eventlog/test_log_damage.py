"""Whatever happens to the bytes of a log: it is found, reported exactly, and repaired without harming anything else."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from datetime import timedelta, timezone
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tconnectsync import events
from tconnectsync.errors import LogCorrupt
from tconnectsync.eventlog import EventLog
from tconnectsync.eventlog.check import check_log
from tconnectsync.eventlog.codec import Codec
from tconnectsync.eventlog.framing import DamagedRange, Line, frame, header_line, is_intact, walk
from tconnectsync.eventlog.gap_record import gap_event, gap_line
from tconnectsync.eventlog.repair import repair_log
from tests.eventlog.sample_events import RECEIVED, START, basal, keys, last_segment, numbered, upload
from tests.support.clocks import FakeClock


def open_log(data_dir: Path, *, writable: bool = True, segment_bytes: int = 4 << 20) -> EventLog:
    return EventLog.open(data_dir, clock=FakeClock(RECEIVED), writable=writable, segment_bytes=segment_bytes)


def filled(data_dir: Path, batches: list[list[events.Event]], segment_bytes: int = 4 << 20) -> None:
    with open_log(data_dir, segment_bytes=segment_bytes) as log:
        for batch in batches:
            log.append(batch)


def forget_index(data_dir: Path) -> None:
    for path in data_dir.glob("index.sqlite*"):
        path.unlink()


def segments(data_dir: Path) -> list[Path]:
    return sorted((data_dir / "log").glob("[0-9]*.jsonl*"))


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def bad(data_dir: Path) -> list[tuple[int | None, int | None, int | None]]:
    return [(line.line, line.position, line.last_position) for line in check_log(data_dir) if not line.good]


# --- lines ----------------------------------------------------------------------------------------------------------


def text_of(count: int) -> bytes:
    text, crc = header_line(1, "abc", 0)
    for position in range(1, count + 1):
        line, crc = frame(b'{"pos":%d,"x":"%d"}' % (position, position * 7), crc)
        text += line
    return text


def test_bit_flip_costs_neighbours_at_most() -> None:
    """Every bit flip is found and costs its neighbours at most."""
    text = text_of(6)
    line_of = [text.count(b"\n", 0, at) for at in range(len(text))]
    for bit in range(len(text) * 8):
        corrupted = bytearray(text)
        corrupted[bit // 8] ^= 1 << bit % 8
        items = list(walk(bytes(corrupted), 1))
        runs = [item for item in items if isinstance(item, DamagedRange)]
        assert len(runs) == 1, bit
        good = {item.position for item in items if isinstance(item, Line)}
        line = line_of[bit // 8]
        assert line not in good or line == 0
        assert set(range(1, 7)) - good <= {line, line + 1, line + 2}
        if text[bit // 8] != 10:
            assert set(range(1, 7)) - good <= {line}, "only the corrupt line is lost"
        assert runs[0].line - 1 == line


@given(
    chain=st.integers(0, 2**32 - 1),
    target=st.integers(0, 2**32 - 1),
    first=st.integers(1, 10**9),
    count=st.integers(0, 9),
)
def test_gap_record_before_any_line(chain: int, target: int, first: int, count: int) -> None:
    """A gap record can be put before any line."""
    codec = Codec()
    event = gap_event("id", first, first + count, side_file="x.damaged-1", now=RECEIVED)
    line = gap_line(event, codec, chain, target)
    assert is_intact(line, chain)
    assert int(line[8:16], 16) == target
    assert codec.event(line[24:-2]) == msgspec.structs.replace(event, pos=first)


# --- a torn end -----------------------------------------------------------------------------------------------------


def test_write_cut_at_any_byte(tmp_path: Path) -> None:
    """A write that was cut at any byte leaves the lines before it.

    The index had not seen the batch: it was never durable.
    """
    before = tmp_path / "before"
    filled(before, [[basal(1), basal(2)]])
    after = tmp_path / "after"
    shutil.copytree(before, after)
    filled(after, [[basal(3), upload("1")]])
    whole = last_segment(after).read_bytes()
    start = last_segment(before).stat().st_size
    for cut in [*range(start, len(whole), 3), len(whole) - 1]:
        work = tmp_path / "work"
        shutil.copytree(before, work)
        last_segment(work).write_bytes(whole[:cut])
        complete = whole[:cut].count(b"\n") - 1
        torn = whole[:cut].rpartition(b"\n")[2]
        with open_log(work) as log:
            assert log.end == complete
            assert len(log.notices) == (1 if torn else 0)
            assert [event.pos for event in log.events()] == list(range(1, complete + 1))
            log.append([basal(3), upload("1"), basal(4)])
            assert log.end == 5
        sides = list((work / "log").glob("torn-*"))
        assert [side.read_bytes() for side in sides] == ([torn] if torn else [])
        with open_log(work) as log:
            assert log.notices == ()
            assert keys(list(log.events(kinds=frozenset({"basal.delivered"})))) == [1, 2, 3, 4]
        assert bad(work) == []
        shutil.rmtree(work)


def test_first_start_cut_at_any_byte(tmp_path: Path) -> None:
    """A first start that was cut at any byte begins again."""
    filled(tmp_path, [])
    path = last_segment(tmp_path)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(whole[:cut])
        with open_log(tmp_path) as log:
            log.append([basal(1)])
            assert log.end == 1
        shutil.rmtree(tmp_path / "log")


def test_new_segment_cut_in_header(tmp_path: Path) -> None:
    """A new segment that was cut in its header is begun again."""
    filled(tmp_path, [[basal(seq)] for seq in range(1, 10)], segment_bytes=1000)
    last, previous = segments(tmp_path)[-1], segments(tmp_path)[-2]
    header = last.read_bytes().split(b"\n")[0]
    forget_index(tmp_path)
    last.write_bytes(header[:20])
    with open_log(tmp_path, segment_bytes=1000) as log:
        assert log.end == int(last.name[:12]) - 1
        log.append([basal(99)])
    assert previous.exists()
    assert bad(tmp_path) == []


def test_positions_not_reused(tmp_path: Path) -> None:
    """Positions that were known are not given again.

    A disk lost what it had confirmed: events that are fetched again get positions behind every cursor.
    """
    filled(tmp_path, [[basal(1), basal(2)], [basal(3), basal(4), basal(5)]])
    path = last_segment(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]) + lines[4][:30])
    with open_log(tmp_path) as log:
        assert log.end == 5
        assert len(log.notices) == 2
        [gap] = log.facts("log.gap")
        assert (gap.body.first_position, gap.body.last_position) == (4, 5)
        times = [(START + timedelta(minutes=minutes)).replace(tzinfo=timezone.utc) for minutes in (20, 25)]
        assert [gap.body.first_time, gap.body.last_time] == times
        [stream] = log.streams()
        assert keys(log.read(stream.id, 0, 9)) == [1, 2, 3]
        assert log.append([basal(4), basal(5)]).first == 6
    assert bad(tmp_path) == []
    with open_log(tmp_path) as log:
        assert log.notices == ()
        assert [event.pos for event in log.events()] == [1, 2, 3, 4, 6, 7]


# --- damage before the end ------------------------------------------------------------------------------------------


@pytest.fixture
def corrupted(tmp_path: Path) -> Path:
    """Line 4 of 7, position 3, has a flipped bit."""
    filled(tmp_path, [[basal(seq) for seq in range(1, 7)]])
    lines = last_segment(tmp_path).read_bytes().splitlines(keepends=True)
    flip(last_segment(tmp_path), 8 * (sum(map(len, lines[:3])) + 60))
    return tmp_path


def test_read_stops_at_corruption_only(corrupted: Path) -> None:
    """A read that needs a corrupt line stops; others continue."""
    with open_log(corrupted) as log:
        [stream] = log.streams()
        with pytest.raises(LogCorrupt) as raised:
            log.read(stream.id, 1, 6)
        assert (raised.value.line, raised.value.position) == (4, 3)
        assert "log check" in str(raised.value.remedy)
        assert keys(log.read(stream.id, 1, 2)) == [1, 2]
        assert keys(log.read(stream.id, 4, 6)) == [4, 5, 6]
        assert [(found.line, found.position) for found in log.damage] == [(4, 3)]
        assert log.append([basal(7)]).first == 7
        found = []
        with pytest.raises(LogCorrupt):
            found.extend(log.events())


def test_read_stops_with_rebuilt_index(corrupted: Path) -> None:
    """With a rebuilt index, a read that needs a corrupt line still stops.

    An event that cannot be read must not look as if it had never been there.
    """
    forget_index(corrupted)
    with open_log(corrupted) as log:
        [stream] = log.streams()
        with pytest.raises(LogCorrupt):
            log.read(stream.id, 1, 6)
        with pytest.raises(LogCorrupt):
            log.read(stream.id, 3, 3)
        assert keys(log.read(stream.id, 5, 6)) == [5, 6]
        assert log.damage


def test_repair_removes_corruption_only(corrupted: Path) -> None:
    """A repair removes the corrupt lines and nothing else."""
    before = last_segment(corrupted).read_bytes().splitlines(keepends=True)
    report = repair_log(corrupted, clock=FakeClock(RECEIVED))
    [gap] = report.gaps
    assert (gap.first_position, gap.last_position, report.unrepaired) == (3, 3, ())
    after = last_segment(corrupted).read_bytes().splitlines(keepends=True)
    assert after[:3] == before[:3]
    assert after[4:] == before[4:]
    assert (corrupted / "log" / gap.side_file).read_bytes().splitlines(keepends=True) == before
    assert bad(corrupted) == []
    with open_log(corrupted) as log:
        [record] = log.facts("log.gap")
        assert record.body.side_file == gap.side_file
        lost_at = (START + timedelta(minutes=15)).replace(tzinfo=timezone.utc)
        assert (record.body.first_time, record.body.last_time) == (lost_at, lost_at)
        [stream] = log.streams()
        assert keys(log.read(stream.id, 0, 9)) == [1, 2, 4, 5, 6]
        assert log.append([basal(seq) for seq in range(1, 7)]).appended == 1, "what is missing counts as absent"
        assert keys(log.read(stream.id, 0, 9)) == [1, 2, 3, 4, 5, 6]
        assert log.damage == []
    assert repair_log(corrupted, clock=FakeClock(RECEIVED)).gaps == ()


def test_gap_times_from_neighbours(corrupted: Path) -> None:
    """If the index cannot say when a gap was, its neighbours do."""
    forget_index(corrupted)
    repair_log(corrupted, clock=FakeClock(RECEIVED))
    with open_log(corrupted) as log:
        [record] = log.facts("log.gap")
    around = [(START + timedelta(minutes=minutes)).replace(tzinfo=timezone.utc) for minutes in (10, 20)]
    assert [record.body.first_time, record.body.last_time] == around


def test_gap_times_of_missing_segment(tmp_path: Path) -> None:
    """The gap of a missing segment says when it was."""
    filled(tmp_path, [[basal(seq)] for seq in range(1, 30)], segment_bytes=1500)
    _, second, third = (int(path.name[:12]) for path in segments(tmp_path)[:3])
    segments(tmp_path)[1].unlink()
    forget_index(tmp_path)
    [gap] = repair_log(tmp_path, clock=FakeClock(RECEIVED)).gaps
    assert (gap.first_position, gap.last_position) == (second, third - 1)
    with open_log(tmp_path) as log:
        [record] = log.facts("log.gap")
    around = [(START + timedelta(minutes=5 * seq)).replace(tzinfo=timezone.utc) for seq in (second - 1, third)]
    assert [record.body.first_time, record.body.last_time] == around


def test_corrupt_event_appended_again(corrupted: Path) -> None:
    """Corruption of an event costs one revision.

    Fetched again with other words, an event whose line is corrupt is written again and can be read.
    """
    with open_log(corrupted) as log:
        assert log.append([basal(3)]).duplicates == 1
        assert log.append([basal(3, 1.5)]).revisions == 1
        [stream] = log.streams()
        assert [event.body.rate_u_per_h for event in log.read(stream.id, 3, 3)] == [1.5]


def world(data_dir: Path) -> None:
    filled(
        data_dir, [[basal(seq), numbered(500 + seq, events.CarbsEntered(carbs_g=1.0))] for seq in range(1, 16)], 1500
    )


def corrupt_files(data_dir: Path, data: st.DataObject) -> None:
    """Bytes changed, cut out or put in, a file cut short or gone."""
    here = segments(data_dir)
    path = here[data.draw(st.integers(0, 99)) % len(here)]
    text = path.read_bytes()
    at, size = data.draw(st.integers(0, 9999)) % max(len(text), 1), data.draw(st.integers(1, 900))
    match data.draw(st.sampled_from(["change", "cut", "insert", "truncate", "remove"])):
        case "change":
            path.write_bytes(text[:at] + bytes(255 - byte for byte in text[at : at + size]) + text[at + size :])
        case "cut":
            path.write_bytes(text[:at] + text[at + size :])
        case "insert":
            path.write_bytes(text[:at] + b"\0" * size + text[at:])
        case "truncate":
            path.write_bytes(text[:at])
        case _ if len(here) > 2:
            path.unlink()


def bodies(found: Iterable[events.Event]) -> dict[str, object]:
    return {event.id: event.body for event in found if event.kind != "log.gap"}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_repair_of_any_corruption(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Any corruption can be repaired.

    Afterwards the log is whole, nothing wrong is in it, and what was lost is appended again.
    """
    data_dir = tmp_path_factory.mktemp("any")
    world(data_dir)
    with open_log(data_dir, segment_bytes=1500) as log:
        log.maintain(data.draw(st.integers(0, 2)))
        wanted = bodies(log.events())
    for _ in range(data.draw(st.integers(1, 3))):
        corrupt_files(data_dir, data)
    report = repair_log(data_dir, clock=FakeClock(RECEIVED))
    assert report.unrepaired == ()
    assert bad(data_dir) == []
    with open_log(data_dir, segment_bytes=1500) as log:
        assert bodies(log.events()).items() <= wanted.items(), "nothing corrupt is believed"
        log.append([basal(seq) for seq in range(1, 16)])
        log.append([numbered(500 + seq, events.CarbsEntered(carbs_g=1.0)) for seq in range(1, 16)])
        [stream] = log.streams()
        assert bodies(log.read(stream.id, 0, 999)) == wanted
    assert bad(data_dir) == []
    shutil.rmtree(data_dir)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_log_continues_with_any_corruption(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """With any corruption the log continues as far as it can.

    Without a repair: a read answers what was written or raises LogCorrupt, and new events can be appended.
    """
    data_dir = tmp_path_factory.mktemp("any")
    world(data_dir)
    with closing(open_log(data_dir, writable=False)) as log:
        wanted = bodies(log.events())
    for _ in range(data.draw(st.integers(1, 2))):
        corrupt_files(data_dir, data)
    if data.draw(st.booleans()):
        forget_index(data_dir)
    with suppress(LogCorrupt), open_log(data_dir, segment_bytes=1500) as log:
        log.append([basal(99), upload("later")])
        assert log.facts("upload.seen")
        log.maintain(9)
        [stream] = log.streams()
        assert [event.id for event in log.read(stream.id, 99, 99)] == [basal(99).id]
        for key in [*range(1, 16), *range(501, 516)]:
            with suppress(LogCorrupt):
                assert bodies(log.read(stream.id, key, key)).items() <= wanted.items()
    assert repair_log(data_dir, clock=FakeClock(RECEIVED)).unrepaired == ()
    assert bad(data_dir) == []
    shutil.rmtree(data_dir)


def test_strange_record(tmp_path: Path) -> None:
    """A record that no release wrote does not stop the rest.

    Its checksum is right, and it is no record.
    """
    filled(tmp_path, [[basal(1)]])
    path = last_segment(tmp_path)
    crc = int(path.read_bytes().splitlines()[-1][8:16], 16)
    path.write_bytes(path.read_bytes() + frame(b'{"pos":2,"id":5}', crc)[0])
    with open_log(tmp_path) as log:
        assert log.append([basal(3)]).first == 3
        assert [(damage.line, damage.position) for damage in log.damage] == [(3, 2)]
        with pytest.raises(LogCorrupt, match="cannot be read"):
            list(log.events())
        [stream] = log.streams()
        assert keys(log.read(stream.id, 3, 3)) == [3]


def test_check_names_line_and_positions(corrupted: Path) -> None:
    """The check names the line and its positions."""
    [line] = check_log(corrupted)
    assert not line.good
    assert (line.line, line.position, line.last_position) == (4, 3, 3)
    assert line.path == str(last_segment(corrupted))


def test_check_missing_segment(tmp_path: Path) -> None:
    """The check finds a missing segment."""
    filled(tmp_path, [[basal(seq)] for seq in range(1, 20)], segment_bytes=1000)
    gone = segments(tmp_path)[1]
    following = int(segments(tmp_path)[2].name[:12])
    gone.unlink()
    assert [found[1:] for found in bad(tmp_path)] == [(int(gone.name[:12]), following - 1)]


def test_check_of_no_log(tmp_path: Path) -> None:
    """The check of a folder without a log finds nothing."""
    assert list(check_log(tmp_path)) == []


def test_bit_flip_found_by_reading(tmp_path: Path) -> None:
    """Every bit flip is found by reading.

    A read either answers what was written or raises: never something else.
    """
    filled(tmp_path, [[basal(1), basal(2), basal(3)]])
    path = last_segment(tmp_path)
    whole = path.read_bytes()
    with closing(open_log(tmp_path, writable=False)) as log:
        [stream] = log.streams()
        written = log.read(stream.id, 1, 3)
        for bit in range(0, len(whole) * 8, 3):
            corrupted = bytearray(whole)
            corrupted[bit // 8] ^= 1 << bit % 8
            path.write_bytes(corrupted)
            for one in written:
                with suppress(LogCorrupt):
                    assert log.read(stream.id, one.seq or 0, one.seq or 0) == [one]


def test_corrupt_compressed_segment(tmp_path: Path) -> None:
    """A corrupt compressed segment is found."""
    filled(tmp_path, [[basal(seq)] for seq in range(1, 20)], segment_bytes=1000)
    with open_log(tmp_path, segment_bytes=1000) as log:
        log.maintain(1)
        written = {event.seq: event for event in log.events()}
    packed = segments(tmp_path)[0]
    assert packed.name.endswith(".gz")
    whole = packed.read_bytes()
    for bit in range(0, len(whole) * 8, 23):
        flip(packed, bit)
        with closing(open_log(tmp_path, writable=False)) as log:
            [stream] = log.streams()
            try:
                assert log.read(stream.id, 1, 2) == [written[1], written[2]]
            except LogCorrupt:
                assert bad(tmp_path)
        flip(packed, bit)


@pytest.fixture(autouse=True)
def _no_rest(tmp_path: Path) -> Iterator[None]:
    """No temporary file is left behind."""
    yield
    assert not list(tmp_path.rglob("*.tmp"))
