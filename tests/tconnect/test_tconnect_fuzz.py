"""Whatever a row contains: nothing raises, other rows are read, and the stored record gives the same fact again."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tconnectsync_nightscout.folds.basal import BasalFold
from tconnectsync_tconnect.rows.csv_tables import BASAL, CsvRow
from tconnectsync_tconnect.rows.decoder import decode
from tconnectsync_tconnect.rows.merge import OpenSpans, WindowResponses, merge_responses
from tconnectsync_tconnect.source_events import event_of
from tests.tconnect.fake_services import PUMP, bolus, segment, site, timeline
from tests.tconnect.sample_exports import documents_of

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6) | st.sampled_from(["0001-01-01T00:00:00", "2021-04-01T12:00:00", "/Date(9e9)/", "1e999"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
START = datetime(2021, 4, 1)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in inner for found in places(item, (*path, key)))]


@given(st.data())
def test_junk_in_any_place_of_an_answer_is_kept_aside(data: st.DataObject) -> None:
    answer = {
        "timeline": timeline(
            segment("2021-04-01T08:00", 1.0, 3600),
            suspensions=[("2021-04-01T09:00", "manual")],
            modes=[("2021-04-01T01:00", 1, 7200)],
        ),
        "therapy": [
            bolus(7007, "2021-04-01T12:58:26", 13.53, bolex={"size": 0.2, "insulinDelivered": {"value": 0.2}}),
            {"type": "CGM", "eventDateTime": "2021-04-01T00:01:39", "egv": {"estimatedGlucoseValue": 174}},
            {"type": "BG", "eventDateTime": "2021-04-01T00:02:00", "bg": 160, "cgmCalibration": 1, "iob": 0.4},
        ],
        "sites": [site("2021-04-01T09:00", "site-cart")],
    }
    path = data.draw(st.sampled_from([place for place in places(answer) if len(place) > 1]))
    target: Any = answer
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = data.draw(JUNK)
    answer["therapy"].append(bolus(7100, "2021-04-01T18:00:00", 2.0))
    found = merge_responses(WindowResponses(first=date(2021, 4, 1), **answer), OpenSpans())
    assert [one.fact.body.delivered_u for one in found.facts if one.fact.name == "bolus:7100/completed"] == [2.0]
    for one in found.facts:
        json.dumps(one.raw, allow_nan=False, ensure_ascii=False).encode()
        if one.fact.kind != "unknown":
            assert decode(one.raw) == (one.fact.kind, one.fact.body)


ROWS = st.lists(st.tuples(st.integers(0, 600), st.integers(1, 120), st.integers(0, 30)), max_size=12)


@given(segments=ROWS, rows=ROWS, stops=st.lists(st.integers(0, 600), max_size=2))
def test_no_minute_counts_twice(
    segments: list[tuple[int, int, int]], rows: list[tuple[int, int, int]], stops: list[int]
) -> None:
    """In every minute the timeline counts if it has data, and nothing counts twice."""

    def wall(minute: int) -> str:
        return (START + timedelta(minutes=minute)).isoformat()

    told = {at: (length, rate) for at, length, rate in segments}
    told_csv = {at: rate for at, _, rate in rows}
    csv = [
        CsvRow(table=BASAL, line=0, cells={"Type": "Basal", "EventDateTime": wall(at), "BasalRate": str(rate / 10)})
        for at, rate in told_csv.items()
    ]
    answer = timeline(
        *(segment(wall(at), rate / 10, length * 60) for at, (length, rate) in told.items()),
        suspensions=[(wall(at), "manual") for at in stops],
    )
    facts = merge_responses(WindowResponses(first=START.date(), timeline=answer, csv=csv), OpenSpans()).facts
    assert len({one.fact.name for one in facts}) == len(facts)
    events = [event_of(one, PUMP, datetime(2021, 4, 3, tzinfo=timezone.utc)) for one in facts]
    drawn: dict[int, float] = {}
    for document in documents_of(BasalFold(), events):
        begin = round((document.at.replace(tzinfo=None) - START).total_seconds() / 60)
        for minute in range(begin, begin + round(document.content["duration"])):
            assert minute not in drawn
            drawn[minute] = document.content["rate"]
    for minute in range(720):
        newest = max((at for at in told if at <= minute), default=None)
        stopped = [at for at in stops if at <= minute and at not in told and (newest is None or newest < at)]
        if stopped:
            assert drawn.get(minute, 0.0) == 0.0
        elif newest is not None and minute < newest + told[newest][0]:
            rate = told[newest][1] / 10  # a suspension that 0 U/h follows is drawn as far as the data reaches
            assert drawn.get(minute, 0.0 if stops and rate == 0 else None) == rate
