from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump, simulate
from tests.support.site_comparison import NOISE_ALARMS, compare

Doc = dict[str, Any]


def text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def minutes(begin: datetime, end: datetime) -> float:
    return (end - begin).total_seconds() / 60


def perfect(pump: SimulatedPump) -> list[Doc]:
    """What a site without a fault would hold, made from the truth, basal from the records."""
    truth = pump.truth
    docs: list[Doc] = []
    for bolus in truth.boluses:
        if not bolus.finished or not (bolus.delivered_u or bolus.carbs_g):
            continue
        doc: Doc = {"created_at": text(bolus.started_at), "eventType": "Bolus", "insulin": round(bolus.immediate_u, 3)}
        if bolus.carbs_g:
            doc["carbs"] = bolus.carbs_g
        if bolus.extended_u:
            assert bolus.ended_at is not None
            length = minutes(bolus.started_at, bolus.ended_at)
            doc |= {"eventType": "Combo Bolus", "duration": length, "relative": bolus.extended_u / length * 60}
        docs.append(doc)
    docs += [{"created_at": text(c.at), "eventType": "Carb Correction", "carbs": c.value} for c in truth.carbs_only]
    types = {"cannula": "Site Change", "cartridge": "Insulin Change", "tubing": "Note"}
    docs += [{"created_at": text(fill.at), "eventType": types[fill.name]} for fill in truth.fills]
    docs += [{"created_at": text(each.started_at), "eventType": "Note"} for each in truth.suspensions]
    docs += [
        {"created_at": text(each.started_at), "eventType": "Note"}
        for each in truth.alarms
        if int(each.name) not in NOISE_ALARMS
    ]
    docs += [
        {
            "created_at": text(mode.started_at),
            "eventType": mode.name.title(),
            "duration": minutes(mode.started_at, mode.ended_at),
        }
        for mode in truth.modes
        if mode.ended_at
    ]
    return docs + basal(pump)


def basal(pump: SimulatedPump) -> list[Doc]:
    marks = [
        (record.at_s, record.entry["eventProperties"].get("commandedRate", 0) / 1000)
        for record in pump.log
        if record.entry["eventCode"] in {11, 279}
    ]
    ends = [at_s for at_s, _ in marks[1:]] + [int(pump.truth.end.timestamp())]
    return [
        {
            "created_at": text(datetime.fromtimestamp(at_s, pump.truth.begin.tzinfo)),
            "eventType": "Temp Basal",
            "absolute": rate,
            "duration": (end_s - at_s) / 60,
        }
        for (at_s, rate), end_s in zip(marks, ends, strict=True)
        if end_s > at_s
    ]


def sgv(pump: SimulatedPump) -> list[Doc]:
    shown = {"high": 401, "low": 39}
    return [
        {"type": "sgv", "date": int(g.at.timestamp() * 1000), "sgv": shown.get(g.mark, g.glucose_mg_dl)}
        for g in pump.truth.glucose
    ]


@pytest.fixture(scope="module")
def pump() -> SimulatedPump:
    """Twelve days of a simulated pump."""
    return simulate(SimulationPlan(seed=11, days=12))


@pytest.fixture
def docs(pump: SimulatedPump) -> list[Doc]:
    """The documents that are exactly right for it."""
    return perfect(pump)


