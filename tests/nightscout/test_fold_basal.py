from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tconnectsync import Document, Event, document_id, events, read_therapy
from tconnectsync_nightscout.folds.basal import BasalFold
from tests.nightscout.fold_harness import NOON, event, final_documents, keep_laws, timeline


def delivered(rate: float, source: str = "algorithm", span_s: int | None = None) -> events.BasalDelivered:
    return events.BasalDelivered(rate_u_per_h=rate, rate_source=source, span_s=span_s)


def changed(rate: float, *reasons: str) -> events.BasalRateChanged:
    return events.BasalRateChanged(rate_u_per_h=rate, reasons=reasons)


SUSPENDED, RESUMED = events.PumpingSuspended(reason="user"), events.PumpingResumed()


def drawn(documents: Sequence[Document]) -> list[tuple[float, float, float]]:
    """(minute after noon, length in minutes, rate) of each stretch, to whole seconds."""
    return [
        (
            (document.at.replace(microsecond=0) - NOON).total_seconds() / 60,
            pytest.approx(document.content["duration"], abs=1 / 60),
            document.content["absolute"],
        )
        for document in documents
        if document.problem is None
    ]


def draw(*steps: tuple[float, Any]) -> list[tuple[float, float, float]]:
    world = timeline(*steps)
    return drawn(keep_laws(BasalFold(), world, range(len(world))))


def test_equal_rates_one_document() -> None:
    """Equal rates are one document that reaches five minutes past the newest record.

    The next record comes then; until it does, the site must not fall back to the scheduled rate.
    """
    assert draw((0, delivered(1.0)), (5, delivered(1.0)), (10, delivered(1.0))) == [(0, 15, 1.0)]
    assert draw((0, delivered(1.0))) == [(0, 5, 1.0)]


def test_drawn_ahead_is_cut() -> None:
    """A rate that was drawn ahead is cut when the next record differs."""
    assert draw((0, delivered(1.0)), (2, delivered(0.5))) == [(0, 2, 1.0), (2, 5, 0.5)]
    assert draw((0, delivered(1.0)), (2, SUSPENDED), (3, RESUMED)) == [(0, 2, 1.0), (2, 1, 0)]
    assert draw((0, delivered(1.0)), (2, events.WearEnded())) == [(0, 2, 1.0)]


def test_new_rate_ends_previous() -> None:
    """A new rate ends the previous one exactly where it begins."""
    first, second = keep_laws(
        BasalFold(), timeline((0, delivered(1.0)), (5, delivered(0.5)), (10, delivered(0.5)), first_seq=7498)
    )
    assert first.at == NOON + timedelta(milliseconds=498)
    assert second.at == NOON + timedelta(minutes=5, milliseconds=499)
    assert abs(first.at + timedelta(minutes=first.content["duration"]) - second.at) < timedelta(milliseconds=5)
    assert first.id == document_id("90556643", 0, "basal", 7498)
    assert first.content["pump"] == {"serial": "90556643", "events": [7498]}
    assert first.content["rate"] == first.content["absolute"] == 1.0
    assert first.unique_slot == first.content["eventType"] == "Temp Basal"


def test_zero_rate() -> None:
    """Zero is a rate."""
    assert draw((0, delivered(0)), (5, delivered(0)), (10, delivered(1.0)), (15, delivered(1.0))) == [
        (0, 10, 0),
        (10, 10, 1.0),
    ]


def test_same_rate_other_source() -> None:
    """The same rate from another source is another document."""
    assert draw((0, delivered(1.0, "profile")), (5, delivered(1.0)), (10, delivered(1.0))) == [
        (0, 5, 1.0),
        (5, 10, 1.0),
    ]


def test_silence_leaves_hole() -> None:
    """Silence leaves a hole fifteen minutes after the last confirmation."""
    assert draw((0, delivered(1.0)), (5, delivered(1.0)), (60, delivered(1.0)), (65, delivered(1.0))) == [
        (0, 20, 1.0),
        (60, 10, 1.0),
    ]


