from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tconnectsync import Document, Event, document_id, events
from tconnectsync_nightscout.folds.boluses import EPOCH, BolusFold
from tests.nightscout.fold_harness import NOON, event, final_documents, keep_laws, timeline


def request(
    bolus_id: int = 7, *, carbs: float | None = None, glucose: float | None = None, food: float = 0.0, **more: Any
) -> list[events.BolusRequested]:
    second = {key: more.pop(key) for key in list(more) if key in {"options", "immediate_percent", "user_override"}}
    third = {key: more.pop(key) for key in list(more) if key in {"correction_u", "total_u"}}
    return [
        events.BolusRequested(bolus_id=bolus_id, part=1, carbs_g=carbs, glucose_mg_dl=glucose, **more),
        events.BolusRequested(bolus_id=bolus_id, part=2, **second),
        events.BolusRequested(bolus_id=bolus_id, part=3, food_u=food, **third),
    ]


def started(bolus_id: int = 7, size: float = 3.0) -> events.BolusStarted:
    return events.BolusStarted(bolus_id=bolus_id, size_u=size)


def delivery(
    delivered: float | None, now: float = 3.0, later: float = 0.0, *, end: bool = False, bolus_id: int = 7, **more: Any
) -> events.BolusDelivered:
    return events.BolusDelivered(
        bolus_id=bolus_id,
        status="completed" if end else "started",
        requested_now_u=now,
        requested_later_u=later,
        delivered_u=delivered,
        **more,
    )


def completed(
    delivered: float | None, requested: float = 3.0, status: str = "completed", bolus_id: int = 7
) -> events.BolusCompleted:
    return events.BolusCompleted(bolus_id=bolus_id, status=status, delivered_u=delivered, requested_u=requested)


def extended_completed(delivered: float, requested: float, status: str = "completed") -> events.BolusExtendedCompleted:
    return events.BolusExtendedCompleted(bolus_id=7, status=status, delivered_u=delivered, requested_u=requested)


def run(*steps: tuple[float, Any], fold: BolusFold | None = None) -> list[Document]:
    world = timeline(*steps)
    return keep_laws(fold or BolusFold(), world, range(len(world)))


def only(documents: list[Document]) -> dict[str, Any]:
    (document,) = documents
    assert document.problem is None
    assert document.unique_slot == document.content["eventType"]
    return dict(document.content)


def meal(bolus_id: int = 7, at: float = 0.0, carbs: float | None = 20.0) -> list[tuple[float, Any]]:
    first, second, third = request(bolus_id, carbs=carbs, glucose=116, food=3.0, total_u=3.0)
    return [
        (at, first),
        (at, second),
        (at, third),
        (at + 0.25, started(bolus_id)),
        (at + 0.25, delivery(0.0, bolus_id=bolus_id, types=("now", "carb"), bolus_source="pump_screen")),
        (at + 2, delivery(3.0, end=True, bolus_id=bolus_id, types=("now", "carb"), bolus_source="pump_screen")),
        (at + 2, completed(2.9999997, bolus_id=bolus_id)),
    ]


def test_bolus_is_one_treatment() -> None:
    """All records of a bolus are one treatment, at the time when delivery started."""
    (document,) = run(*meal())
    assert document.id == document_id("90556643", 0, "bolus", 7, "0")
    assert document.at == NOON + timedelta(seconds=15, milliseconds=3)
    assert document.content == {
        "eventType": "Meal Bolus",
        "insulin": 3.0,
        "carbs": 20.0,
        "glucose": 116.0,
        "units": "mg/dl",
        "glucoseType": "Sensor",
        "pump": {"serial": "90556643", "events": [1000, 1001, 1002, 1003, 1004, 1005, 1006]},
    }


