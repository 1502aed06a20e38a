"""Binary records become the entries that the JSON API gives for them, and so the same events."""

from __future__ import annotations

import io
import math
import struct
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tconnectsync import Event, ImportOptions
from tconnectsync.eventlog import EventLog
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import simulate
from tconnectsync_simulator.pump.records import profile_name, short_float
from tconnectsync_tandem.decode import decode
from tconnectsync_tandem.decode.entries import RECORDS
from tconnectsync_tandem.decode.event_factory import make_event
from tconnectsync_tandem.files.binary.importer import read
from tconnectsync_tandem.files.binary.layouts import LAYOUTS
from tconnectsync_tandem.files.binary.record import entry_of, is_partial, short
from tconnectsync_tandem.files.saved_import import read as read_saved
from tests.support.binary_records import MEMORY, binary, payload_of, record_of
from tests.support.clocks import FakeClock
from tests.tandem.fake_cloud import START, entry

NOW = datetime(2026, 6, 2, tzinfo=timezone.utc)
OPTIONS = ImportOptions(pump="90556643", skip_bad=False, received_at=NOW)
NOON = "2026-05-19T12:00:00"
NOON_S = int((datetime(2026, 5, 19, 12) - datetime(2008, 1, 1)).total_seconds())
UNEXPLAINED = (22, 23, 52, 219, 434)
NO_LAYOUT = 9
LATER = {61: {"infusionSetType"}, 212: {"sessionStartReason"}, 313: {"weightUnit", "weight", "currentTdIpop"}}
"""Properties that the JSON API has, and no binary layout."""


@pytest.fixture(scope="module")
def json_entries() -> list[dict[str, Any]]:
    """Nine days of a simulated pump, with a change of its clock, as the JSON API reports them."""
    pump = simulate(SimulationPlan(seed=5, zone="America/New_York", start=date(2026, 3, 3), days=9))
    return [*pump.records, *pump.clock_changes]


def as_api(found: dict[str, Any]) -> dict[str, Any]:
    """An entry without what a binary record has no place for."""
    return {key: value for key, value in found.items() if key not in ("deviceAssignmentId", "estimatedDateTime")}


def test_records_equal_json_entries(json_entries: list[dict[str, Any]]) -> None:
    """Every record of a pump is the entry that the JSON API gives."""
    codes = set()
    for one in json_entries:
        if one["eventCode"] in (NO_LAYOUT, *UNEXPLAINED):
            continue
        assert entry_of(binary(one)) == as_api(one)
        codes.add(one["eventCode"])
    assert {3, 279, 280, 64, 65, 66, 20, 55, 399, 5, 28, 13, 14, 33, 61, 63, 11, 12, 229, 230, 81, 16, 48} - codes == {
        3
    }


def test_the_events_are_those_of_the_same_records_as_json(json_entries: list[dict[str, Any]]) -> None:
    some = [one for one in json_entries if one["eventCode"] != NO_LAYOUT]
    records = b"".join(binary(one, bytes(16) if one["eventCode"] in UNEXPLAINED else None) for one in some)
    found = [event for batch in read(io.BytesIO(records), OPTIONS) for event in batch.events]
    assert len(found) == len(some) > 5_000
    for one, event in zip(some, found, strict=True):
        expected, _ = make_event(one, pump="90556643", received_at=NOW)
        assert same(event) == same(expected)


def same(event: Event) -> tuple[Any, ...]:
    """All of an event but the vendor's record."""
    return event.id, event.kind, event.pump, event.group, event.seq, event.pump_time, event.body, event.decoder


VALUES = {
    "rate": [-9, 127], "rssi": [-63], "egvTimeStamp": [NOON_S], "egvInfoBitmask": [[0, 5, 6, 7, 8, 11, 12], [1, 15]],
    "cgmDataType": [[0], [1]], "changeType": [[0], [1, 7]], "bolusType": [[0, 3], [4, 7]], "activeSleepSchedule": [[], [0, 3]],
    "featuresBitmask": [[], [1, 31]], "featureBitmaskIndex": [[0]], "configABits": [[0, 16]], "configBBits": [[]],
    "ruleState": [[0], [2]], "activeDays": [[0, 6]], "modifiedField": [[1], [0, 2]], "liPoCurrent": [-120, 300],
}  # fmt: skip
FLOATS = [0, 1, -1, 0.3, 1.0332867, 0.89000005, 8.330001, 347.5515, 185.6]
STATUS_BITS = {140, 203}
PLAIN = {(211, "cgmDataType"), (64, "bolusType")}
"""Fields that are numbers here and sets of bits in other records."""


