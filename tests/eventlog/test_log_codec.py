"""What is read is what was written."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import cattrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tconnectsync import events
from tconnectsync.eventlog.body_codec import body_codecs
from tconnectsync.eventlog.codec import Codec
from tconnectsync.eventlog.json_safe import json_safe
from tconnectsync.events import BODIES, Event
from tests.eventlog.sample_events import basal, upload

CODEC = Codec()
AWARE = {
    ("upload.seen", "uploaded_at"),
    ("window.fetched", "uploaded_at"),
    ("log.gap", "first_time"),
    ("log.gap", "last_time"),
}

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
floats = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(2**63), 2**63 - 1)
naive = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1))
zones = st.sampled_from([timezone.utc, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-8))])
aware = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=zones)
json_values = st.recursive(
    st.none() | st.booleans() | integers | floats | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(texts, json_values, max_size=4)

BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "float": floats,
    "int": integers,
    "str": texts,
    "bool": st.booleans(),
    "datetime": naive,
    "tuple[str, ...]": st.lists(texts, max_size=3).map(tuple),
    "Mapping[str, Any]": objects,
}


def bodies(kind: str) -> st.SearchStrategy[Any]:
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for field in msgspec.structs.fields(BODIES[kind]):
        written = str(BODIES[kind].__annotations__[field.name])
        base = written.removesuffix(" | None")
        strategy = aware if (kind, field.name) in AWARE else BY_TYPE[base]
        fields[field.name] = st.none() | strategy if written != base else strategy
    return st.builds(BODIES[kind], **fields)


@st.composite
def any_event(draw: st.DrawFn) -> Event:
    kind = draw(st.sampled_from(sorted(BODIES)))
    seq = draw(st.none() | st.integers(0, 2**40))
    return Event(
        id=draw(texts),
        kind=kind,
        pump=draw(texts),
        group=None if seq is None else draw(st.none() | st.integers(0, 9)),
        seq=seq,
        pump_time=draw(naive),
        source=draw(texts),
        received_at=draw(aware),
        body=draw(bodies(kind)),
        raw=draw(st.none() | objects),
        decoder=draw(st.integers(0, 99)),
    )


@settings(max_examples=100, deadline=None)
@given(event=any_event(), position=st.integers(1, 2**40))
def test_codec_round_trip(event: Event, position: int) -> None:
    """Every event reads back as it was written."""
    draft = CODEC.draft(event)
    draft.entry.pos, draft.entry.offset = position, 17
    record = CODEC.record(draft)
    assert CODEC.event(record) == msgspec.structs.replace(event, pos=position)
    assert CODEC.entry(record, 17) == draft.entry
    assert CODEC.rank(CODEC.event(record)) == CODEC.rank(event)


@pytest.mark.parametrize("kind", sorted(BODIES))
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_codec_every_kind(kind: str, data: st.DataObject) -> None:
    """Every kind of event reads back."""
    body = data.draw(bodies(kind))
    event = msgspec.structs.replace(basal(1), kind=kind, body=body)
    assert CODEC.event(CODEC.record(CODEC.draft(event))).body == body


kinds = st.sampled_from(sorted(BODIES))
REFERENCE = cattrs.Converter()
REFERENCE.register_unstructure_hook(datetime, lambda at: at if at.tzinfo is None else at.astimezone(timezone.utc))


@settings(max_examples=100, deadline=None)
@given(data=st.data(), kind=kinds)
def test_codec_body_bytes(data: st.DataObject, kind: str) -> None:
    """Each body is written as cattrs and msgspec write it: always written fields first, None left out. Hashes depend on it."""
    body = data.draw(bodies(kind))
    optional = {field.name for field in msgspec.structs.fields(BODIES[kind]) if field.default is None}
    found = REFERENCE.unstructure(msgspec.structs.asdict(body))
    ordered = sorted(found, key=lambda name: name in optional)
    expected = {name: found[name] for name in ordered if name not in optional or found[name] is not None}
    draft = CODEC.draft(msgspec.structs.replace(basal(1), kind=kind, body=body))
    assert draft.body == msgspec.json.encode(expected)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), kind=kinds)
def test_codec_check_as_reading(data: st.DataObject, kind: str) -> None:
    """What is accepted when a body is written can be read as an event, and nothing else."""
    read = body_codecs()[kind].read
    draft = CODEC.draft(msgspec.structs.replace(basal(1), kind=kind, body=data.draw(bodies(kind))))
    found = json.loads(draft.body)
    names = [field.name for field in msgspec.structs.fields(BODIES[kind])]
    found |= data.draw(st.dictionaries(st.sampled_from(names), json_values, max_size=2)) if names else {}
    for name in data.draw(st.lists(st.sampled_from(names), max_size=2)) if names else ():
        found.pop(name, None)
    text = json.dumps(data.draw(st.sampled_from([found, found, found, [], None]))).encode()
    record = CODEC.record(draft).replace(b'"body":' + draft.body, b'"body":' + text)
    try:
        expected = read(text)
    except msgspec.MsgspecError as error:
        expected = events.Unknown(code=kind, reason=f"body: {error}")
    assert CODEC.event(record).body == expected


def written(event: Event) -> dict[str, Any]:
    draft = CODEC.draft(event)
    draft.entry.pos = 42
    found: dict[str, Any] = json.loads(CODEC.record(draft))
    return found


def test_codec_documented_record() -> None:
    """A record is what the documentation shows."""
    event = msgspec.structs.replace(basal(98765), pump_time=datetime(2025, 11, 18, 13, 12, 40))
    assert list(written(event).items()) == [
        ("pos", 42),
        ("id", "tandem:123:0:98765"),
        ("kind", "basal.delivered"),
        ("pump", "123"),
        ("group", 0),
        ("seq", 98765),
        ("pump_time", "2025-11-18T13:12:40"),
        ("received_at", "2025-03-02T09:30:15Z"),
        ("source", "tandem"),
        ("decoder", 1),
        ("body", {"rate_u_per_h": 0.8, "rate_source": "unknown"}),
        ("raw", {"n": 98765, "r": 0.8}),
    ]


def test_codec_times() -> None:
    """Moments are UTC, and pump times have no zone."""
    east = timezone(timedelta(hours=2))
    body = events.UploadSeen(
        uploaded_at=datetime(2025, 5, 1, 12, 0, tzinfo=east), newest_pump_time=datetime(2025, 5, 1, 11, 59)
    )
    event = msgspec.structs.replace(
        upload("1"), body=body, received_at=datetime(2025, 5, 1, 14, 0, 0, 250_000, tzinfo=east)
    )
    record = written(event)
    assert record["received_at"] == "2025-05-01T12:00:00.250000Z"
    assert record["body"] == {"uploaded_at": "2025-05-01T10:00:00Z", "newest_pump_time": "2025-05-01T11:59:00"}


def test_codec_later_release() -> None:
    """Reading tolerates what a later release may add."""
    record = written(basal(1))
    record["later"] = {"x": 1}
    record["body"]["rate_of_something"] = 4
    assert CODEC.event(json.dumps(record).encode()).body == basal(1).body


def test_codec_record_without_decoder() -> None:
    """A record without a decoder version counts as the first one."""
    record = written(basal(1))
    del record["decoder"]
    assert CODEC.event(json.dumps(record).encode()).decoder == 1
    assert CODEC.entry(json.dumps(record).encode(), 0).decoder == 1


@pytest.mark.parametrize("change", [{"kind": "moon.phase_changed"}, {"body": {"rate_u_per_h": "fast"}}, {"body": {}}])
def test_codec_unreadable_body(change: dict[str, Any]) -> None:
    """A body that cannot be read becomes "unknown", with the reason."""
    record = {**written(basal(1)), **change}
    event = CODEC.event(json.dumps(record).encode())
    assert event.kind == "unknown"
    assert event.body.code == record["kind"]
    assert event.body.reason
    assert event.raw == record["raw"]
    assert CODEC.entry(json.dumps(record).encode(), 0).kind == "unknown"


def test_codec_unwritable_fact() -> None:
    """A fact that cannot be written is a bug of ours."""
    event = msgspec.structs.replace(upload("1"), body=events.CarbsEntered(carbs_g=1.0))
    with pytest.raises(ValueError, match=r"upload\.seen"):
        CODEC.draft(event)


def test_raw_of_what_became_unknown() -> None:
    """An event of a kind that only a later release knows has its vendor's record, also where known ones lack it."""
    codec = Codec()
    draft = codec.draft(basal(7))
    draft.entry.pos = 1
    record = codec.record(draft)
    later = record.replace(b'"kind":"basal.delivered"', b'"kind":"basal.of_later"')
    assert (codec.event(later, with_raw=False).kind, codec.event(later, with_raw=False).raw) == (
        "unknown",
        basal(7).raw,
    )
    assert codec.event(record, with_raw=False).raw is None


def test_codec_not_json() -> None:
    """A value that JSON cannot hold is kept as text."""
    assert json_safe({1: "\ud800", "n": [1 << 80, True, 1.5, None], "o": {3}}) == {
        "1": "\\ud800",
        "n": [str(1 << 80), True, 1.5, None],
        "o": "{3}",
    }