def test_captured_phone_bolus() -> None:
    """A bolus from the phone with carbs and correction.

    Records of bolus 1583 as a live pump gave them.
    """
    world = [
        event(body, second, seq)
        for second, seq, body in [
            (0, 442680, events.BolusRequested(bolus_id=1583, part=1, bolus_type="remote", correction_included=True, carbs_g=20, glucose_mg_dl=116, iob_u=0.0)),
            (0, 442681, events.BolusRequested(bolus_id=1583, part=2, options="ble_standard", immediate_percent=100)),
            (0, 442682, events.BolusRequested(bolus_id=1583, part=3, food_u=3.33, correction_u=0.2, total_u=3.53)),
            (15, 442689, events.BolusStarted(bolus_id=1583, size_u=3.53, iob_u=0.0)),
            (15, 442690, events.BolusDelivered(bolus_id=1583, status="started", types=("now", "correction", "carb"), bolus_source="ble", requested_now_u=3.53, requested_later_u=0.0, correction_u=0.2, delivered_u=0.0)),
            (118, 442698, events.BolusDelivered(bolus_id=1583, status="completed", types=("now", "correction", "carb"), bolus_source="ble", requested_now_u=3.53, requested_later_u=0.0, correction_u=0.2, delivered_u=3.53)),
            (118, 442700, events.BolusCompleted(bolus_id=1583, status="completed", delivered_u=3.53, requested_u=3.53, iob_u=3.53)),
        ]
    ]  # fmt: skip
    (document,) = keep_laws(BolusFold(), world, range(7))
    assert document.at == NOON + timedelta(seconds=15, milliseconds=689)
    assert document.content["insulin"] == 3.53
    assert document.content["carbs"] == 20.0
    assert document.content["eventType"] == "Meal Bolus"
    assert document.content["notes"] == "sent from the phone"


def test_captured_cancelled_bolus() -> None:
    """A bolus that was cancelled early.

    Records of bolus 1644: 0.04657 of 0.5 U, with a typed glucose value seconds before.
    """
    world = [
        event(body, second, seq)
        for second, seq, body in [
            (0, 456822, events.GlucoseFingerstick(glucose_mg_dl=151, entry="manual")),
            (7, 456827, events.BolusRequested(bolus_id=1644, part=1, bolus_type="remote", carbs_g=0, glucose_mg_dl=151)),
            (7, 456828, events.BolusRequested(bolus_id=1644, part=2, options="ble_standard", immediate_percent=100, user_override=True)),
            (7, 456829, events.BolusRequested(bolus_id=1644, part=3, food_u=0.0, correction_u=0.0, total_u=0.5)),
            (22, 456836, events.BolusStarted(bolus_id=1644, size_u=0.5)),
            (22, 456837, delivery(0.0, 0.5, bolus_id=1644, types=("now", "override"), bolus_source="ble")),
            (25, 456847, delivery(0.047, 0.5, end=True, bolus_id=1644, types=("now", "override"), bolus_source="ble")),
            (25, 456849, events.BolusCompleted(bolus_id=1644, status="user_aborted", delivered_u=0.04657, requested_u=0.5)),
        ]
    ]  # fmt: skip
    (document,) = keep_laws(BolusFold(), world, range(8))
    assert document.content["eventType"] == "Bolus"
    assert document.content["insulin"] == 0.047
    assert document.content["glucoseType"] == "Finger"
    assert document.content["notes"] == (
        "sent from the phone; amount changed by the wearer; cancelled by the wearer after 0.047 of 0.5 U"
    )


def captured_extended() -> list[Event]:
    """Records of bolus 2046, its progress thinned: 2.083 U at once, 4.685 of 6.247 U over 2 h 16 min 36 s."""
    types = ("now", "later", "carb")

    def progress(second: float, seq: int, delivered: float, *, end: bool = False) -> Event:
        body = delivery(delivered, 2.083, 6.247, end=end, bolus_id=2046, types=types, extended_duration_min=180)
        return event(body, second, seq)

    return [
        event(events.BolusRequested(bolus_id=2046, part=1, carbs_g=50, glucose_mg_dl=111, iob_u=8.57), 0, 502747),
        event(
            events.BolusRequested(
                bolus_id=2046, part=2, options="ble_extended", immediate_percent=25, extended_duration_min=180
            ),
            0,
            502748,
        ),
        event(events.BolusRequested(bolus_id=2046, part=3, food_u=8.33, correction_u=0.0, total_u=8.330001), 0, 502749),
        event(events.BolusStarted(bolus_id=2046, size_u=2.083), 15, 502761),
        progress(15, 502762, 0.0),
        event(
            events.BolusCompleted(bolus_id=2046, status="completed", delivered_u=2.0829997, requested_u=2.083),
            75,
            502769,
        ),
        event(events.BolusExtendedStarted(bolus_id=2046, size_u=6.247), 75, 502771),
        progress(75, 502772, 2.083),
        progress(75, 502773, 2.083),
        progress(217, 502778, 2.257),
        progress(7238, 503136, 6.248),
        progress(8136, 503177, 6.768),
        event(
            events.BolusExtendedCompleted(
                bolus_id=2046, status="user_aborted", delivered_u=4.6852484, requested_u=6.247
            ),
            8271,
            503184,
        ),
        progress(8271, 503185, 6.768, end=True),
    ]


