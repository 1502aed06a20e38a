"""Impossible entries and answers, from the bytes of the answer to a line of the log and back."""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tconnectsync import Event, Retryable, SourceChanged, events
from tconnectsync.eventlog import EventLog
from tconnectsync.eventlog.codec import Codec
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import simulate
from tconnectsync_tandem.api.pumps import read_pumps
from tconnectsync_tandem.api.responses import split_answer, whole_answer
from tconnectsync_tandem.api.transport import BrokenAnswer
from tconnectsync_tandem.decode.event_factory import make_event
from tests.support.clocks import FrozenClock

NOW = datetime(2026, 3, 9, tzinfo=timezone.utc)
LIMITS = {"rate_u_per_h": 100, "delivered_u": 500, "requested_u": 500, "carbs_g": 65_535, "glucose_mg_dl": 1_500}
"""The highest number that a body may ever have: above it a dose would be wrong."""

ABSURD = [
    "null", "true", "false", "0", "-0", "-1", "1", "65535", "65536", "4294967295", "4294967296", "-2147483649", "9" * 25, "-" + "9" * 25,
    "9" * 5000, "1e5", "1e308", "1e999", "-1e999", "1e-999", "0.1", "NaN", "Infinity", "-Infinity", '""', '"0"', '"1.5"', '"NaN"', '"x"',
    '"\\u0000"', '"\\ud800"', '"\\udfff\\ud800"', '"' + "y" * 5000 + '"', '"2026-03-05T12:00:00"', '"2026-02-30T00:00:00"', '"0000-00-00T00:00:00"',
    '"9999-12-31T23:59:59"', '"2026-03-05T12:00:00+99:99"', "[]", "[0]", "[[[]]]", "[null]", "[-1]", "[1e999]", '["a"]', "[64, 63, 63]",
    "[" * 90 + "]" * 90, "{}", '{"a": 1}', '{"": null}', '{"kind": "log.gap", "body": {"last_position": 99999999999}}',
    '{"a":' * 80 + "1" + "}" * 80,
]  # fmt: skip
"""JSON texts of values, many of them invalid."""


@pytest.fixture(scope="module")
def entries() -> list[dict[str, Any]]:
    """One entry of each record id that the simulated pump writes, with its own values."""
    plan = SimulationPlan(seed=5, zone="America/New_York", start=date(2026, 3, 3), days=6)
    found = {entry["eventCode"]: entry for entry in [*simulate(plan).records, *simulate(plan).clock_changes]}
    assert len(found) > 25
    return [found[code] for code in sorted(found)]


def event_of(raw: Any) -> Event:
    event, _ = make_event(raw, pump="90556643", received_at=NOW)
    assert isinstance(event.body, events.BODIES[event.kind])
    for name, most in LIMITS.items():
        value = getattr(event.body, name, None)
        assert value is None or (math.isfinite(value) and 0 <= value <= most), (raw, name)
    return event


def stored(event: Event, codec: Codec = Codec()) -> None:  # noqa: B008 - it keeps nothing
    """It can be written to the log, and what is read is what was written."""
    draft = codec.draft(event)
    draft.entry.pos = 1
    record = codec.record(draft)
    read = codec.event(record)
    assert json.loads(record)["pos"] == 1
    assert (read.id, read.kind, read.pump_time, read.seq) == (event.id, event.kind, event.pump_time, event.seq)
    assert read.body == event.body
    assert codec.entry(record, 0).digest == draft.entry.digest


def with_value(entry: dict[str, Any], path: tuple[str, ...], text: str | None) -> bytes:
    """The entry as JSON, with ``text`` in place of the value at ``path`` (None: the key is gone)."""
    mark = "\N{WHITE SQUARE}here"
    changed = {**entry, "eventProperties": dict(entry["eventProperties"])}
    place = changed if len(path) == 1 else changed[path[0]]
    if text is None:
        place.pop(path[-1], None)
    else:
        place[path[-1]] = mark
    return json.dumps(changed).replace(json.dumps(mark), text or "").encode()


