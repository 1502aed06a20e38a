"""Any absurd value anywhere in an answer, by chance."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tconnectsync import SourceChanged
from tconnectsync_tandem.api.pumps import read_pumps
from tconnectsync_tandem.api.responses import whole_answer
from tconnectsync_tandem.decode import decode
from tconnectsync_tandem.decode.entries import NO_SUCH_CODE
from tconnectsync_tandem.polling.schema_drift import SchemaDrift
from tconnectsync_tandem.polling.window_reader import WindowReader
from tconnectsync_tandem.polling.window_state import WindowState
from tests.support.clocks import FakeClock
from tests.support.memory_log import MemoryLog
from tests.tandem.fake_cloud import START, CloudPump, FakeCloud, FakeCloudFault, TandemHarness, basal, entry, running

_ABSURD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=8),
    st.sampled_from(["2026-11-20T00:00:00", "0001-01-01T00:00:00", "9999-12-31T23:59:59Z", "TRUE", "65535", ""]),
    st.lists(st.integers(-1, 70), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
_RECORDS = [
    basal(1, "2026-11-19T00:00:00"),
    entry(20, 2, "2026-11-19T00:01:00", {"completionStatus": 3, "bolusId": 7, "iob": 1, "insulinDelivered": 2, "insulinRequested": 2}),
    entry(
        399,
        3,
        "2026-11-19T00:02:00",
        {
            "glucoseValueStatus": 0,
            "cgmDataType": [0],
            "rate": -39,
            "algorithmState": 32,
            "rssi": -54,
            "currentGlucoseDisplayValue": 195,
            "egvTimeStamp": 595987200 + 86400,
            "egvInfoBitmask": [0, 5],
            "interval": 0,
            "reservedD15": 0,
        },
    ),
    entry(13, 4, "2026-11-19T00:03:00", {"timePrior": 1, "timeAfter": 60_001, "rawRtcTime": 1}),
]  # fmt: skip


def _replaced(found: Any, path: list[Any], absurd: Any, drop: bool) -> Any:
    copy = json.loads(json.dumps(found))
    place = copy
    for step in path[:-1]:
        place = place[step]
    if drop:
        del place[path[-1]]
    else:
        place[path[-1]] = absurd
    return copy


def _paths(found: Any, before: tuple[Any, ...] = ()) -> list[list[Any]]:
    steps = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    return [path for key, value in steps for path in ([*before, key], *_paths(value, (*before, key)))]


_LOG_ANSWER = {"events": _RECORDS, "clockChanges": [_RECORDS[3]]}
_PUMPER_ANSWER = {
    "firstName": "A",
    "pumps": [CloudPump(settings={"settingsHash": "29EDDA8E", "details": {"a": 1}}).listed()],
}


class _Canned:
    """A client whose answers are given."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def pump_logs(self, *_: Any) -> bytes:
        return self.body


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(_paths(_LOG_ANSWER)), _ABSURD, st.booleans())
def test_absurd_value_in_window(
    tmp_path_factory: pytest.TempPathFactory, path: list[Any], absurd: Any, drop: bool
) -> None:
    """Any absurd value anywhere in a window costs no other event."""
    body = json.dumps(_replaced(_LOG_ANSWER, path, absurd, drop)).encode()
    ((pump,), *_) = read_pumps(_PUMPER_ANSWER)
    reader = WindowReader(
        client=_Canned(body),
        clock=FakeClock(START),
        drift=SchemaDrift(),
        window_state=WindowState(tmp_path_factory.getbasetemp() / "memo.json"),
    )  # type: ignore[arg-type]  # stands in for it
    log = MemoryLog()
    for batch in reader.read(pump, [(date(2026, 11, 19), date(2026, 11, 19))]):
        log.append(batch.events)
    if len(path) == 1:
        return  # an answer that is broken as a whole; the rows above distinguish those
    untouched = {1, 2, 3, 4} if path[0] == "clockChanges" else {1, 2, 3, 4} - {path[1] + 1}
    known = {event.seq for event in log.events if event.kind not in ("unknown", "window.fetched")}
    assert untouched <= known
    # an entry of four is more than may be unreadable
    lost = [event for event in log.of("unknown") if event.body.reason != NO_SUCH_CODE]
    assert len(log.of("window.fetched")) == (0 if lost else 1)
    assert bool(reader.changed) == bool(lost)
    for event in log.events:
        if event.raw is not None:
            assert decode(event.raw) == (event.kind, event.body)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(_paths(_PUMPER_ANSWER)), _ABSURD, st.booleans())
def test_absurd_value_in_list_of_pumps(path: list[Any], absurd: Any, drop: bool) -> None:
    """Any absurd value in the list of pumps ends in pumps, or in "the vendor changed something"."""
    body = json.dumps(_replaced(_PUMPER_ANSWER, path, absurd, drop)).encode()
    try:
        pumps = read_pumps(whole_answer(body, "list of pumps")).pumps
    except SourceChanged:
        assert path[-1] in ("pumps", 0, "serialNumber", "assignmentId")
    else:
        assert len(pumps) == 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(_paths(_PUMPER_ANSWER)), _ABSURD, st.booleans())
def test_a_whole_poll_survives_an_absurd_list_of_pumps(
    tmp_path_factory: pytest.TempPathFactory, path: list[Any], absurd: Any, drop: bool
) -> None:
    clock = FakeClock(START)
    cloud = FakeCloud(clock, [CloudPump(records=[basal(1, "2026-11-20T00:00:00")])])
    answer = _replaced(_PUMPER_ANSWER, path, absurd, drop)
    cloud.faults.append(FakeCloudFault("/pumper/", times=9, change=lambda _: answer))
    with running(cloud):
        harness = TandemHarness(cloud, clock, tmp_path_factory.mktemp("tandem"))
        try:
            harness.poll()
        except SourceChanged:
            return
        assert len(harness.log.of("window.fetched")) >= 1