def values_of(code: int) -> list[dict[str, Any]]:
    """Property values for a record. Each field has its own value, so that two swapped fields are noticed."""
    form, *names = MEMORY[code].split()
    kinds = [mark for mark in form[1:].replace("2x", "").replace("3x", "").replace("4x", "") if mark != "x"]
    found = []
    for turn in range(3):
        said: dict[str, Any] = {}
        for place, (name, kind) in enumerate(zip(names, kinds, strict=True), start=1):
            choices: list[Any] = VALUES.get(name, [])
            if (code, name) in PLAIN:
                choices = []
            if code in STATUS_BITS and (name.endswith("Status") or name == "status") and name != "fmrStatus":
                choices = [[place], [0, 10 + place]]
            if not choices and kind == "f":
                choices = [FLOATS[(place + turn * 3) % len(FLOATS)]]
            top = {"B": 2**8, "H": 2**16, "I": 2**32}.get(kind, 0)
            said[name] = choices[turn % len(choices)] if choices else (place, top - 1 - place, top // 3 + place)[turn]
        found.append(said)
    return found


@pytest.mark.parametrize("code", sorted(MEMORY))
def test_layouts(code: int) -> None:
    """Every layout reads its fields where the pump wrote them."""
    for said in values_of(code):
        found = entry_of(record_of(code, 7, NOON_S, payload_of(code, said), source=1))
        properties = found["eventProperties"]
        later = {name: value for name, value in properties.items() if name not in said}
        assert {name: properties[name] for name in said} == said
        assert set(later) <= LATER.get(code, set()) | {f"name{place}" for place in range(16)}
        assert set(later.values()) <= {0}
        assert "payload" not in found
        assert (found["eventCode"], found["sequenceNumber"], found["pumpDateTime"]) == (code, 7, NOON)


def test_every_layout_with_fields_was_written_down_twice() -> None:
    assert {code for code, line in LAYOUTS.items() if line} == set(MEMORY)
    assert {code for code, line in LAYOUTS.items() if not line} == set(UNEXPLAINED)


@pytest.mark.parametrize("code", sorted(MEMORY))
def test_every_layout_has_a_decoder_that_knows_all_of_it(code: int) -> None:
    said = values_of(code)[0]
    if "egvTimeStamp" in said:
        said["currentGlucoseDisplayValue"] = 120
    raw = entry_of(record_of(code, 7, NOON_S, payload_of(code, said)))
    kind, body, notes = RECORDS[code].read(raw["eventProperties"], datetime.fromisoformat(NOON))
    assert kind != "unknown", body
    assert [note for note in notes if note.startswith("new")] == []


def test_temporary_rates_are_told() -> None:
    raw = entry_of(bytes.fromhex("10021feea3c30000a20942ca0000495bba00000f000200000000"))
    kind, body = decode(raw)
    assert (kind, body.temp_rate_id, body.percent, body.duration_s) == ("temp_basal.started", 15, 101, 900)
    kind, body = decode(entry_of(bytes.fromhex("100f204f03280000f1f900610008000dbba00000000000000000")))
    assert (kind, body.temp_rate_id, body.time_left_s) == ("temp_basal.ended", 97, 900)


def test_what_no_property_says_is_kept_beside_them() -> None:
    raw = entry_of(bytes.fromhex("10021feea3c30000a20942ca0000495bba00000f000200000000"))
    assert raw["payload"] == "42ca0000495bba00000f000200000000"
    assert is_partial(raw)
    unheard_of = entry_of(record_of(777, 1, NOON_S, b"any 16 bytes ..."))
    assert unheard_of["eventProperties"] is None
    assert bytes.fromhex(unheard_of["payload"]) == b"any 16 bytes ..."
    assert decode(unheard_of)[0] == "unknown"


def test_property_without_place() -> None:
    """A property without a place is 0 only if nothing else can be it."""
    plain = {"pumpControlState": 3, "usermode": 1, "sensorType": 3}
    later = {"weightUnit": 0, "weight": 0, "currentTdIpop": 0}
    whole = record_of(313, 1, NOON_S, payload_of(313, plain))
    assert entry_of(whole)["eventProperties"] == plain | later
    more = entry_of(whole[:-1] + b"\1")
    assert more["eventProperties"] == plain
    assert is_partial(more)


def test_a_profiles_name_is_not_guessed() -> None:
    kind, body = decode(entry_of(record_of(69, 1, NOON_S, b"\0\1\2\3" + bytes(4) + b"roop" + bytes(4))))
    assert (kind, body.values) == ("pump.noted", {"profile_slot": 3, "status": "delete", "source_profile_slot": 1})


FULLER: dict[int, tuple[bytes, dict[str, Any]]] = {
    9: (bytes(15) + b"\1", {"abc": 79, "ibc": 83}),
    57: (payload_of(57, {"idp": 1, "name8": 97, "name9": 98}), {"idp": 1, **profile_name(8, "Weekdays ab")}),
    69: (
        payload_of(69, {"idp": 1, "status": 3, "sourceIdp": 0, "name0": 97}),
        {"idp": 1, "status": 3, "sourceIdp": 0, **profile_name(0, "a")},
    ),
    212: (
        payload_of(212, {"currentTransmitterTime": 9, "sessionStartTime": 5, "sessionDuration": 10})[:-2] + b"\x05\x0a",
        {"currentTransmitterTime": 9, "sessionStartTime": 5, "sessionDuration": 10, "sessionStartReason": 5},
    ),
    313: (
        payload_of(313, {"pumpControlState": 3, "usermode": 1, "sensorType": 3})[:-1] + b"\x2a",
        {"pumpControlState": 3, "usermode": 1, "sensorType": 3, "weightUnit": 2, "weight": 70, "currentTdIpop": 42},
    ),
}
"""Records about which the JSON API has more: the older form's payload, and the JSON's properties."""


@pytest.mark.parametrize("code", FULLER)
@pytest.mark.parametrize("first", ["binary", "json"])
def test_the_fuller_telling_wins_whichever_came_first(code: int, first: str, tmp_path: Path) -> None:
    payload, properties = FULLER[code]
    part, _ = make_event(entry_of(record_of(code, 7, NOON_S, payload)), pump="90556643", received_at=NOW)
    full, _ = make_event(entry(code, 7, NOON, properties), pump="90556643", received_at=NOW)
    assert is_partial(part.raw or {})
    assert not is_partial(full.raw or {})
    assert part.id == full.id
    with EventLog.open(tmp_path, clock=FakeClock(START), writable=True) as log:
        for event in (part, full) if first == "binary" else (full, part):
            log.append([event])
        [stream] = log.streams()
        [best] = log.read(stream.id, 7, 7)
        assert (best.kind, best.body, best.raw) == (full.kind, full.body, full.raw)


@pytest.mark.parametrize("code", [156, 216, 217, 390, 395])
def test_what_a_sensor_is_paired_with_is_never_kept(code: int) -> None:
    secret = b"9117 SECRET CODE"
    [batch] = read(io.BytesIO(record_of(code, 1, NOON_S, secret)), OPTIONS)
    [event] = batch.events
    assert (event.kind, event.seq) == ("unknown", 1)
    assert event.raw is not None
    assert event.raw.keys() == {"eventCode", "sequenceGroup", "sequenceNumber", "pumpDateTime", "eventProperties"}
    assert secret.hex() not in repr(event)
    spelled = [entry(code, 1, NOON, {"code": "9117"}), entry(code, 1, NOON, {}) | {"eventproperties": {"code": "9117"}}]
    spelled.append({"EventCode": str(code), "sequenceNumber": 1, "x": "9117"})
    for raw in spelled:
        event, _ = make_event(raw, pump="90556643", received_at=NOW)
        assert event.kind == "unknown"
        assert "9117" not in repr(event)
    text = repr(list(read_saved(io.BytesIO(b'{"events": [{"eventCode": %d, "code": "9117"}]}' % code), OPTIONS)))
    assert "9117" not in text


@given(number=st.floats(width=32))
@settings(max_examples=300)
def test_a_float_has_as_many_digits_as_it_needs(number: float) -> None:
    found = short(number)
    if not math.isfinite(number):
        assert isinstance(found, str)
        return
    assert struct.pack("f", found) == struct.pack("f", number + 0.0 if number else 0.0)
    assert found == short_float(number)
    assert isinstance(found, float if abs(found) >= 2**53 or found % 1 else int)
