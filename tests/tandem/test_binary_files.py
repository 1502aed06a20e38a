"""Binary history logs as files: every record once in every form; damage is reported with its byte, not read."""

from __future__ import annotations

import base64
import io
import json
from contextlib import nullcontext, suppress
from datetime import date, datetime, timezone
from itertools import chain

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tconnectsync import Batch, FileUnreadable, ImportOptions
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import simulate
from tconnectsync_tandem.files.binary import record_reader
from tconnectsync_tandem.files.binary.importer import read, recognises
from tconnectsync_tandem.files.binary.record_reader import RecordReader, is_text
from tests.support.binary_records import as_text, binary, record_of

NOW = datetime(2026, 6, 2, tzinfo=timezone.utc)
LATEST_S = 600_000_000
SIZE = 26


def some_records(count: int) -> list[bytes]:
    plan = SimulationPlan(seed=5, zone="America/New_York", start=date(2026, 3, 3), days=2, noise_codes=False)
    return [binary(entry) for entry in simulate(plan).records[:count]]


RECORDS = some_records(60)
PLAIN = b"".join(RECORDS)
LINES = as_text(RECORDS)


def batches(content: bytes, pump: str | None = "90556643", *, skip_bad: bool = False) -> list[Batch]:
    return list(read(io.BytesIO(content), ImportOptions(pump=pump, skip_bad=skip_bad, received_at=NOW)))


def reader_of(content: bytes, *, skip_bad: bool = False, piece: int = 1 << 16) -> RecordReader:
    chunks = (content[at : at + piece] for at in range(0, len(content), piece))
    return RecordReader(chunks=chunks, text=is_text(content[:65536]), latest_s=LATEST_S, skip_bad=skip_bad)


def split(content: bytes, *, skip_bad: bool = False, piece: int = 1 << 16) -> list[bytes]:
    return list(reader_of(content, skip_bad=skip_bad, piece=piece).records())


def byte_of(error: FileUnreadable) -> int:
    return int(error.message.split(":")[0].removeprefix("Byte ").replace(",", ""))


def split_or_byte(content: bytes) -> tuple[list[bytes], int | None]:
    """The records, or the byte that is reported."""
    try:
        return split(content), None
    except FileUnreadable as error:
        return [], byte_of(error)


def halves() -> list[str]:
    return [base64.b64encode(b"".join(part)).decode() for part in (RECORDS[:31], RECORDS[31:])]


FORMS = {
    "bytes": (PLAIN, 1),
    "base64": (base64.b64encode(PLAIN), 1),
    "base64 in lines": (LINES, 1),
    "narrow lines": (as_text(RECORDS, 7), 1),
    "JSON text, as the web service answered": (json.dumps(base64.b64encode(PLAIN).decode()).encode(), 1),
    "answers one after the other": ("\n".join(json.dumps(half) for half in halves()).encode(), 1),
    "answers without quotes": ("\n".join(halves()).encode(), 1),
    "a list of answers": (json.dumps(halves(), indent=2).encode(), 1),
    "byte order mark": (b"\xef\xbb\xbf" + LINES + b"\r\n", 1),
    "twice": (PLAIN + PLAIN, 2),
    "one record": (RECORDS[0], 0),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("piece", [1, 1000, 1 << 16])
def test_every_record_is_there(form: str, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    content, times = FORMS[form]
    monkeypatch.setattr(record_reader, "_ENOUGH", min(piece, record_reader._ENOUGH))
    assert split(content, piece=piece) == (RECORDS * times or RECORDS[:1])
    assert recognises(content[:65536])
    assert batches(content)[-1].note.startswith("pump 90556643, ")


def test_the_source_bits_name_nothing() -> None:
    """The same record over Bluetooth has another first bit."""
    [[event], [other]] = [
        batches(record_of(48, 5, 500_000_000, RECORDS[0][10:], source=bit))[0].events for bit in (0, 1)
    ]
    assert event == other


@pytest.mark.parametrize(
    "content",
    [
        b"", b"hello", b"<html>", b'{"events": []}', b"\x00" * 100, b"\xff" * 100, b"A" * 400, RECORDS[0][:25],
        b"t:connect,EventDateTime", b"PK\x03\x04" + bytes(100), b"\x89PNG\r\n\x1a\n" + bytes(90), b"\x1f\x8b\x08" + bytes(90),
        base64.b64encode(b"a text that somebody has encoded as base64, and that is no record of a pump"),
    ],
)  # fmt: skip
def test_other_files_are_not_recognised(content: bytes) -> None:
    assert not recognises(content)


def test_recognised_with_corrupt_first_record() -> None:
    """A file whose first record is corrupt is still recognised."""
    corrupted = b"\xff" * SIZE + PLAIN[SIZE:]
    assert recognises(corrupted)
    assert recognises(as_text([corrupted]))


@pytest.mark.parametrize("pump", [None, "", "../etc"])
def test_the_serial_number_is_asked_for(pump: str | None) -> None:
    with pytest.raises(FileUnreadable) as caught:
        batches(PLAIN, pump)
    assert "--pump SERIAL" in str(caught.value.remedy)


@pytest.mark.parametrize("content", [PLAIN, LINES, FORMS["answers one after the other"][0]])
def test_a_file_that_is_cut_anywhere_is_refused(content: bytes) -> None:
    whole = len(split(content))
    for size in range(1, len(content)):
        found, byte = split_or_byte(content[:size])
        assert found == RECORDS[: len(found)]  # none, or cut between two records or two answers
        assert byte is None or byte <= size
        assert len(split(content[:size], skip_bad=True)) <= whole


def test_of_a_cut_file_the_whole_records_can_be_taken() -> None:
    assert split(PLAIN[:-5], skip_bad=True) == RECORDS[:-1]
    # so little is left that bytes may be missing before it as well
    assert split(PLAIN[: 1 - SIZE], skip_bad=True) == RECORDS[:-4]


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("20171b33000000000001", "no pump record begins with 2017"),
        ("04001b33000000000001", "no pump record begins with 0400"),
        ("0117ffffffff00000001", "a record of 2144-02-07"),
        ("01170000000000000001", "a record of 2008-01-01 00:00"),
        ("01171b3300000fffffff", "a record with the number 268,435,455"),
    ],
)
def test_an_impossible_header_is_told_with_its_byte(header: str, words: str) -> None:
    content = PLAIN[: 20 * SIZE] + bytes.fromhex(header) + PLAIN[20 * SIZE + 10 :]
    with pytest.raises(FileUnreadable, match=f"^Byte 520: {words}"):
        split(content)
    with pytest.raises(
        FileUnreadable, match=rf"^Byte 71[0-4]: {words}"
    ):  # 520 bytes are 9 lines of 76 letters, and 10 letters
        split(as_text([content]))
    for form in (content, as_text([content])):
        reader = reader_of(form, skip_bad=True)
        assert list(reader.records()) == RECORDS[:19] + RECORDS[22:]  # damage may begin in one and end in another
        assert len(reader.skipped) == 1
    assert "corrupt parts were skipped at byte 520" in batches(content, skip_bad=True)[-1].note