def test_captured_extended_bolus() -> None:
    """An extended bolus ends as what was delivered."""
    (document,) = keep_laws(BolusFold(), captured_extended(), range(14))
    content = document.content
    assert document.at == NOON + timedelta(seconds=15, milliseconds=761)
    assert content["eventType"] == "Combo Bolus"
    assert (content["insulin"], content["enteredinsulin"]) == (2.083, 6.768)
    assert (content["splitNow"], content["splitExt"]) == (30.8, 69.2)
    assert content["duration"] == 136.6
    assert content["relative"] == pytest.approx(4.685 / (136.6 / 60), abs=0.001)
    assert content["carbs"] == 50.0
    assert content["notes"] == "sent from the phone; extended part cancelled by the wearer after 4.685 of 6.247 U"


def test_extended_bolus_running() -> None:
    """A running extended bolus shows what was delivered so far, under the same identity."""
    world = captured_extended()
    so_far = [final_documents(BolusFold(), world[:length]) for length in (5, 6, 10, 11)]
    assert so_far[0] == []
    first, second, third = (only(documents) for documents in so_far[1:])
    assert first["eventType"] == "Combo Bolus"
    assert first["insulin"] == first["enteredinsulin"] == 2.083
    assert "relative" not in first
    assert (second["enteredinsulin"], second["duration"]) == (2.257, pytest.approx(142 / 60, abs=0.0001))
    assert third["relative"] * third["duration"] / 60 == pytest.approx(6.248 - 2.083, abs=0.002)
    assert len({documents[0].id for documents in so_far[1:]}) == 1


@pytest.mark.parametrize("lost", range(3))
def test_extended_bolus_missing_end_record(lost: int) -> None:
    """An extended bolus counts the same whichever end record is missing."""
    ends = [item for item in captured_extended() if item.seq in (502769, 503184, 503185)]
    world = [item for item in captured_extended() if item is not ends[lost] and item.seq != ends[lost].seq]
    content = only(keep_laws(BolusFold(), world))
    assert (content["insulin"], content["enteredinsulin"]) == (2.083, 6.768)
    assert content["duration"] == 136.6


def test_extended_bolus_eight_hours() -> None:
    """An extended bolus of eight hours without progress is still one bolus."""
    content = only(
        run(
            (0, started(size=1.0)),
            (1, completed(1.0, 1.0)),
            (1, events.BolusExtendedStarted(bolus_id=7, size_u=4.0)),
            (300, completed(1.0, 1.0, bolus_id=8)),
            (481, extended_completed(4.0, 4.0)),
            (490, completed(1.0, 1.0, bolus_id=9)),
        )[1:2]
    )
    assert (content["insulin"], content["enteredinsulin"], content["duration"]) == (1.0, 5.0, 480.0)


def test_extended_bolus_all_later() -> None:
    """An extended bolus of "nothing now, all later" keeps its carbs."""
    first, second, third = request(carbs=40, options="extended", immediate_percent=0, food=4.0, total_u=4.0)
    start = [(0, first), (0, second), (0, third), (0.2, delivery(0.0, 0.0, 4.0, types=("later", "carb")))]
    content = only(run(*start))
    assert (content["eventType"], content["carbs"], content["insulin"]) == ("Combo Bolus", 40.0, 0.0)
    content = only(
        run(
            *start,
            (0.2, events.BolusExtendedStarted(bolus_id=7, size_u=4.0)),
            (120.2, extended_completed(4.0, 4.0)),
            (120.2, delivery(4.0, 0.0, 4.0, end=True, types=("later", "carb"))),
        )
    )
    assert (content["carbs"], content["insulin"], content["enteredinsulin"]) == (40.0, 0.0, 4.0)
    assert (content["splitNow"], content["splitExt"], content["relative"], content["duration"]) == (0, 100, 2.0, 120)


