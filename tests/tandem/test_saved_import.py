"""Saved answers as files: every entry once, whatever the file's form; damage is reported with its byte."""

from __future__ import annotations

import io
import json
from datetime import datetime, timezone
from typing import Any

import attrs
import pytest

from tconnectsync import Batch, FileUnreadable, ImportOptions
from tconnectsync_tandem.decode.event_factory import make_event
from tconnectsync_tandem.files import saved_reader
from tconnectsync_tandem.files.saved_import import read, recognises
from tests.tandem.fake_cloud import hourly

NOW = datetime(2026, 6, 2, tzinfo=timezone.utc)
ENTRIES = hourly(datetime(2026, 6, 1), 12)
ANSWER = json.dumps({"clockChanges": [], "new key": {"x": [1.5]}, "events": ENTRIES}).encode()


def batches(text: bytes, pump: str | None = "90556643", *, skip_bad: bool = False) -> list[Batch]:
    return list(read(io.BytesIO(text), ImportOptions(pump=pump, skip_bad=skip_bad, received_at=NOW)))


def numbers(text: bytes, *, skip_bad: bool = False) -> list[int | None]:
    return [event.seq for batch in batches(text, skip_bad=skip_bad) for event in batch.events]


SEQS = [entry["sequenceNumber"] for entry in ENTRIES]


@pytest.mark.parametrize(
    ("text", "times"),
    [
        pytest.param(ANSWER, 1, id="one"),
        pytest.param(ANSWER + b"\r\n" + ANSWER, 2, id="one after the other"),
        pytest.param(b"[" + ANSWER + b",\n" + ANSWER + b"]", 2, id="list"),
        pytest.param(b"\xef\xbb\xbf" + ANSWER, 1, id="byte order mark"),
        pytest.param(json.dumps(json.loads(ANSWER), indent=4).encode(), 1, id="indented"),
        pytest.param(b'{"events": [], "clockChanges": null}', 0, id="empty"),
        pytest.param(b"[]", 0, id="empty list"),
    ],
)
def test_every_entry_is_there(text: bytes, times: int) -> None:
    assert numbers(text) == SEQS * times
    assert recognises(text[:65536]) == (text != b"[]")


def test_a_record_is_what_the_source_makes_of_it() -> None:
    [batch] = batches(ANSWER)
    assert list(batch.events) == [make_event(raw, pump="90556643", received_at=NOW)[0] for raw in ENTRIES]


def test_truncated_file_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if it is read in small pieces."""
    monkeypatch.setattr(saved_reader, "_CHUNK", 50)
    text = b"[" + ANSWER[:-1] + b"}]"
    for size in range(1, len(text)):
        with pytest.raises(FileUnreadable, match=f"^Byte {size:,}: the file ends there"):
            batches(text[:size])
    assert numbers(text) == SEQS


def damaged(old: bytes, new: bytes) -> tuple[bytes, int]:
    at = ANSWER.index(old, len(ANSWER) // 2)
    return ANSWER[:at] + new + ANSWER[at + len(old) :], at


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'"eventCode"', b"eventCode", "not JSON"),
        (b'"eventCode"', b'"event\xff"', "not UTF-8"),
        (b'{"deviceAssignmentId"', b'7, {"deviceAssignmentId"', "not an object"),
        (b"}, {", b"} {", "next entry is missing"),
    ],
)
def test_corruption_told_with_its_byte(old: bytes, new: bytes, words: str) -> None:
    """Corruption is reported with its byte, and costs an entry at most."""
    text, at = damaged(old, new)
    with pytest.raises(FileUnreadable, match=words) as caught:
        batches(text)
    told = int(caught.value.message.split(":")[0].removeprefix("Byte ").replace(",", ""))
    assert at <= told <= at + len(new) + 1
    left = numbers(text, skip_bad=True)
    assert len(SEQS) - 1 <= len(left) <= len(SEQS)
    assert set(left) <= set(SEQS)
    assert "skipped at byte" in batches(text, skip_bad=True)[-1].note


@pytest.mark.parametrize(
    "text", [b"{}", b'{"events": 5}', b'{"clockChanges": []}', ANSWER + b"x", b'{"events": [' + b"[" * 100_000]
)
def test_another_shape_is_refused(text: bytes) -> None:
    with pytest.raises(FileUnreadable, match=r"^Byte "):
        batches(text)


@pytest.mark.parametrize("pump", [None, "", "../etc"])
def test_the_serial_number_is_asked_for(pump: str | None) -> None:
    with pytest.raises(FileUnreadable) as caught:
        batches(ANSWER, pump)
    assert "--pump SERIAL" in str(caught.value.remedy)


@pytest.mark.parametrize("text", [b"", b"hello", b"<html>", b'{"raw": {}}', b"sequenceNumber,events", b"\x00" * 100])
def test_other_files_are_not_recognised(text: bytes) -> None:
    assert not recognises(text)


def test_looking_through_a_file() -> None:
    """Examining a file needs a few events, and one of each device."""
    entries = hourly(datetime(2026, 6, 1), 3000)
    entries[1234]["deviceAssignmentId"] = "another"
    text = json.dumps({"events": entries}).encode()
    options = ImportOptions(pump="90556643", skip_bad=False, received_at=NOW)
    looked = list(read(io.BytesIO(text), attrs.evolve(options, check_only=True)))
    whole = list(read(io.BytesIO(text), options))
    assert [batch.note for batch in looked] == [batch.note for batch in whole]
    some, every = ([event for batch in found for event in batch.events] for found in (looked, whole))
    assert len(every) == 3000
    assert len(some) < 15
    assert set(map(repr, some)) <= set(map(repr, every))
    assert {(event.raw or {})["deviceAssignmentId"] for event in some} == {"another", entries[0]["deviceAssignmentId"]}
    with pytest.raises(FileUnreadable, match="the file ends there"):
        list(read(io.BytesIO(text[:-1]), attrs.evolve(options, check_only=True)))


def test_numbers_that_the_log_cannot_write_stay_text() -> None:
    raw: dict[str, Any] = {**ENTRIES[0], "big": 0}
    text = json.dumps({"events": [raw]}).replace('"big": 0', f'"big": {10**30}').encode()
    [batch] = batches(text)
    assert batch.events[0].raw["big"] == str(10**30)  # type: ignore[index]  # it has one