@pytest.mark.parametrize("lost", [1, 3, 13, 25])
@pytest.mark.parametrize("where", [0, 5, 9, 10, 11, 25])
def test_missing_bytes(lost: int, where: int) -> None:
    """Missing bytes cost the records around them, and nothing is misread."""
    at = 20 * SIZE + where
    content = PLAIN[:at] + PLAIN[at + lost :]
    with pytest.raises(FileUnreadable, match=r"^Byte "):
        split(content)
    found = split(content, skip_bad=True)
    assert set(found) <= set(RECORDS)
    assert found[:17] == RECORDS[:17]
    assert found[-36:] == RECORDS[-36:]


@pytest.mark.parametrize("more", [1, 2, 25, 27])
def test_bytes_too_many_cost_the_records_around_them(more: int) -> None:
    at = 20 * SIZE + 11
    content = PLAIN[:at] + b"\xee" * more + PLAIN[at:]
    with pytest.raises(FileUnreadable, match=r"^Byte "):
        split(content)
    found = split(content, skip_bad=True)
    assert set(found) <= set(RECORDS)
    assert found[:18] + found[-37:] == RECORDS[:18] + RECORDS[-37:]


def test_letters_that_are_no_base64_cost_their_records() -> None:
    for place in (100, 555, 777):
        corrupted = LINES[:place] + b"*" + LINES[place + 1 :]
        with pytest.raises(FileUnreadable, match=f"^Byte {place}: not base64 text"):
            split(corrupted)
        reader = reader_of(corrupted, skip_bad=True)
        found = list(reader.records())
        assert set(found) <= set(RECORDS)
        assert len(found) in (len(RECORDS) - 3, len(RECORDS) - 4)
        assert reader.skipped[0] == place
    twice = LINES[:200] + b"*" + LINES[201:1200] + b"\xff" + LINES[1201:]
    assert len(split(twice, skip_bad=True)) >= len(RECORDS) - 8
    assert set(split(twice, skip_bad=True)) <= set(RECORDS)


def test_a_lost_line_of_text_costs_its_records() -> None:
    lines = LINES.split(b"\r\n")
    found = split(b"\n".join([*lines[:5], *lines[6:]]), skip_bad=True)
    assert set(found) <= set(RECORDS)
    assert len(found) >= len(RECORDS) - 7  # three that the line had, three before them and one after