def places_of(entry: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    yield from ((key,) for key in entry)
    yield from (("eventProperties", key) for key in entry["eventProperties"])


def answered(*pieces: bytes) -> list[Any]:
    body = b'{"events":[' + b",".join(pieces) + b'],"clockChanges":[]}'
    return [value for _, value in split_answer(body, "events").entries()]


def test_any_value_is_kept(entries: list[dict[str, Any]]) -> None:
    """All in turn: missing, null, other types, absurd, too large, too deep, half a character."""
    rng = random.Random(7)
    for entry in entries:
        for path in places_of(entry):
            for text in [None, *(ABSURD if len(path) == 1 else rng.sample(ABSURD, 12))]:
                try:
                    values = answered(with_value(entry, path, text))
                except Retryable:
                    assert text in ("NaN", "Infinity", "-Infinity", "9" * 5000) or text is None
                    continue
                [raw] = values
                stored(event_of(raw))


def test_whole_entries_may_be_anything(entries: list[dict[str, Any]]) -> None:
    for text in ABSURD:
        with suppress(Retryable):
            for raw in answered(text.encode(), json.dumps(entries[0]).encode()):
                stored(event_of(raw))


@pytest.mark.parametrize("levels", [90, 300, 600, 850])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_entry_nested_too_deeply(entries: list[dict[str, Any]], levels: int, brackets: str) -> None:
    """Parsers are recursive: if one of them has room enough, the next one must have it too."""
    opening = brackets[0] + ('"a":' if brackets[0] == "{" else "")
    text = opening * levels + "1" + brackets[1] * levels
    good = json.dumps(entries[3]).encode().replace(b'"sequenceNumber": ', b'"sequenceNumber": 1')

    def deeper(room: int, raw: Any) -> None:
        if room:
            deeper(room - 1, raw)
        else:
            stored(event_of(raw))

    for path in (("estimatedDateTime",), ("sequenceNumber",), ("eventProperties",)):
        values = answered(good, with_value(entries[3], path, text))
        assert sum(event_of(raw).kind == event_of(entries[3]).kind for raw in values) >= 1
        for raw in values:
            for room in (0, 200, 500):
                deeper(room, raw)


def test_answer_no_parser_has_room_for(entries: list[dict[str, Any]]) -> None:
    """It is asked for again in smaller windows, so that it costs its own day."""
    with pytest.raises(BrokenAnswer):
        answered(with_value(entries[3], ("estimatedDateTime",), "[" * 100_000 + "]" * 100_000))


def test_answer_some_parsers_have_room_for(entries: list[dict[str, Any]]) -> None:
    """Python 3.12 and newer parse 2,000 levels. Then the record is stored like any other."""
    text = "[" * 2000 + "]" * 2000
    try:
        values = answered(with_value(entries[3], ("estimatedDateTime",), text))
    except BrokenAnswer:
        assert sys.version_info < (3, 12)
    else:
        for raw in values:
            stored(event_of(raw))


def test_one_odd_entry_costs_no_other(entries: list[dict[str, Any]]) -> None:
    good = json.dumps(entries[3]).encode()
    for text in ABSURD:
        found = answered(good, text.encode(), good.replace(b'"sequenceNumber": ', b'"sequenceNumber": 1'))
        assert sum(event_of(raw).kind == event_of(entries[3]).kind for raw in found) >= 2, text


@settings(max_examples=150, deadline=None)
@given(rng=st.randoms(use_true_random=False), text=st.binary(max_size=12))
def test_harmed_answers_are_read_or_refused_with_a_reason(
    entries: list[dict[str, Any]], rng: random.Random, text: bytes
) -> None:
    """Bytes changed, cut and inserted: half an answer never counts as a whole one with less in it."""
    chosen = rng.sample(entries, 4)
    body = bytearray(json.dumps({"events": chosen, "clockChanges": []}).encode())
    at = rng.randrange(len(body))
    cut = rng.random() < 0.3
    if cut:
        body = body[:at]
    elif rng.random() < 0.5:
        body[at] = rng.randrange(256)
    else:
        body[at:at] = text
    try:
        found = [value for _, value in split_answer(bytes(body), "events").entries()]
    except Retryable:
        return
    assert not cut, "half an answer"
    for raw in found:
        stored(event_of(raw))


@pytest.mark.parametrize("text", ABSURD)
def test_whole_answers_may_be_anything(text: str) -> None:
    """Refused with a message that is not "no data"."""
    for body in (
        text,
        f'{{"events": {text}}}',
        f'{{"events": [], "clockChanges": {text}}}',
        f'{{"pumps": {text}}}',
        f'{{"pumps": [{text}]}}',
    ):
        for read in (
            lambda body: list(split_answer(body, "events").entries()),
            lambda body: read_pumps(whole_answer(body, "list of pumps")),
        ):
            refusal: Retryable | None = None
            try:
                read(body.encode())
            except Retryable as error:
                refusal = error
            assert refusal is None or refusal.message
            assert not isinstance(refusal, SourceChanged) or refusal.remedy


PUMP: dict[str, Any] = {
    "assignmentId": "c3f0", "serialNumber": "90556643", "modelName": "t:slim X2", "softwareVersion": "7.8", "algorithm": "x",
    "lastUploadDate": "2026-03-05T12:00:00Z", "maxDateOfEvents": "2026-03-05T12:00:00", "patientName": "A Secret Name",
    "settings": {"uploadId": "12", "settingsHash": "AB" * 20, "uploadedTimeStamp": "2026-03-05T12:00:00", "details": {"a": 1, "email": "A Secret Name"}},
}  # fmt: skip


def test_a_pump_of_the_list_may_hold_anything() -> None:
    for keys in ([key] for key in (*PUMP, *PUMP["settings"])):
        for text in ABSURD:
            mark = "\N{WHITE SQUARE}here"
            changed = {**PUMP, "settings": dict(PUMP["settings"])}
            (changed if keys[0] in PUMP else changed["settings"])[keys[0]] = mark
            good = {**PUMP, "serialNumber": "111", "assignmentId": "other"}
            body = json.dumps({"pumps": [good, changed]}).replace(json.dumps(mark), text)
            with suppress(Retryable):
                pumps, *_ = read_pumps(whole_answer(body.encode(), "list of pumps"))
                assert "111" in {pump.serial for pump in pumps}
                assert (
                    "A Secret Name" not in json.dumps([attrs.asdict(pump) for pump in pumps], default=str)
                    or "details" in keys
                )


def test_log_of_absurd_entries(tmp_path: Path, entries: list[dict[str, Any]]) -> None:
    """All of it through the real log: revisions, an index built again, and every sink's folds."""
    from tconnectsync_nightscout.folds.fold_sets import folds_of
    from tconnectsync_nightscout.options import IobOptions, PumpEventsOptions, TreatmentsOptions

    rng = random.Random(3)
    made: list[Event] = []
    for number in range(400):
        entry = rng.choice(entries)
        path = rng.choice(list(places_of(entry)))
        with suppress(Retryable):
            made += [
                event_of(raw)
                for raw in answered(with_value({**entry, "sequenceNumber": 1000 + number}, path, rng.choice(ABSURD)))
            ]
    with EventLog.open(tmp_path, clock=FrozenClock(NOW), writable=True, segment_bytes=40_000) as log:
        log.append(made)
        ids = [event.id for event in log.events()]
        assert log.append(made).appended == 0, "the same again is the same"
    for path_ in tmp_path.glob("index*"):
        path_.unlink()
    with EventLog.open(tmp_path, clock=FrozenClock(NOW), writable=True, segment_bytes=40_000) as log:
        assert [event.id for event in log.events()] == ids
        assert log.append(made).appended == 0
        for stream in log.streams():
            found = log.read(stream.id, stream.first_key, stream.last_key)
            timed = [
                msgspec.structs.replace(event, at=event.pump_time.replace(tzinfo=timezone.utc) + timedelta(hours=5))
                for event in found
            ]
            for fold in (
                *folds_of(TreatmentsOptions()),
                *folds_of(IobOptions()),
                *folds_of(
                    PumpEventsOptions(announce=("occlusion",), alerts=True, control_modes=True, sensor_alerts=True)
                ),
            ):
                state, documents = fold.initial(), []
                for event in timed:
                    if event.kind in fold.kinds:
                        state, finished = fold.step(state, event)
                        documents += finished
                for document in (*documents, *fold.running(state)):
                    json.dumps(document.content, allow_nan=False)
                    assert 0 <= document.content.get("insulin", 0) <= 500
                    assert 0 <= document.content.get("absolute", 0) <= 100