def of(docs: list[Doc], *kinds: str) -> Doc:
    """A document of one of these kinds somewhere in the middle."""
    found = [doc for doc in docs if doc["eventType"] in kinds]
    return found[len(found) // 2]


def test_a_site_that_shows_the_truth_has_no_differences(pump: SimulatedPump, docs: list[Doc]) -> None:
    found = compare(pump.truth, docs, entries=sgv(pump))
    assert found.lines() == []
    assert found.clean()
    assert found.boluses_compared > 40
    assert found.bolus_shown_u == pytest.approx(found.bolus_true_u, abs=0.05)
    assert found.basal_shown_u == pytest.approx(found.basal_true_u, abs=0.01)


def test_a_lost_bolus_is_seen(pump: SimulatedPump, docs: list[Doc]) -> None:
    docs.remove(of(docs, "Bolus"))
    found = compare(pump.truth, docs)
    assert len(found.boluses_lost) == 1
    assert not found.clean()


def test_a_doubled_bolus_is_seen(pump: SimulatedPump, docs: list[Doc]) -> None:
    docs.append(dict(of(docs, "Bolus")))
    assert len(compare(pump.truth, docs).boluses_doubled) == 1


def test_other_amounts_are_seen(pump: SimulatedPump, docs: list[Doc]) -> None:
    of(docs, "Bolus")["insulin"] += 0.01
    found = compare(pump.truth, docs)
    assert len(found.boluses_wrong) == 1
    assert not found.boluses_lost
    assert not found.boluses_doubled


def test_a_bolus_an_hour_off_is_wrong_and_not_lost(pump: SimulatedPump, docs: list[Doc]) -> None:
    doc = of(docs, "Bolus")
    at = datetime.fromisoformat(doc["created_at"].replace("Z", "+00:00"))
    doc["created_at"] = text(at + timedelta(hours=1))
    found = compare(pump.truth, docs)
    assert len(found.boluses_wrong) == 1
    assert not found.boluses_lost
    assert not found.boluses_doubled


def test_an_extended_part_that_is_not_drawn_is_seen(pump: SimulatedPump, docs: list[Doc]) -> None:
    del of(docs, "Combo Bolus")["relative"]
    assert len(compare(pump.truth, docs).boluses_wrong) == 1


def test_lost_carbs_are_seen(pump: SimulatedPump, docs: list[Doc]) -> None:
    docs.remove(of(docs, "Carb Correction"))
    assert len(compare(pump.truth, docs).carbs_lost) == 1


def test_a_hole_in_the_basal_is_seen(pump: SimulatedPump, docs: list[Doc]) -> None:
    temp = max((doc for doc in docs if doc["eventType"] == "Temp Basal"), key=lambda doc: doc["absolute"])
    docs.remove(temp)
    found = compare(pump.truth, docs)
    assert found.worst_basal_u == pytest.approx(temp["absolute"] * temp["duration"] / 60, abs=1e-6)
    assert found.worst_basal_hour is not None


def test_overlapping_basal(pump: SimulatedPump, docs: list[Doc]) -> None:
    """It counts once, and the later start wins."""
    for doc in docs:
        if doc["eventType"] == "Temp Basal":
            doc["duration"] += 3
    assert compare(pump.truth, docs, parts=("basal",)).worst_basal_u < 0.01


@pytest.mark.parametrize(
    ("kind", "field"),
    [("Site Change", "fills"), ("Insulin Change", "fills"), ("Sleep", "modes"), ("Exercise", "modes")],
)
def test_a_missing_document_of_another_kind_is_seen(
    pump: SimulatedPump, docs: list[Doc], kind: str, field: str
) -> None:
    docs.remove(of(docs, kind))
    assert len(getattr(compare(pump.truth, docs), field)) == 1


def test_a_second_site_change_is_seen(pump: SimulatedPump, docs: list[Doc]) -> None:
    docs.append(dict(of(docs, "Site Change")))
    assert len(compare(pump.truth, docs).fills) == 1


def test_a_sleep_that_goes_on_too_long_is_seen(pump: SimulatedPump, docs: list[Doc]) -> None:
    of(docs, "Sleep")["duration"] += 5
    assert len(compare(pump.truth, docs).modes) == 1


def test_a_suspension_without_its_zero_rate_is_seen(pump: SimulatedPump, docs: list[Doc]) -> None:
    span = next(each for each in pump.truth.suspensions if each.ended_at)
    docs.remove(next(d for d in docs if d["eventType"] == "Temp Basal" and d["created_at"] == text(span.started_at)))
    assert compare(pump.truth, docs).suspensions


def test_missing_doubled_and_other_glucose_is_seen(pump: SimulatedPump, docs: list[Doc]) -> None:
    entries = sgv(pump)
    del entries[10]
    entries.append(dict(entries[20]))
    entries[30]["sgv"] += 1
    assert len(compare(pump.truth, docs, entries=entries).glucose) == 3


def test_only_what_lies_in_the_window_is_told(pump: SimulatedPump, docs: list[Doc]) -> None:
    middle = pump.truth.begin + timedelta(days=6)
    kept = [doc for doc in docs if doc["created_at"] >= text(middle - timedelta(days=1))]
    found = compare(pump.truth, kept, window=(middle, pump.truth.end))
    assert found.lines() == []
    assert 15 < found.boluses_compared < 45
