from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tconnectsync import Document, Event, document_id, events
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


def test_equal_rates_are_one_document_that_reaches_the_newest_record() -> None:
    """And five minutes on, when the next record comes: until then the site must not fall back to the scheduled rate."""
    assert draw((0, delivered(1.0)), (5, delivered(1.0)), (10, delivered(1.0))) == [(0, 15, 1.0)]
    assert draw((0, delivered(1.0))) == [(0, 5, 1.0)]


def test_what_was_drawn_ahead_is_cut_where_the_next_record_says_otherwise() -> None:
    assert draw((0, delivered(1.0)), (2, delivered(0.5))) == [(0, 2, 1.0), (2, 5, 0.5)]
    assert draw((0, delivered(1.0)), (2, SUSPENDED), (3, RESUMED)) == [(0, 2, 1.0), (2, 1, 0)]
    assert draw((0, delivered(1.0)), (2, events.WearEnded())) == [(0, 2, 1.0)]


def test_a_new_rate_ends_the_one_before_exactly_where_it_begins() -> None:
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


def test_zero_is_a_rate() -> None:
    assert draw((0, delivered(0)), (5, delivered(0)), (10, delivered(1.0)), (15, delivered(1.0))) == [
        (0, 10, 0),
        (10, 10, 1.0),
    ]


def test_another_source_of_the_same_rate_is_another_stretch() -> None:
    assert draw((0, delivered(1.0, "profile")), (5, delivered(1.0)), (10, delivered(1.0))) == [
        (0, 5, 1.0),
        (5, 10, 1.0),
    ]


def test_silence_leaves_a_hole_fifteen_minutes_after_the_last_confirmation() -> None:
    assert draw((0, delivered(1.0)), (5, delivered(1.0)), (60, delivered(1.0)), (65, delivered(1.0))) == [
        (0, 20, 1.0),
        (60, 10, 1.0),
    ]


def test_a_gap_of_exactly_fifteen_minutes_is_no_hole() -> None:
    assert draw((0, delivered(1.0)), (15, delivered(1.0)), (30, delivered(1.0))) == [(0, 35, 1.0)]


def test_a_suspension_is_zero_until_the_pump_resumes_however_silent() -> None:
    world = timeline(
        (0, delivered(1.0)), (5, SUSPENDED), (300, RESUMED), (300.1, delivered(0.8)), (305, delivered(0.8))
    )
    documents = keep_laws(BasalFold(), world, [2, 4])
    assert drawn(documents) == [(0, 5, 1.0), (5, 295, 0), (300.1, 9.9, 0.8)]
    assert documents[1].content["notes"] == "Delivery suspended by the wearer"
    assert documents[1].content["pump"]["events"] == [1001, 1002]


def test_zero_rates_during_a_suspension_continue_it() -> None:
    assert draw((0, SUSPENDED), (1, delivered(0, "suspended")), (6, delivered(0, "suspended")), (30, RESUMED)) == [
        (0, 30, 0)
    ]


def test_a_rate_above_zero_ends_a_suspension_whose_resume_is_missing() -> None:
    assert draw((0, SUSPENDED), (20, delivered(0.7)), (25, delivered(0.7))) == [(0, 20, 0), (20, 10, 0.7)]


NOTED = (NOON + timedelta(hours=2)).replace(tzinfo=None)
ALIVE = (
    delivered(0, "suspended"), events.AlarmRaised(alarm_id=18, name="resume_pump"), events.DaySummary(),
    events.GlucoseReading(mark="value", reading_time=NOTED, glucose_mg_dl=120.0), events.BatteryMeasured(),
    events.AlarmCleared(alarm_id=2, name="occlusion"), events.CartridgeFilled(volume_u=180.0),
)  # fmt: skip


@pytest.mark.parametrize("sign", ALIVE, ids=lambda sign: type(sign).__name__)
def test_an_open_suspension_is_drawn_two_hours_past_the_newest_sign_of_life(sign: Any) -> None:
    """Seen on a real site: a pump that an occlusion had stopped showed the profile's full rate for the whole upload lag."""
    occlusion = events.PumpingSuspended(reason="alarm")
    assert draw((0, delivered(1.0)), (2, occlusion)) == [(0, 2, 1.0), (2, 120, 0)]
    assert draw((0, delivered(1.0)), (2, occlusion), (60, sign)) == [(0, 2, 1.0), (2, 178, 0)]
    assert draw((0, delivered(1.0)), (2, occlusion), (60, sign), (61, RESUMED)) == [(0, 2, 1.0), (2, 59, 0)]


def test_an_open_suspension_grows_under_the_identity_that_it_ends_with() -> None:
    steps = ((0, SUSPENDED), (60, ALIVE[1]), (300, ALIVE[2]), (301, RESUMED))
    shown = [keep_laws(BasalFold(), timeline(*steps[:count])) for count in range(1, 5)]
    assert [drawn(documents) for documents in shown] == [[(0, length, 0)] for length in (120, 180, 420, 301)]
    assert len({document.id for documents in shown for document in documents}) == 1


@pytest.mark.parametrize(
    "body", [events.ClockChanged(part="time", step_s=9e5), events.SettingsCaptured(settings_hash="", details={})]
)
def test_a_time_that_may_be_wrong_does_not_lengthen_a_suspension(body: Any) -> None:
    assert draw((0, SUSPENDED), (3000, body)) == [(0, 120, 0)]


def test_a_second_suspension_record_goes_on_with_the_first() -> None:
    assert draw((0, SUSPENDED), (5, events.PumpingSuspended(reason="alarm")), (10, RESUMED)) == [(0, 10, 0)]