def test_silence_of_fifteen_minutes() -> None:
    """A gap of exactly fifteen minutes is no hole."""
    assert draw((0, delivered(1.0)), (15, delivered(1.0)), (30, delivered(1.0))) == [(0, 35, 1.0)]


def test_suspension_until_resume() -> None:
    """A suspension is a rate of zero until the pump resumes, however silent."""
    world = timeline(
        (0, delivered(1.0)), (5, SUSPENDED), (300, RESUMED), (300.1, delivered(0.8)), (305, delivered(0.8))
    )
    documents = keep_laws(BasalFold(), world, [2, 4])
    assert drawn(documents) == [(0, 5, 1.0), (5, 295, 0), (300.1, 9.9, 0.8)]
    assert documents[1].content["notes"] == "Delivery suspended by the wearer"
    assert documents[1].content["pump"]["events"] == [1001, 1002]


def test_suspension_with_zero_rates() -> None:
    """Zero rates during a suspension continue it."""
    assert draw((0, SUSPENDED), (1, delivered(0, "suspended")), (6, delivered(0, "suspended")), (30, RESUMED)) == [
        (0, 30, 0)
    ]


def test_suspension_without_resume() -> None:
    """A rate above zero ends a suspension whose resume record is missing."""
    assert draw((0, SUSPENDED), (20, delivered(0.7)), (25, delivered(0.7))) == [(0, 20, 0), (20, 10, 0.7)]


NOTED = (NOON + timedelta(hours=2)).replace(tzinfo=None)
ALIVE = (
    delivered(0, "suspended"), events.AlarmRaised(alarm_id=18, name="resume_pump"), events.DaySummary(),
    events.GlucoseReading(mark="value", reading_time=NOTED, glucose_mg_dl=120.0), events.BatteryMeasured(),
    events.AlarmCleared(alarm_id=2, name="occlusion"), events.CartridgeFilled(volume_u=180.0),
)  # fmt: skip


@pytest.mark.parametrize("sign", ALIVE, ids=lambda sign: type(sign).__name__)
def test_suspension_open_two_hours(sign: Any) -> None:
    """An open suspension is drawn for two hours after the newest sign of life.

    Seen on a real site: a pump that an occlusion had stopped showed the profile's full rate for the whole upload lag.
    """
    occlusion = events.PumpingSuspended(reason="alarm")
    assert draw((0, delivered(1.0)), (2, occlusion)) == [(0, 2, 1.0), (2, 120, 0)]
    assert draw((0, delivered(1.0)), (2, occlusion), (60, sign)) == [(0, 2, 1.0), (2, 178, 0)]
    assert draw((0, delivered(1.0)), (2, occlusion), (60, sign), (61, RESUMED)) == [(0, 2, 1.0), (2, 59, 0)]


def test_suspension_keeps_identity() -> None:
    """An open suspension grows under the identity that it ends with."""
    steps = ((0, SUSPENDED), (60, ALIVE[1]), (300, ALIVE[2]), (301, RESUMED))
    shown = [keep_laws(BasalFold(), timeline(*steps[:count])) for count in range(1, 5)]
    assert [drawn(documents) for documents in shown] == [[(0, length, 0)] for length in (120, 180, 420, 301)]
    assert len({document.id for documents in shown for document in documents}) == 1


@pytest.mark.parametrize(
    "body", [events.ClockChanged(part="time", step_s=9e5), events.SettingsCaptured(settings_hash="", details={})]
)
def test_suspension_and_doubtful_time(body: Any) -> None:
    """A time that may be wrong does not lengthen a suspension."""
    assert draw((0, SUSPENDED), (3000, body)) == [(0, 120, 0)]


def test_suspension_recorded_twice() -> None:
    """A second suspension record continues the first."""
    assert draw((0, SUSPENDED), (5, events.PumpingSuspended(reason="alarm")), (10, RESUMED)) == [(0, 10, 0)]


