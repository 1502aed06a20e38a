from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tconnectsync import Event, events
from tconnectsync.events.pump_state import PumpState, Reported, StartedBolus, after

NOON = datetime(2026, 5, 14, 12, 0, tzinfo=timezone.utc)
KIND_OF = {body: kind for kind, body in events.BODIES.items()}


def state_after(*steps: tuple[float, Any]) -> PumpState:
    """The state after (minutes after noon, body) pairs, on a pump two hours ahead of UTC."""
    state = PumpState()
    for number, (minute, body) in enumerate(steps):
        at = NOON + timedelta(minutes=minute)
        event = Event(
            id=f"tandem:1:0:{number}", kind=KIND_OF[type(body)], pump="1", group=0, seq=number,
            pump_time=(at + timedelta(hours=2)).replace(tzinfo=None), source="tandem", received_at=at, body=body, at=at,
        )  # fmt: skip
        state = after(state, event)
    return state


def glucose(minute: float, value: float | None = 120.0, mark: str = "value") -> events.GlucoseReading:
    wall = (NOON + timedelta(hours=2, minutes=minute)).replace(tzinfo=None)
    return events.GlucoseReading(mark=mark, reading_time=wall, glucose_mg_dl=value)


def done(bolus_id: int, units: float | None) -> events.BolusCompleted:
    return events.BolusCompleted(bolus_id=bolus_id, status="completed", delivered_u=units, iob_u=1.25)


def test_state_value_times() -> None:
    """Each value has its own time."""
    state = state_after(
        (0, events.BatteryMeasured(battery_percent=80.0)),
        (1, done(7, 2.0)),
        (2, events.BasalDelivered(rate_u_per_h=0.8)),
    )
    assert state.battery_percent == Reported(value=80.0, at=NOON)
    assert state.bolus_u == Reported(value=2.0, at=NOON + timedelta(minutes=1))
    assert state.iob_u == Reported(value=1.25, at=NOON + timedelta(minutes=1))
    assert state.rate_u_per_h == Reported(value=0.8, at=NOON + timedelta(minutes=2))
    assert (state.at, state.suspended, state.seq) == (NOON + timedelta(minutes=2), False, 2)


def test_state_empty_bolus() -> None:
    """A bolus that delivered nothing is not the last bolus."""
    state = state_after((0, done(7, 2.0)), (5, done(8, 0.0)), (6, done(9, None)), (7, done(10, 65_535.0)))
    assert state.bolus_u == Reported(value=2.0, at=NOON)


def test_state_bolus_without_end() -> None:
    """A bolus that has started is open until its own end, whatever it delivered."""
    begun = (5, events.BolusStarted(bolus_id=8, size_u=4.0))
    other = (6, events.BolusDelivered(bolus_id=7, status="completed", delivered_u=2.0))
    running = (6, events.BolusDelivered(bolus_id=8, status="started", delivered_u=1.0))
    still = state_after((0, done(7, 2.0)), begun, other, running)
    assert still.open_bolus == StartedBolus(bolus_id=8, at=NOON + timedelta(minutes=5))
    given = state_after((0, done(7, 2.0)), begun, (8, done(8, 4.0)))
    assert (given.open_bolus, given.bolus_u) == (None, Reported(value=4.0, at=NOON + timedelta(minutes=8)))
    stopped = state_after((0, done(7, 2.0)), begun, (8, done(8, 0.0)))
    assert (stopped.open_bolus, stopped.bolus_u) == (None, Reported(value=2.0, at=NOON))


def test_state_extended_bolus() -> None:
    """An extended bolus is the last one with both parts, also without record 280; while it runs, its amount is unknown."""
    began = (4, events.BolusExtendedStarted(bolus_id=8, size_u=4.0))
    between = (30, done(9, 1.0))
    ended = (64, events.BolusExtendedCompleted(bolus_id=8, status="completed", delivered_u=3.5))
    whole = (65, events.BolusDelivered(bolus_id=8, status="completed", delivered_u=5.5))
    for immediate in ((3, done(8, 2.0)), (5, done(8, 2.0))):
        steps = sorted([(0, done(7, 0.5)), immediate, began], key=lambda step: step[0])
        running = state_after(*steps)
        assert running.open_bolus == StartedBolus(bolus_id=8, at=NOON + timedelta(minutes=4), extended=True)
        over = state_after(*steps, ended)
        assert (over.open_bolus, over.bolus_u) == (None, Reported(value=5.5, at=NOON + timedelta(minutes=64)))
        assert state_after(*steps, between).bolus_u == Reported(value=1.0, at=NOON + timedelta(minutes=30))
        assert state_after(*steps, between, ended).bolus_u == over.bolus_u
        assert state_after(*steps, ended, whole).bolus_u == Reported(value=5.5, at=NOON + timedelta(minutes=65))
    without_immediate = state_after((0, done(7, 0.5)), began, ended)
    assert without_immediate.bolus_u == Reported(value=3.5, at=NOON + timedelta(minutes=64))


def test_state_reservoir_of_long_bolus() -> None:
    """The immediate part of an extended bolus is subtracted once, whatever else is given during its eight hours."""
    others = [(60.0 * number, done(20 + number, 1.0)) for number in range(1, 8)]
    state = state_after(
        (0, events.CartridgeFilled(volume_u=200.0)),
        (1, done(8, 2.0)),
        (2, events.BolusExtendedStarted(bolus_id=8, size_u=4.0)),
        *others,
        (480, events.BolusExtendedCompleted(bolus_id=8, status="completed", delivered_u=4.0)),
        (480, events.BolusDelivered(bolus_id=8, status="completed", delivered_u=6.0)),
    )
    assert state.reservoir_u is not None
    assert state.reservoir_u.value == 187.0


def test_state_backfilled_reading() -> None:
    """A backfilled reading does not count as new."""
    state = state_after((0, glucose(0, 140.0)), (10, glucose(-30, 90.0)))
    assert state.glucose_mg_dl == Reported(value=140.0, at=NOON)


def test_state_high_and_hidden_glucose() -> None:
    """Beyond the sensor's range there is a number, as on Nightscout; a hidden reading changes nothing."""
    for mark, number, shown in (("high", None, 401.0), ("low", None, 39.0), ("value", 38.0, 39.0)):
        state = state_after((0, glucose(0)), (5, glucose(5, number, mark)), (10, glucose(10, None, "hidden")))
        assert state.glucose_mg_dl == Reported(value=shown, at=NOON + timedelta(minutes=5))


def test_state_suspension() -> None:
    """A suspension is a rate of zero until delivery resumes."""
    state = state_after((0, events.BasalDelivered(rate_u_per_h=1.0)), (1, events.PumpingSuspended(reason="user")))
    assert (state.suspended, state.rate_u_per_h) == (True, Reported(value=0.0, at=NOON + timedelta(minutes=1)))
    resumed = state_after((0, events.PumpingSuspended()), (9, events.PumpingResumed()))
    assert (resumed.suspended, resumed.rate_u_per_h) == (False, None)


@pytest.mark.parametrize("body", [
    events.DaySummary(iob_u=-1.0), events.DaySummary(iob_u=float("nan")), events.BasalDelivered(rate_u_per_h=65_535.0),
    events.BatteryMeasured(battery_percent=200.0, battery_mv=1), glucose(0, 5_000.0),
])  # fmt: skip
def test_state_impossible_value(body: Any) -> None:
    """An impossible value counts as unknown."""
    state = state_after((0, body))
    known = (state.iob_u, state.rate_u_per_h, state.battery_percent, state.battery_mv, state.glucose_mg_dl)
    assert known == (None,) * 5