@given(
    at=st.integers(8 * SIZE, 48 * SIZE),
    noise=st.binary(min_size=1, max_size=90),
    what=st.sampled_from(["cut", "noise", "again", "zeros", "other"]),
)
@settings(max_examples=500, deadline=None)
def test_a_damaged_place_is_never_misread(at: int, noise: bytes, what: str) -> None:
    """Missing, inserted, doubled and overwritten bytes that can be seen: in the file's length or in a header."""
    size = len(noise)
    right = RECORDS[2:]  # the first two are of years before
    content = b"".join(right)
    head, tail = content[:at], content[at:]
    changed = {
        "cut": head + tail[size:],
        "noise": head + noise + tail,
        "again": head + head[-size:] + tail,
        "zeros": head + bytes(size) + tail[size:],
        "other": head + noise + tail[size:],
    }[what]
    overwrites = what in ("zeros", "other")
    assume(size > SIZE + 10 if overwrites else size % SIZE)
    with pytest.raises(FileUnreadable):
        split(changed)
    found = split(changed, skip_bad=True)
    assert set(found) <= set(right)
    assert found[:4] == right[:4]
    assert found[-4:] == right[-4:]


def test_truncated_answer_before_another() -> None:
    """An answer that ends in the middle leaves the next one alone."""
    first, second = halves()
    content = json.dumps([first[:-6], second]).encode()
    with pytest.raises(FileUnreadable, match=r"^Byte "):
        split(content)
    found = split(content, skip_bad=True)
    assert found[-29:] == RECORDS[31:]
    assert set(found) <= set(RECORDS)


def test_a_pumps_clock_may_be_ahead_by_months_not_by_years() -> None:
    for year, fine in ((2027, True), (2028, False)):
        seconds = int((datetime(year, 3, 1) - datetime(2008, 1, 1)).total_seconds())
        content = record_of(48, 1, seconds, RECORDS[0][10:])
        if fine:
            assert batches(content)[0].events[0].pump_time == datetime(year, 3, 1)
        else:
            with pytest.raises(FileUnreadable, match="a record of 2028-03-01"):
                batches(content)


def test_corruption_told_when_looked_through() -> None:
    """Examining a file reports corruption, and needs a few events only."""
    options = ImportOptions(pump="90556643", skip_bad=False, received_at=NOW, check_only=True)
    some = [event for batch in read(io.BytesIO(PLAIN), options) for event in batch.events]
    assert some == list(batches(PLAIN)[0].events[:1])
    with pytest.raises(FileUnreadable, match="the record that begins there is truncated"):
        list(read(io.BytesIO(PLAIN[:-1]), options))


EDITS = st.lists(
    st.tuples(st.sampled_from(["cut", "put", "flip", "swap"]), st.floats(0, 1), st.binary(min_size=1, max_size=40)),
    max_size=4,
)


def edited(content: bytes, edits: list[tuple[str, float, bytes]]) -> bytes:
    for what, where, noise in edits:
        at, size = int(where * len(content)), len(noise)
        match what:
            case "cut":
                content = content[:at] + content[at + size :]
            case "put":
                content = content[:at] + noise + content[at:]
            case "flip":
                content = content[:at] + noise + content[at + size :]
            case _:
                content = content[at:] + content[:at]
    return content


@given(text=st.booleans(), edits=EDITS, skip_bad=st.booleans(), piece=st.sampled_from([64, 1 << 16]))
@settings(max_examples=300, deadline=None)
def test_whatever_happens_to_a_file_it_is_refused_or_read(
    text: bool, edits: list[tuple[str, float, bytes]], skip_bad: bool, piece: int
) -> None:
    content = edited(LINES if text else PLAIN, edits)
    reader = RecordReader(
        chunks=(content[at : at + piece] for at in range(0, len(content), piece)),
        text=text,
        latest_s=LATEST_S,
        skip_bad=skip_bad,
    )
    found = []
    with nullcontext() if skip_bad else suppress(FileUnreadable):
        found = list(reader.records())
    assert all(len(record) == SIZE for record in found)
    assert skip_bad or not reader.skipped
    assert all(0 <= position <= len(content) for position in reader.skipped)


@given(content=st.binary(max_size=300), skip_bad=st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_refused_or_decoded(content: bytes, skip_bad: bool) -> None:
    options = ImportOptions(pump="90556643", skip_bad=skip_bad, received_at=NOW)
    recognises(content)
    try:
        found = list(chain.from_iterable(batch.events for batch in read(io.BytesIO(content), options)))
    except FileUnreadable:
        assert not skip_bad
        return
    json.dumps([event.raw for event in found], allow_nan=False)


@given(code=st.integers(0, 1023), payload=st.binary(min_size=16, max_size=16))
@settings(max_examples=500, deadline=None)
def test_any_payload_gives_an_event_that_the_log_can_write(code: int, payload: bytes) -> None:
    [batch] = batches(record_of(code, 1, 500_000_000, payload))
    [event] = batch.events
    json.dumps(event.raw, allow_nan=False)
