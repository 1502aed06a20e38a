"""Answers with missing, new or strange parts: what can be read is read, the rest is kept and reported."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tconnectsync import SourceChanged
from tconnectsync_tandem.api.pumps import read_pumps
from tconnectsync_tandem.api.responses import LAST_PLACE, split_answer, whole_answer
from tconnectsync_tandem.api.transport import BrokenAnswer, BrokenShape
from tconnectsync_tandem.decode.event_factory import make_event
from tests.support.memory_log import MemoryLog
from tests.tandem.fake_cloud import SERIAL, START, CloudPump, FakeCloudFault, TandemHarness, basal, entry


def test_missing_clock_changes_are_told_and_cost_no_events(harness: TandemHarness) -> None:
    harness.cloud.pumps[0].records = [basal(1, "2026-11-20T00:00:00")]
    harness.cloud.faults.append(
        FakeCloudFault("pump-logs", times=99, change=lambda answer: {"events": answer["events"]})
    )
    with pytest.raises(SourceChanged, match="no clockChanges"):
        harness.poll()
    assert harness.log.numbered() == [1]
    assert len(harness.log.of("window.fetched")) == 2


def test_null_clock_changes_and_new_keys_are_tolerated(
    harness: TandemHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.cloud.pumps[0].records = [basal(1, "2026-11-20T00:00:00")]
    new = {"clockChanges": None, "nextPage": "abc"}
    harness.cloud.faults.append(FakeCloudFault("pump-logs", times=99, change=lambda answer: {**answer, **new}))
    harness.poll()
    assert harness.log.numbered() == [1]
    assert caplog.text.count("new key nextPage") == 1


def test_entry_without_identity(harness: TandemHarness) -> None:
    """An entry without identity is kept under its content."""
    odd: list[Any] = [
        basal(1, "2026-11-20T00:00:00"),
        {**basal(2, "2026-11-20T00:05:00"), "sequenceNumber": None},
        {**basal(3, "2026-11-20T00:10:00"), "eventCode": "279"},
        {**basal(4, "2026-11-20T00:15:00"), "pumpDateTime": "yesterday"},
        {"eventCode": 20},
        "text",
        None,
        7,
        [],
    ]
    harness.cloud.faults.append(
        FakeCloudFault(
            "pump-logs", times=99, change=lambda answer: {"events": odd, "clockChanges": answer["clockChanges"]}
        )
    )
    with pytest.raises(SourceChanged, match="cannot be read"):
        harness.poll()
    assert harness.log.numbered() == [1, 3]  # a number as text is readable
    unknown = harness.log.of("unknown")
    assert len(unknown) == 7
    assert {event.id.split(":")[2] for event in unknown} == {"odd"}
    assert all(event.seq is None and event.group is None and event.raw for event in unknown)
    source = harness.running_source
    assert all(source.decode(event.raw or {}) == (event.kind, event.body) for event in unknown)


def test_unknown_code(harness: TandemHarness, caplog: pytest.LogCaptureFixture) -> None:
    """An unknown code is kept unchanged, counted once and reported once."""
    harness.cloud.pumps[0].records = [
        entry(999, 5, "2026-11-20T00:00:00", {"x": 1}),
        entry(999, 6, "2026-11-20T00:01:00", {}),
    ]
    harness.poll()
    harness.clock.advance(hours=7)
    harness.poll()
    assert [(event.seq, event.body.code, event.body.reason) for event in harness.log.of("unknown")] == [
        (5, "999", "no such code"),
        (6, "999", "no such code"),
    ]
    assert caplog.text.count("unknown_code code=999") == 1


def test_new_property(harness: TandemHarness, caplog: pytest.LogCaptureFixture) -> None:
    """A new property is reported once, and the record is still read."""
    records = [basal(seq, f"2026-11-20T00:0{seq}:00") for seq in range(3)]
    for record in records:
        record["eventProperties"]["flavour"] = 1
        record["shelf"] = 2
    harness.cloud.pumps[0].records = records
    harness.poll()
    assert len(harness.log.of("basal.delivered")) == 3
    assert caplog.text.count("new property flavour") == 1
    assert caplog.text.count("new key shelf") == 1


@pytest.mark.parametrize(
    "text",
    [
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        b"9" * 400,
        b'"\\ud800"',
        b'"\xff\xfe"',
        b'"\\u0000"',
        b"18446744073709551616",
    ],
)
def test_values_no_log_can_hold(text: bytes) -> None:
    """Values that no log can hold cost their own entry at most."""
    good = json.dumps(basal(1, "2026-11-20T00:00:00")).encode()
    bad = (
        json.dumps(basal(2, "2026-11-20T00:05:00"))
        .encode()
        .replace(b'"commandedRate": 1000', b'"commandedRate": ' + text)
    )
    body = b'{"events": [' + bad + b", " + good + b'], "clockChanges": []}'
    log = MemoryLog()
    made = [make_event(raw, pump=SERIAL, received_at=START)[0] for _, raw in split_answer(body, "events").entries()]
    log.append(made)
    assert [event.kind for event in made] == ["basal.delivered", "unknown"]
    assert [event.seq for event in made] == [1, 2]


def test_deep_nesting_costs_its_own_entry_at_most() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    with pytest.raises((BrokenAnswer, BrokenShape)):
        split_answer(b'{"events": ' + deep + b"}", "events")
    with pytest.raises((BrokenAnswer, BrokenShape)):
        whole_answer(deep, "list of pumps")


def test_clock_change_in_both_arrays() -> None:
    """The same clock change in both arrays comes once, but repeats in ``events`` stay."""
    change = entry(13, 95, "2025-07-20T04:38:28", {"timePrior": 0, "timeAfter": 5})
    events = [change, basal(1, "2026-11-20T00:00:00"), basal(1, "2026-11-20T00:00:00", 2000)]
    body = json.dumps({"events": events, "clockChanges": [change]}).encode()
    assert [place for place, _ in split_answer(body, "events").entries()] == [(0, 1), (0, 1), (0, 95)]


def test_order_of_entries() -> None:
    """Entries come by group and number, and those without a place last."""
    odd = ["no entry", {"sequenceNumber": None}, {"sequenceNumber": 2**63}, {"sequenceNumber": -(2**70)}]
    placed = [{"sequenceGroup": group, "sequenceNumber": number} for group, number in ((1, 2), (0, 9), (1, -1), (0, 3))]
    body = json.dumps({"events": [*odd, *placed], "clockChanges": []}).encode()
    found = list(split_answer(body, "events").entries())
    assert [place for place, _ in found[:4]] == [(0, 3), (0, 9), (1, -1), (1, 2)]
    assert [entry["sequenceNumber"] for _, entry in found[:4]] == [3, 9, -1, 2]
    assert len(found) == 8
    assert {place for place, _ in found[4:]} == {LAST_PLACE}


def test_pumps_are_read_one_by_one_and_odd_ones_skipped() -> None:
    good = CloudPump().listed()
    listed = [
        None,
        5,
        {},
        {**good, "serialNumber": None},
        {**good, "assignmentId": " "},
        good,
        {**good, "serialNumber": "a:b"},
    ]
    found = read_pumps({"pumps": listed})
    assert [pump.serial for pump in found.pumps] == ["1111111"]
    assert found.skipped == 6
    assert [pump.missing for pump in found.hidden] == ["no serial number", "no assignment", "no serial number"]
    assert [pump.serial for pump in read_pumps({"pumps": [{**good, "serialNumber": 90556643}]}).pumps] == ["90556643"]