def test_resume_rate_unknown() -> None:
    """After a resume nothing is known until the next rate."""
    assert draw((0, delivered(1)), (5, SUSPENDED), (10, RESUMED), (13, delivered(1)), (18, delivered(1))) == [
        (0, 5, 1),
        (5, 5, 0),
        (13, 10, 1),
    ]


def test_resume_after_rate() -> None:
    """A rate just before the resume record belongs to the resumed delivery."""
    assert draw((0, SUSPENDED), (10, delivered(1.0)), (10.1, RESUMED), (15, delivered(1.0))) == [
        (0, 10, 0),
        (10, 10, 1),
    ]


@pytest.mark.parametrize(
    ("zero", "until"),
    [
        pytest.param(delivered(0, "algorithm"), 15, id="279"),
        pytest.param(changed(0, "resumed", "temp_rate_start"), 28, id="3"),
    ],
)
def test_resume_after_zero_rate(zero: Any, until: float) -> None:
    """A pump that resumes with a rate of 0 delivers nothing from then on: the site must not show the scheduled rate."""
    world = timeline((0, SUSPENDED), (10, zero), (10.1, RESUMED), (28, delivered(1.0)))
    assert drawn(keep_laws(BasalFold(), world, range(4))) == [(0, 10, 0), (10, min(until, 18), 0), (28, 5, 1)]
    spans = read_therapy(world).basal
    assert [(span.suspended, span.rate_u_per_h) for span in spans[:2]] == [(True, 0), (False, 0)]


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([(10, delivered(0, "suspended")), (10.1, RESUMED)], id="of the suspension"),
        pytest.param([(10, delivered(0, "unknown")), (10.1, RESUMED)], id="of an unknown source"),
        pytest.param([(10, changed(0)), (10.1, RESUMED)], id="without a reason"),
        pytest.param([(9, delivered(0)), (10.1, RESUMED)], id="too long before"),
        pytest.param([(10, delivered(0)), (10.05, delivered(99.0)), (10.1, RESUMED)], id="before an unknown rate"),
        pytest.param([(10, delivered(0)), (10.05, SUSPENDED), (10.1, RESUMED)], id="before another suspension"),
    ],
)
def test_resume_after_other_zero_rate(steps: list[tuple[float, Any]]) -> None:
    """After other rates of 0, the rate with which the pump resumed is unknown."""
    world = timeline((0, SUSPENDED), *steps)
    assert drawn(keep_laws(BasalFold(), world, range(len(world)))) == [(0, 10.1, 0)]
    (span,) = read_therapy(world).basal
    assert span.suspended


def test_resume_without_suspension() -> None:
    """A resume whose suspension is missing ends the rate at its last confirmation."""
    assert draw((0, delivered(1)), (5, delivered(1)), (14, RESUMED), (15, delivered(1)), (20, delivered(1))) == [
        (0, 5, 1),
        (15, 10, 1),
    ]


def test_resume_after_sign_of_life() -> None:
    """A sign of life just before a resume does not make an old rate the resumed one.

    The pump reports only changes, and the suspension is missing: it did not resume with the rate of hours ago.
    """
    assert draw((0, changed(1.0)), (179.8, events.DaySummary()), (180, RESUMED), (300, changed(0.5))) == [
        (0, 179.8, 1.0),
        (300, 5, 0.5),
    ]


def test_row_with_own_duration() -> None:
    """A row with a duration counts exactly that."""
    assert draw((0, delivered(1.0, "profile", 1800)), (60, delivered(0.5, "profile", 3600))) == [
        (0, 30, 1.0),
        (60, 60, 0.5),
    ]


def test_rows_that_touch() -> None:
    """Equal rows that touch are one document of any length."""
    day = [(hour * 60.0, delivered(1.0, "profile", 3600)) for hour in range(30)]
    assert draw(*day) == [(0, 30 * 60, 1.0)]


