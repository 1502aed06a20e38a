"""The exact documents that Nightscout gets from an export."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tconnectsync import Document
from tconnectsync_nightscout.folds.basal import BasalFold
from tconnectsync_nightscout.folds.boluses import BolusFold
from tconnectsync_nightscout.folds.cgm import ReadingsFold
from tconnectsync_nightscout.folds.iob import IobFold
from tests.tconnect.sample_exports import (
    EXTENDED,
    PUMP,
    RECEIVED,
    STANDARD,
    basal,
    boluses,
    device,
    documents_of,
    events_of,
    export,
    iob,
)


def bolus_documents(*rows: dict[str, str]) -> list[Document]:
    return documents_of(BolusFold(), events_of(export(boluses(*rows)), pump=PUMP))


def at(hour: int, minute: int, second: int = 0) -> datetime:
    return datetime(2021, 4, 1, hour, minute, second, tzinfo=timezone.utc)


def made_from(*names: str) -> dict[str, Any]:
    return {"serial": PUMP, "events": [f"tconnect:{PUMP}:{name}" for name in names]}


def test_a_standard_bolus_is_one_meal_bolus() -> None:
    (document,) = bolus_documents(dict(STANDARD))
    assert (document.collection, document.at, document.problem) == ("treatments", at(12, 53, 36), None)
    content = dict(document.content)
    told_by = content.pop("pump")
    assert told_by == made_from("bolus:7007/requested", "bolus:7007/reasons", "bolus:7007/completed")
    assert content == {
        "eventType": "Meal Bolus",
        "insulin": 13.53,
        "carbs": 75.0,
        "glucose": 141.0,
        "glucoseType": "Sensor",
        "units": "mg/dl",
    }


def test_an_extended_bolus_is_one_combo_bolus_of_both_parts() -> None:
    (document,) = bolus_documents(dict(EXTENDED))
    assert document.at == at(14, 59, 40)
    content = dict(document.content)
    names = ("requested", "split", "completed", "extended_started", "extended_completed")
    assert set(content.pop("pump")["events"]) == set(made_from(*(f"bolus:7010/{name}" for name in names))["events"])
    assert content == {
        "eventType": "Combo Bolus",
        "insulin": 0.2,
        "enteredinsulin": 0.4,
        "splitNow": 50.0,
        "splitExt": 50.0,
        "duration": 30.0,
        "relative": 0.4,
    }


def test_extended_part_ended_at_once() -> None:
    """Its insulin counts."""
    (document,) = bolus_documents(
        {**EXTENDED, "BolexCompletionDateTime": EXTENDED["BolexStartDateTime"], "Duration": "0"}
    )
    assert (document.content["eventType"], document.content["insulin"]) == ("Bolus", 0.4)


def test_bolus_without_immediate_part() -> None:
    """A bolus that is all extended counts, although no record ends an immediate part."""
    (document,) = bolus_documents(
        {**EXTENDED, "BolusIsComplete": "0", "CompletionDateTime": "", "InsulinDelivered": "", "StandardPercent": "0"}
    )
    assert (document.content["insulin"], document.content["enteredinsulin"]) == (0.0, 0.2)
    assert (document.content["duration"], document.content["relative"]) == (30.0, 0.4)


def test_carbs_of_bolus_without_immediate_part() -> None:
    """They are shown."""
    (document,) = bolus_documents(
        {**EXTENDED, "BolusIsComplete": "0", "CompletionDateTime": "", "InsulinDelivered": "", "StandardPercent": "0",
         "CarbSize": "28"}
    )  # fmt: skip
    assert (document.content["carbs"], document.content["enteredinsulin"]) == (28.0, 0.2)


@pytest.mark.parametrize("row", [STANDARD, EXTENDED])
def test_bolus_read_before_and_after_its_end(row: dict[str, str]) -> None:
    """Both give the same document."""
    running = {**row, "BolusIsComplete": "0", "BolusCompletionID": "0", "ExtendedBolusIsComplete": "0"}
    before, after = (events_of(export(boluses(one)), pump=PUMP) for one in (running, row))
    known = {event.id for event in after}
    (seen,) = documents_of(BolusFold(), [*(event for event in before if event.id not in known), *after])
    (whole,) = documents_of(BolusFold(), after)
    assert (seen.id, seen.at) == (whole.id, whole.at)
    assert {**seen.content, "pump": None} == {**whole.content, "pump": None}


def test_extended_part_uploaded_first() -> None:
    """The end of the immediate part was uploaded late."""
    late = {
        **EXTENDED,
        "BolusIsComplete": "0",
        "BolusCompletionID": "0",
        "CompletionDateTime": "",
        "InsulinDelivered": "",
    }
    before, after = (events_of(export(boluses(row)), pump=PUMP) for row in (late, EXTENDED))
    known = {event.id for event in after}
    told = [*(event for event in before if event.id not in known), *after]
    assert [document.content["enteredinsulin"] for document in documents_of(BolusFold(), told)] == [0.4]
    fold, state = BolusFold(), BolusFold().initial()
    for event in sorted(told, key=lambda each: each.pump_time):
        state, _ = fold.step(state, _placed(event))
    assert fold.waiting(state) == ()


def test_incomplete_bolus() -> None:
    """It gives no document yet, and `status` can say that its end is awaited."""
    fold, state = BolusFold(), BolusFold().initial()
    found = events_of(export(boluses({**STANDARD, "BolusIsComplete": "0"})), pump=PUMP)
    assert documents_of(fold, found) == []
    for event in found:
        state, _ = fold.step(state, _placed(event))
    ((words, _),) = fold.waiting(state)
    assert words == "bolus 7007 of 13.53 U: the pump's data does not say how it ended"


def test_bolus_completed_by_later_export() -> None:
    """It is one bolus."""
    before = events_of(export(boluses({**STANDARD, "BolusIsComplete": "0"})), pump=PUMP)
    after = events_of(export(boluses(STANDARD)), pump=PUMP)
    (document,) = documents_of(BolusFold(), [*before, *after])
    assert document.content["insulin"] == 13.53
    assert document.id == bolus_documents(dict(STANDARD))[0].id


@pytest.mark.parametrize(
    "first",
    [
        {"CompletionDateTime": "0001-01-01T00:00:00"},
        {"BolusCompletionID": "0"},
        {"CompletionDateTime": "2021-04-01T12:58:27"},
        {"CompletionDateTime": "2021-04-01T13:20:00"},
        {"InsulinDelivered": "12", "CompletionDateTime": "2021-04-01T13:58:27"},
    ],
)
def test_corrected_bolus_end(first: dict[str, str]) -> None:
    """It stays one bolus, and the newest version of its end counts."""
    before = events_of(export(boluses({**STANDARD, **first})), pump=PUMP)
    after = events_of(export(boluses(STANDARD)), pump=PUMP, received_at=RECEIVED + timedelta(hours=7))
    known = {(event.id, event.pump_time, event.body) for event in after}
    both = [*(event for event in before if (event.id, event.pump_time, event.body) not in known), *after]
    (document,) = documents_of(BolusFold(), both)
    assert (document.at, document.content["insulin"]) == (at(12, 53, 36), 13.53)


def test_a_bolus_id_that_comes_round_is_another_bolus() -> None:
    later = {**STANDARD, "CompletionDateTime": "2023-09-01T12:58:26", "RequestDateTime": "2023-09-01T12:53:36"}
    both = [*events_of(export(boluses(STANDARD)), pump=PUMP), *events_of(export(boluses(later)), pump=PUMP)]
    assert [document.content["insulin"] for document in documents_of(BolusFold(), both)] == [13.53, 13.53]


def test_impossible_doses_are_set_aside() -> None:
    rows = [{**STANDARD, "InsulinDelivered": "-1"}, {**STANDARD, "BolusRequestID": "8000", "InsulinDelivered": "25.5"}]
    documents = bolus_documents(*rows)
    assert len(documents) == 2
    assert all(document.problem is not None and "not possible" in document.problem for document in documents)


def test_basal_rows_are_temp_basals_that_meet() -> None:
    content = export(basal(("00:00:00", "0.8"), ("06:30:00", "1.1"), ("07:00:00", "0"), ("08:00:00", "0.9")))
    documents = documents_of(BasalFold(), events_of(content, pump=PUMP))
    assert [(document.at, document.content) for document in documents] == [
        (
            begin,
            {
                "eventType": "Temp Basal",
                "absolute": rate,
                "rate": rate,
                "duration": minutes,
                "reason": "unknown",
                "pump": made_from(f"basal.delivered:{begin:%Y-%m-%dT%H:%M:%S}"),
            },
        )
        for begin, rate, minutes in ((at(0, 0), 0.8, 390.0), (at(6, 30), 1.1, 30.0), (at(7, 0), 0.0, 60.0))
    ]


def test_sensor_readings_are_entries() -> None:
    documents = documents_of(
        ReadingsFold(), events_of(export(device(("00:01:39", "174"), ("00:06:39", "500"), ("00:11:39", "20"))))
    )
    assert [(document.collection, document.at, document.content["sgv"]) for document in documents] == [
        ("entries", at(0, 1, 39), 174),
        ("entries", at(0, 6, 39), 401),
        ("entries", at(0, 11, 39), 39),
    ]
    assert documents[0].content == {
        "type": "sgv",
        "sgv": 174,
        "device": f"tandem {PUMP}",
        "pump": made_from("glucose.reading:2021-04-01T00:01:39"),
    }


def test_the_newest_iob_row_is_the_iob() -> None:
    found = events_of(export(iob(("00:05:19", "12.5"), ("00:00:19", "13.24"))), pump=PUMP)
    activity, _ = documents_of(IobFold(), found)
    assert (activity.content["iob"], activity.at) == (12.5, at(0, 5, 19))


def _placed(event: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(event, at=event.pump_time.replace(tzinfo=timezone.utc))
