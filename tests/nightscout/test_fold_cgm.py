from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tconnectsync import Document, Event, events
from tconnectsync_nightscout.folds.cgm import ReadingsFold, direction, fingersticks
from tests.nightscout.fold_harness import NOON, event, keep_laws


def reading(
    minute: float, seq: int, *, measured: float | None = None, glucose: float | None = 120.0, mark: str = "value",
    trend: float | None = 0.0,
) -> Event:  # fmt: skip
    """A reading that the pump wrote ``minute`` minutes after noon, measured then or at ``measured``."""
    made = event(events.CarbsEntered(carbs_g=1), minute * 60, seq)
    when = made.pump_time + timedelta(minutes=(minute if measured is None else measured) - minute)
    body = events.GlucoseReading(
        mark=mark,
        reading_time=when,
        glucose_mg_dl=glucose if mark == "value" else None,
        trend_mg_dl_per_min=trend,
        backfilled=measured is not None,
    )
    return msgspec.structs.replace(made, kind="glucose.reading", body=body)


def entries(*world: Event) -> list[Document]:
    return keep_laws(ReadingsFold(), world, range(len(world)))


def test_reading_time() -> None:
    """A reading is an entry at the time when it was measured."""
    (entry,) = entries(reading(7, 1000, measured=2, glucose=123.0, trend=1.5))
    assert (entry.collection, entry.unique_slot) == ("entries", "sgv")
    assert entry.at == NOON.replace(minute=2)
    assert entry.content == {
        "type": "sgv",
        "device": "tandem 90556643",
        "sgv": 123,
        "direction": "FortyFiveUp",
        "pump": {"serial": "90556643", "events": [1000]},
    }


def test_reading_backfilled_copy() -> None:
    """A live reading and its backfilled copy are one entry."""
    found = entries(reading(0, 1), reading(5, 2), reading(60, 3, measured=0), reading(60, 4, measured=10))
    assert [entry.at.minute for entry in found] == [0, 5, 10]


@pytest.mark.parametrize(("mark", "glucose", "sgv"), [
    ("high", None, 401), ("low", None, 39), ("value", 39.0, 39), ("value", 401.0, 401), ("value", 40.0, 40),
])  # fmt: skip
def test_reading_high_and_low(mark: str, glucose: float | None, sgv: int) -> None:
    """The values "high" and "low" are marks."""
    (entry,) = entries(reading(0, 1, mark=mark, glucose=glucose))
    assert entry.content["sgv"] == sgv
    assert entry.content.get("direction") == ("Flat" if sgv == 40 else None)  # outside its range the sensor sends 0


def test_reading_hidden() -> None:
    """A hidden reading writes nothing and leaves its minute to a copy."""
    (entry,) = entries(reading(0, 1, mark="hidden"), reading(30, 2, measured=0))
    assert entry.content["pump"]["events"] == [2]


def test_reading_repeated_hour() -> None:
    """The hour that comes twice has all its readings.

    The wall clock repeats itself when the wearer sets it back, but UTC does not.
    """
    before, after = reading(0, 1), reading(60, 2)
    body = msgspec.structs.replace(after.body, reading_time=before.body.reading_time)
    again = msgspec.structs.replace(after, pump_time=before.pump_time, body=body)
    assert [entry.at for entry in entries(before, again)] == [NOON, NOON + timedelta(hours=1)]


def test_reading_future_date() -> None:
    """A date in the future does not let the state grow."""
    fold, state = ReadingsFold(), ReadingsFold().initial()
    for item in (reading(0, 1), reading(60 * 24 * 365, 2), reading(5, 3), reading(10, 4)):
        state, documents = fold.step(state, item)
        assert len(documents) == 1
        assert len(state.seen) < 800


@pytest.mark.parametrize("glucose", [-5.0, 9.0, 1001.0, float("nan"), float("inf")])
def test_reading_impossible(glucose: float) -> None:
    """An impossible value is set aside."""
    (entry,) = entries(reading(0, 1, glucose=glucose))
    assert entry.problem is not None


@pytest.mark.parametrize(("trend", "word"), [
    (4.0, "DoubleUp"), (3.0, "DoubleUp"), (2.0, "SingleUp"), (1.0, "FortyFiveUp"), (0.9, "Flat"), (-1.0, "Flat"),
    (-1.1, "FortyFiveDown"), (-2.5, "SingleDown"), (-3.5, "DoubleDown"), (None, None), (12.7, None), (float("nan"), None),
])  # fmt: skip
def test_reading_arrow(trend: float | None, word: str | None) -> None:
    """The arrow follows the rate of change."""
    assert direction(trend) == word


def stick(**fields: Any) -> list[Document]:
    return keep_laws(fingersticks, [event(events.GlucoseFingerstick(**fields), 0, 1)], [0])


def test_finger_stick() -> None:
    """A typed finger stick is an ``mbg`` entry."""
    (entry,) = stick(glucose_mg_dl=98.0)
    assert (entry.unique_slot, entry.content["mbg"], entry.at) == ("mbg", 98.0, NOON)


@pytest.mark.parametrize("fields", [{"glucose_mg_dl": 98.0, "entry": "from_cgm"}, {"glucose_mg_dl": None}])
def test_finger_stick_from_sensor(fields: dict[str, Any]) -> None:
    """A value from the sensor, or of unknown origin, is no finger stick."""
    assert stick(**fields) == []


def test_finger_stick_impossible() -> None:
    """An impossible finger stick is set aside."""
    assert stick(glucose_mg_dl=2000.0)[0].problem is not None