def test_row_cut_by_next() -> None:
    """A row is cut by the next one."""
    assert draw((0, delivered(1.0, span_s=3600)), (30, delivered(0.5, span_s=600))) == [(0, 30, 1.0), (30, 10, 0.5)]


def test_rate_changes_alone() -> None:
    """If there is nothing else, a rate change holds until the next one."""
    alive = events.DaySummary()
    assert draw((0, changed(1.0)), (600, changed(0.5)), (660, alive)) == [(0, 600, 1.0), (600, 65, 0.5)]


def test_rate_change_during_delivered_rate() -> None:
    """Rate changes are ignored while a delivered rate is in force."""
    assert draw((0, delivered(1.0)), (3, changed(2.0)), (5, delivered(1.0)), (10, delivered(1.0))) == [(0, 15, 1.0)]


def test_rate_change_in_hole() -> None:
    """A rate change in a hole of delivered rates holds no longer than they would."""
    assert draw((0, delivered(1.0)), (60, changed(2.0)), (180, delivered(1.0)), (185, delivered(1.0))) == [
        (0, 15, 1.0),
        (60, 15, 2.0),
        (180, 10, 1.0),
    ]


def test_rate_change_in_silence() -> None:
    """A pump that reports deliveries does not continue a changed rate in silence.

    Not even if the last delivery was a day ago: once, 40 U were drawn that nobody had confirmed.
    """
    day = 25 * 60
    shown = draw((0, delivered(1.0)), (5, delivered(1.0)), (day, changed(2.0)), (day + 20 * 60, delivered(1.0)))
    assert (day, 15, 2.0) in shown


def test_rate_change_during_suspension() -> None:
    """A rate change ends a suspension only if it is above zero."""
    assert draw((0, SUSPENDED), (0.1, changed(0, "suspended")), (30, changed(1.0, "resumed")), (60, changed(2.0))) == [
        (0, 30, 0),
        (30, 30, 1.0),
        (60, 5, 2.0),
    ]


@pytest.mark.parametrize("rate", [-0.1, 15.001, 65.535, float("nan"), float("inf")])
def test_impossible_rate(rate: float) -> None:
    """An impossible rate is reported and leaves a hole."""
    world = timeline((0, delivered(1.0)), (5, delivered(rate)), (10, delivered(1.0)), (15, delivered(1.0)))
    documents = keep_laws(BasalFold(), world, [2])
    assert drawn(documents) == [(0, 5, 1.0), (10, 10, 1.0)]
    (problem,) = [document for document in documents if document.problem]
    assert "basal rate" in str(problem.problem)


def test_impossible_rate_during_suspension() -> None:
    """An impossible rate does not end a suspension."""
    assert draw((0, SUSPENDED), (5, delivered(99.0)), (10, RESUMED)) == [(0, 10, 0)]


def test_hand_over_splits_rate() -> None:
    """A hand-over ends the document exactly there, and the new pump begins with its rate in force."""
    world = [
        event(delivered(1.0), 0, 1000),
        event(delivered(1.0), 300, 1001),
        event(events.WearEnded(), 420, None),
        event(delivered(1.0), 600, 1002),
        event(delivered(1.0), 900, 1003),
        event(events.WearBegan(), 1000, None),
        event(delivered(1.0), 1200, 1004),
        event(delivered(2.0), 1500, 1005),
    ]
    documents = keep_laws(BasalFold(), world, range(8))
    assert drawn(documents) == [
        (0, 7, 1.0),
        (pytest.approx(1000 / 60), pytest.approx(500 / 60, abs=1 / 60), 1.0),
        (25, 5, 2.0),
    ]
    assert len({document.id for document in documents}) == 3


def test_inactive_pump_not_drawn() -> None:
    """An inactive pump is not drawn."""
    assert draw((0, events.WearEnded()), (1, delivered(1.0)), (6, delivered(2.0)), (11, delivered(1.0))) == []