def test_extended_bolus_cut_short() -> None:
    """An extended bolus that is cut short at once is a plain bolus."""
    first, second, third = request(carbs=40, options="extended", immediate_percent=50, food=4.0, total_u=4.0)
    content = only(
        run((0, first), (0, second), (0, third), (0.2, started(size=2.0)), (1, completed(0.5, 2.0, "stopped_by_alarm")))
    )
    assert (content["eventType"], content["insulin"]) == ("Meal Bolus", 0.5)
    assert "stopped by an alarm after 0.5 of 2 U" in content["notes"]
    assert "duration" not in content


def test_bolus_end_in_280_alone() -> None:
    """The end in record 280 alone is enough."""
    assert only(run((0, started()), (1, delivery(2.5, end=True))))["insulin"] == 2.5


def test_bolus_amounts_not_added() -> None:
    """The amounts of records 20 and 280 are never added."""
    for order in ([1, 0], [0, 1]):
        ends = [completed(3.0), delivery(3.0, end=True)]
        assert only(run((0, started()), (1, ends[order[0]]), (1, ends[order[1]])))["insulin"] == 3.0


def test_bolus_without_end() -> None:
    """A bolus without an end makes no treatment, and this is reported."""
    fold = BolusFold()
    world = timeline(
        (0, request(total_u=3.0)[2]), (0.25, started()), (0.3, delivery(1.0)), (24 * 60, completed(1.0, bolus_id=8))
    )
    assert final_documents(fold, world[:3]) == []
    state = fold.initial()
    for item in world:
        state, _ = fold.step(state, item)
    ((text, since),) = fold.waiting(state)
    assert text == "bolus 7 of 3 U: the pump's data does not say how it ended"
    assert since == NOON
    state, _ = fold.step(state, event(completed(1.0, bolus_id=9), 40 * 86400, 5000))
    assert fold.waiting(state) == ()


def test_bolus_of_nothing() -> None:
    """A bolus of nothing writes nothing."""
    assert run((0, started()), (0.1, completed(0.0, status="user_aborted"))) == []
    assert run((0, started()), (0.1, completed(0.0003, status="user_aborted"))) == []


def test_carbs_of_cancelled_bolus() -> None:
    """Carbs whose insulin was cancelled stay."""
    world = [(0.0, request(carbs=30)[0]), (0.2, started()), (0.3, completed(0.0, status="user_aborted"))]
    content = only(run(*world))
    assert (content["eventType"], content["carbs"]) == ("Carb Correction", 30.0)
    assert "insulin" not in content
    assert content["notes"] == "cancelled by the wearer after 0 of 3 U"
    assert only(run(*world, fold=BolusFold(carbs="note")))["eventType"] == "Note"
    assert run(*world, fold=BolusFold(carbs="off")) == []


def test_carbs_option() -> None:
    """Carbs can go into the notes or nowhere."""
    noted = only(run(*meal(), fold=BolusFold(carbs="note")))
    assert noted["notes"] == "20 g carbs"
    assert "carbs" not in noted
    left_out = only(run(*meal(), fold=BolusFold(carbs="off")))
    assert not {"carbs", "notes"} & left_out.keys()


def test_glucose_options() -> None:
    """Glucose can be left out."""
    assert not {"glucose", "glucoseType", "units"} & only(run(*meal(), fold=BolusFold(glucose=False))).keys()


def test_glucose_from_sensor() -> None:
    """A glucose value from the sensor is no finger stick."""
    stick = events.GlucoseFingerstick(glucose_mg_dl=116, entry="from_cgm")
    assert only(run((0, stick), *meal(at=1)))["glucoseType"] == "Sensor"
    other_value = events.GlucoseFingerstick(glucose_mg_dl=150, entry="manual")
    assert only(run((0, other_value), *meal(at=1)))["glucoseType"] == "Sensor"
    long_ago = events.GlucoseFingerstick(glucose_mg_dl=116, entry="manual")
    assert only(run((0, long_ago), *meal(at=60)))["glucoseType"] == "Sensor"