def test_after_resuming_nothing_is_known_until_the_next_rate() -> None:
    assert draw((0, delivered(1)), (5, SUSPENDED), (10, RESUMED), (13, delivered(1)), (18, delivered(1))) == [
        (0, 5, 1),
        (5, 5, 0),
        (13, 10, 1),
    ]


def test_a_rate_just_before_the_resume_record_belongs_to_the_resumed_delivery() -> None:
    assert draw((0, SUSPENDED), (10, delivered(1.0)), (10.1, RESUMED), (15, delivered(1.0))) == [
        (0, 10, 0),
        (10, 10, 1),
    ]


def test_a_resume_whose_suspension_is_missing_ends_the_rate_at_its_last_confirmation() -> None:
    assert draw((0, delivered(1)), (5, delivered(1)), (14, RESUMED), (15, delivered(1)), (20, delivered(1))) == [
        (0, 5, 1),
        (15, 10, 1),
    ]


def test_a_sign_of_life_just_before_a_resume_does_not_make_an_old_rate_the_resumed_one() -> None:
    """A pump that tells changes only, and whose suspension is missing: the rate of hours ago is not the one it resumed with."""
    assert draw((0, changed(1.0)), (179.8, events.DaySummary()), (180, RESUMED), (300, changed(0.5))) == [
        (0, 179.8, 1.0),
        (300, 5, 0.5),
    ]


def test_rows_with_their_own_span_count_exactly_that() -> None:
    assert draw((0, delivered(1.0, "profile", 1800)), (60, delivered(0.5, "profile", 3600))) == [
        (0, 30, 1.0),
        (60, 60, 0.5),
    ]


def test_equal_rows_that_touch_are_one_stretch_of_any_length() -> None:
    day = [(hour * 60.0, delivered(1.0, "profile", 3600)) for hour in range(30)]
    assert draw(*day) == [(0, 30 * 60, 1.0)]


def test_a_row_is_cut_by_the_next_one() -> None:
    assert draw((0, delivered(1.0, span_s=3600)), (30, delivered(0.5, span_s=600))) == [(0, 30, 1.0), (30, 10, 0.5)]


def test_rate_changes_hold_until_the_next_where_there_is_nothing_else() -> None:
    alive = events.DaySummary()
    assert draw((0, changed(1.0)), (600, changed(0.5)), (660, alive)) == [(0, 600, 1.0), (600, 65, 0.5)]


def test_rate_changes_are_ignored_while_a_delivered_rate_is_in_force() -> None:
    assert draw((0, delivered(1.0)), (3, changed(2.0)), (5, delivered(1.0)), (10, delivered(1.0))) == [(0, 15, 1.0)]


def test_a_rate_change_in_a_hole_of_delivered_rates_holds_no_longer_than_they_would() -> None:
    assert draw((0, delivered(1.0)), (60, changed(2.0)), (180, delivered(1.0)), (185, delivered(1.0))) == [
        (0, 15, 1.0),
        (60, 15, 2.0),
        (180, 10, 1.0),
    ]


def test_a_pump_that_reports_deliveries_is_not_believed_to_go_on_at_a_changed_rate_in_silence() -> None:
    """Not even when the last delivery was a day ago: 40 U were drawn once that nobody had confirmed."""
    day = 25 * 60
    shown = draw((0, delivered(1.0)), (5, delivered(1.0)), (day, changed(2.0)), (day + 20 * 60, delivered(1.0)))
    assert (day, 15, 2.0) in shown


def test_a_rate_change_ends_a_suspension_only_above_zero() -> None:
    assert draw((0, SUSPENDED), (0.1, changed(0, "suspended")), (30, changed(1.0, "resumed")), (60, changed(2.0))) == [
        (0, 30, 0),
        (30, 30, 1.0),
        (60, 5, 2.0),
    ]


@pytest.mark.parametrize("rate", [-0.1, 15.001, 65.535, float("nan"), float("inf")])
def test_a_rate_that_cannot_be_is_shown_and_leaves_a_hole(rate: float) -> None:
    world = timeline((0, delivered(1.0)), (5, delivered(rate)), (10, delivered(1.0)), (15, delivered(1.0)))
    documents = keep_laws(BasalFold(), world, [2])
    assert drawn(documents) == [(0, 5, 1.0), (10, 10, 1.0)]
    (problem,) = [document for document in documents if document.problem]
    assert "basal rate" in str(problem.problem)


def test_a_rate_that_cannot_be_does_not_end_a_suspension() -> None:
    assert draw((0, SUSPENDED), (5, delivered(99.0)), (10, RESUMED)) == [(0, 10, 0)]


def test_a_hand_over_ends_the_stretch_exactly_there_and_begins_with_the_rate_in_force() -> None:
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


def test_a_pump_that_is_not_worn_is_not_drawn() -> None:
    assert draw((0, events.WearEnded()), (1, delivered(1.0)), (6, delivered(2.0)), (11, delivered(1.0))) == []


def test_a_suspension_over_a_hand_over_is_drawn_from_there() -> None:
    world = [
        event(events.WearEnded(), 0, None),
        event(SUSPENDED, 60, 1),
        event(events.WearBegan(), 3600, None),
        event(RESUMED, 7200, 2),
    ]
    assert drawn(keep_laws(BasalFold(), world, range(4))) == [(60, 60, 0)]


def test_a_rate_that_ran_out_before_the_hand_over_is_not_drawn_after_it() -> None:
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
def test_the_drawn_rate_is_what_the_rules_say_in_every_second(world: list[Event]) -> None:
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
        if moment + timedelta(seconds=1) >= newest or rate_at(world, moment + timedelta(seconds=1)) != expected:
            continue  # within a second of a change
        assert drawn_now == ([] if expected is None else [expected])