def test_hand_over_during_suspension() -> None:
    """A suspension over a hand-over is drawn from there."""
    world = [
        event(events.WearEnded(), 0, None),
        event(SUSPENDED, 60, 1),
        event(events.WearBegan(), 3600, None),
        event(RESUMED, 7200, 2),
    ]
    assert drawn(keep_laws(BasalFold(), world, range(4))) == [(60, 60, 0)]


def test_hand_over_after_rate_ended() -> None:
    """A rate that ended before the hand-over is not drawn after it."""
    assert draw((0, delivered(1.0)), (5, events.WearEnded()), (40, events.WearBegan()), (41, delivered(2.0))) == [
        (0, 5, 1),
        (41, 5, 2),
    ]


# --- the integral, against an oracle that asks for every second what the rules say -----------------------------------


def rate_at(world: Sequence[Event], moment: datetime) -> float | None:
    """The rules in words: the newest fact decides, a rate for 15 minutes, a suspension for as long as it lasts."""
    past = [item for item in world if item.at is not None and item.at <= moment]
    suspended = None
    for item in past:
        if item.kind == "pumping.suspended":
            suspended = True
        elif item.kind == "pumping.resumed" or 0 < item.body.rate_u_per_h <= 15:
            suspended = False
    if suspended:
        return 0.0
    if len(past) > 1 and past[-1].kind == "pumping.resumed" and past[-2].kind == "basal.delivered":
        near = past[-1].at - past[-2].at <= timedelta(minutes=1)
        past = past[:-1] if near and past[-2].body.rate_u_per_h == 0 else past
    if not past or past[-1].kind != "basal.delivered":
        return None
    newest = past[-1]
    assert newest.at is not None
    if moment - newest.at >= timedelta(minutes=15) or not 0 <= newest.body.rate_u_per_h <= 15:
        return None
    return round(newest.body.rate_u_per_h, 3)


@st.composite
def worlds(draw: st.DrawFn) -> list[Event]:
    second, suspended, world = 0.0, False, []
    for number in range(draw(st.integers(1, 14))):
        second += draw(st.sampled_from([1, 42, 300, 300, 300, 600, 900, 1200]))
        kinds = ["rate"] * 4 + ["resume" if suspended else "suspend"]
        kind = draw(st.sampled_from(kinds))
        if kind == "suspend":
            body, suspended = SUSPENDED, True
        elif kind == "resume":
            body, suspended = RESUMED, False
        else:
            rate = draw(st.sampled_from([0.0, 0.0, 0.5, 0.5, 1.279, 15.0, 65.535]))
            body = delivered(rate)
            suspended = suspended and not 0 < rate <= 15
        world.append(event(body, second, 1000 + number * 7))
    return world


@settings(max_examples=80, deadline=None)
@given(worlds())
def test_rate_in_every_second(world: list[Event]) -> None:
    """The drawn rate is what the rules say, in every second."""
    documents = [document for document in final_documents(BasalFold(), world) if document.problem is None]
    newest = world[-1].at
    assert newest is not None
    for second in range(0, int((newest - NOON).total_seconds()), 13):
        moment = NOON + timedelta(seconds=second)
        # documents carry up to 0.999 s of sequence number; at the end of the second all of them have caught up
        seen = moment + timedelta(milliseconds=999.5)
        drawn_now = [
            document.content["absolute"]
            for document in documents
            if document.at <= seen < document.at + timedelta(minutes=document.content["duration"])
        ]
        expected = rate_at(world, moment)
        if rate_at(world, moment + timedelta(seconds=1)) != expected or any(
            each.at is not None and moment < each.at <= moment + timedelta(seconds=1) for each in world
        ):
            continue  # within a second of a change, or of a new document: a duration is rounded down to 0.06 s
        assert drawn_now == ([] if expected is None else [expected])