@pytest.mark.parametrize(
    ("parts", "event_type"),
    [
        (request(bolus_type="automatic_correction", options="automatic"), "Correction Bolus"),
        (request(correction_u=1.0, total_u=1.0), "Correction Bolus"),
        (request(correction_u=1.0, food=2.0, carbs=20, total_u=3.0), "Meal Bolus"),
        (request(total_u=3.0), "Bolus"),
        (request(options="quick"), "Bolus"),
    ],
)
def test_bolus_names(parts: list[events.BolusRequested], event_type: str) -> None:
    """How boluses are named."""
    content = only(run(*((0.0, part) for part in parts), (0.2, started()), (1, completed(3.0))))
    assert content["eventType"] == event_type
    if parts[1].options == "automatic":
        assert content["notes"] == "automatic"
    if parts[1].options == "quick":
        assert content["notes"] == "quick bolus"


@pytest.mark.parametrize("amount", [25.5, -1.0, float("nan"), float("inf")])
def test_bolus_impossible_amount(amount: float) -> None:
    """An impossible amount is set aside."""
    (document,) = run((0, started()), (1, completed(amount)))
    assert document.problem is not None
    assert "bolus 7" in document.problem


def test_bolus_impossible_detail() -> None:
    """An impossible detail does not cost the dose."""
    sent, *aside = sorted(
        run((0, request(carbs=5000, glucose=3)[0]), (0.2, started()), (1, completed(3.0))),
        key=lambda document: document.problem is not None,
    )
    assert sent.content["insulin"] == 3.0
    assert not {"carbs", "glucose"} & sent.content.keys()
    assert [document.problem for document in aside] == [
        "carbs in g of 5000 is not possible",
        "glucose in mg/dL of 3 is not possible",
    ]


def test_bolus_time_fallback() -> None:
    """The time falls back to what is known."""
    assert run((0, request()[0]), (0.5, delivery(0.0)), (1, completed(3.0)))[0].at.minute == 0
    assert run((0, request()[0]), (0.5, delivery(0.0)), (1, completed(3.0)))[0].at.second == 30
    assert run((0, request()[0]), (1, completed(3.0)))[0].at.second == 0
    assert run((1, completed(3.0)))[0].at.minute == 1


def test_bolus_id_used_again() -> None:
    """The same id hours or years later is another bolus."""
    documents = run(*meal(), *meal(at=60), *meal(at=600))
    assert len({document.id for document in documents}) == len(documents) == 3
    assert sum(document.content["insulin"] for document in documents) == 9.0
    first = keep_laws(BolusFold(), [event(completed(3.0), 0, 100), event(completed(3.0), 3e7, 100 + EPOCH)])
    assert [document.id for document in first] == [
        document_id("90556643", 0, "bolus", 7, epoch) for epoch in ("0", "1")
    ]


def test_bolus_identity() -> None:
    """The identity does not depend on which records arrived."""
    world = timeline(*meal())
    for start in range(7):
        (document,) = keep_laws(BolusFold(), world[start:])
        assert document.id == document_id("90556643", 0, "bolus", 7, "0")


def test_two_boluses_at_once() -> None:
    """Two boluses at the same time stay apart."""
    world = sorted([*meal(7), *meal(8, at=0.1)], key=lambda step: step[0])
    assert [document.content["insulin"] for document in run(*world)] == [3.0, 3.0]


def test_bolus_rows_without_numbers() -> None:
    """Rows of a source without sequence numbers are separate boluses."""
    world = [
        event(
            events.BolusCompleted(
                bolus_id=bolus_id, status="completed", delivered_u=2.0, requested_u=2.0, carbs_g=15, notes="Extended"
            ),
            second,
            None,
        )
        for bolus_id, second in [(1, 0), (0, 100), (0, 160)]
    ]
    documents = sorted(keep_laws(BolusFold(), world, range(3)), key=lambda document: document.at)
    assert [document.content["insulin"] for document in documents] == [2.0] * 3
    assert documents[0].content["notes"] == "Extended"
    assert documents[0].at == NOON
    assert documents[0].content["pump"]["events"] == [world[0].id]


def test_bolus_state_forgets() -> None:
    """The fold's state forgets old boluses."""
    fold = BolusFold()
    state = fold.initial()
    for day in range(100):
        for step in timeline(*meal(bolus_id=day + 1, at=day * 1440), first_seq=day * 100):
            state, _ = fold.step(state, step)
    assert len(state.open) == 1
    for number in range(500):  # all within one second: bounded even when time stands still
        state, _ = fold.step(state, event(started(bolus_id=1000 + number), 9e6, 20_000 + number))
    assert len(state.open) <= 64
