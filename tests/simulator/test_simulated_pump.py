from __future__ import annotations

import json
from collections import Counter
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any

import pytest

from tconnectsync_simulator.pump.plan import Flight, SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump, Simulation, simulate
from tconnectsync_simulator.pump.records import short_float
from tests.simulator.record_shapes import CAPTURED, ENTRY, UNCAPTURED
from tests.simulator.two_pumps import hand_over

UTC = timezone.utc


@pytest.fixture(scope="module")
def pump() -> SimulatedPump:
    """Forty days of a simulated pump."""
    return simulate(SimulationPlan(seed=7, days=40))


@pytest.fixture(scope="module")
def long_life() -> SimulatedPump:
    """Four months, for what happens seldom."""
    return simulate(SimulationPlan(seed=2, days=120, scan_codes=False))


def by_code(pump: SimulatedPump, code: int) -> list[dict[str, Any]]:
    return [entry for entry in pump.records if entry["eventCode"] == code]


def test_same_plan_same_pump() -> None:
    """Another seed gives another one."""
    plan = SimulationPlan(seed=3, days=3, late_share=0.2)
    first, second = simulate(plan), simulate(plan)
    assert first.log == second.log
    assert first.truth == second.truth
    assert simulate(SimulationPlan(seed=4, days=3, late_share=0.2)).records != first.records


def test_uploads_do_not_change_the_pump() -> None:
    undisturbed = simulate(SimulationPlan(seed=3, days=3))
    late = simulate(SimulationPlan(seed=3, days=3, late_share=0.3, upload_every_min=17))
    assert undisturbed.records == late.records


def test_day_by_day_gives_what_all_at_once_gives() -> None:
    plan = SimulationPlan(seed=5, days=3)
    simulation = Simulation(plan)
    lazily = [record for day in simulation.days() for record in day]
    assert tuple(lazily) == simulate(plan).log
    assert simulation.truth() == simulate(plan).truth


def test_record_has_captured_keys(pump: SimulatedPump) -> None:
    """In their order."""
    for entry in pump.records:
        assert " ".join(entry) == ENTRY
        keys = CAPTURED.get(entry["eventCode"])
        if keys is None:
            assert entry["eventCode"] in UNCAPTURED
        else:
            assert " ".join(entry["eventProperties"]) == keys, entry


def test_every_kind_of_record_occurs_within_weeks(pump: SimulatedPump) -> None:
    assert set(Counter(entry["eventCode"] for entry in pump.records)) == set(CAPTURED) | UNCAPTURED


def test_numbers_are_written_as_the_api_writes_them(pump: SimulatedPump) -> None:
    text = json.dumps(pump.records)
    assert "NaN" not in text
    assert "e-" not in text
    for entry in pump.records:
        for value in entry["eventProperties"].values():
            assert not isinstance(value, bool)
            if isinstance(value, float):
                assert not value.is_integer()
                assert short_float(value) == value


def test_short_floats_are_those_of_the_captures() -> None:
    for value in (1.1809407, 8.330001, 2.0829997, 0.04657, 9.475377, 3.53):
        assert short_float(value) == value
    assert json.dumps(short_float(2.0)) == "2"


def test_a_pump_day_is_about_as_busy_as_a_real_one(pump: SimulatedPump) -> None:
    assert 1050 <= len(pump.log) / 40 <= 1350
    numbers = [entry["sequenceNumber"] for entry in pump.records if entry["sequenceNumber"] > 1000]
    assert 2500 <= (numbers[-1] - numbers[0]) / 40 <= 4500


def test_numbers_rise_in_the_order_of_true_time(pump: SimulatedPump) -> None:
    for one, other in pairwise(pump.log):
        assert one.at_s <= other.at_s
        assert one.entry["sequenceNumber"] < other.entry["sequenceNumber"]


def test_estimated_time_is_the_pump_time_with_a_letter(pump: SimulatedPump) -> None:
    assert all(entry["estimatedDateTime"] == entry["pumpDateTime"] + "Z" for entry in pump.records)


def test_a_simple_bolus_is_told_in_the_captured_order(pump: SimulatedPump) -> None:
    bolus = next(b for b in pump.truth.boluses if b.kind == "manual" and not b.extended_min and b.reason == "completed")
    told = [e for e in pump.records if e["eventProperties"].get("bolusId") == bolus.bolus_id]
    assert [entry["eventCode"] for entry in told] == [64, 65, 66, 55, 280, 280, 20]
    numbers = [entry["sequenceNumber"] for entry in told]
    assert numbers[1] - numbers[0] == numbers[2] - numbers[1] == numbers[4] - numbers[3] == 1
    assert told[4]["eventProperties"]["deliveredTotal"] == 0
    assert told[5]["eventProperties"]["bolusDeliveryStatus"] == 0


def test_records_of_extended_bolus(pump: SimulatedPump) -> None:
    """It reports progress and ends with 21, then 280."""
    bolus = next(b for b in pump.truth.boluses if b.extended_min and b.reason == "completed" and b.immediate_u)
    told = [e for e in pump.records if e["eventProperties"].get("bolusId") == bolus.bolus_id]
    codes = [entry["eventCode"] for entry in told]
    assert codes[:9] == [64, 65, 66, 55, 280, 20, 59, 280, 280]
    assert codes[-2:] == [21, 280]
    totals = [entry["eventProperties"]["deliveredTotal"] for entry in told if entry["eventCode"] == 280]
    assert totals[1] == totals[2] == round(bolus.immediate_u * 1000)
    assert totals == sorted(totals)
    assert totals[-1] == round(bolus.delivered_u * 1000)


def test_every_way_to_end_a_bolus_occurs(long_life: SimulatedPump) -> None:
    pump = long_life
    ends = Counter((bolus.reason, bool(bolus.extended_min)) for bolus in pump.truth.boluses)
    for reason in ("completed", "user", "alarm"):
        assert ends[reason, False], ends
    assert ends["completed", True]
    assert ends["user", True]
    assert any(b.delivered_u == 0 and b.carbs_g for b in pump.truth.boluses)
    assert any(b.immediate_u == 0 and b.extended_u for b in pump.truth.boluses)
    assert {b.kind for b in pump.truth.boluses} == {"manual", "quick", "automatic"}
    assert {s.name for s in pump.truth.suspensions} == {"user", "alarm", "plgs"}
    assert {"2", "8", "18", "23"} <= {alarm.name for alarm in pump.truth.alarms}
    assert {reading.mark for reading in pump.truth.glucose} == {"value", "high", "low"}


def test_bolus_ids_wrap() -> None:
    pump = simulate(SimulationPlan(days=3, first_bolus_id=65_530))
    ids = [entry["eventProperties"]["bolusId"] for entry in by_code(pump, 64)]
    assert 65_535 in ids
    assert ids[ids.index(65_535) + 1] == 1


def test_suspensions_have_basal_records_of_zero_or_none(pump: SimulatedPump) -> None:
    silent, told = 0, 0
    for suspension in pump.truth.suspensions:
        assert suspension.ended_at is not None
        inside = [
            record.entry["eventProperties"]
            for record in pump.log
            if record.entry["eventCode"] == 279
            and suspension.started_at.timestamp() < record.at_s < suspension.ended_at.timestamp()
        ]
        assert all((p["commandedRate"], p["commandedRateSource"]) == (0, 0) for p in inside)
        if suspension.ended_at - suspension.started_at > timedelta(minutes=12):
            silent, told = silent + (not inside), told + bool(inside)
    assert silent
    assert told


def test_fills_that_bear_the_same_second(long_life: SimulatedPump) -> None:
    fills = long_life.truth.fills
    at = {name: {fill.at for fill in fills if fill.name == name} for name in ("cartridge", "tubing", "cannula")}
    assert at["cartridge"] <= at["tubing"]
    assert at["cartridge"] & at["cannula"]
    assert 30 <= len(at["cannula"]) <= 60


def test_backfilled_readings(pump: SimulatedPump) -> None:
    """They are logged later than they were measured."""
    backfilled = [e for e in by_code(pump, 399) if e["eventProperties"]["interval"] == 1]
    assert backfilled
    assert all(e["eventProperties"]["cgmDataType"] == [1] for e in backfilled)
    stamps = Counter(e["eventProperties"]["egvTimeStamp"] for e in by_code(pump, 399))
    assert max(stamps.values()) == 2


def test_sensor_session(pump: SimulatedPump) -> None:
    """It lasts ten days, and is joined again in between."""
    joins = [e["eventProperties"]["sessionSignature"] for e in by_code(pump, 394)]
    assert len(joins) > len(set(joins)) >= 3
    assert len(pump.truth.sensor_starts) == len(by_code(pump, 447))


# --- the clock ---


def offsets(pump: SimulatedPump) -> list[tuple[int, int]]:
    """(true second, pump clock minus UTC in seconds) at each change; the 14 of a pair is left out."""
    found: list[tuple[int, int]] = []
    for record in pump.log:
        if record.entry["eventCode"] == 14:
            continue
        local_s = datetime.fromisoformat(record.entry["estimatedDateTime"].replace("Z", "+00:00")).timestamp()
        offset_s = int(local_s) - record.at_s
        if not found or found[-1][1] != offset_s:
            found.append((record.at_s, offset_s))
    return found


def test_clock_set_after_daylight_saving_change() -> None:
    """Two days later."""
    pump = simulate(SimulationPlan(start=date(2025, 10, 30), days=8))
    set_at = [(datetime.fromtimestamp(at_s, UTC), offset_s // 3600) for at_s, offset_s in offsets(pump)]
    assert [hours for _, hours in set_at] == [-4, -5]
    assert set_at[1][0] == datetime(2025, 11, 4, 6, tzinfo=UTC)
    date_part, time_part = pump.clock_changes[-2:]
    assert (date_part["eventCode"], time_part["eventCode"]) == (14, 13)
    assert time_part["sequenceNumber"] == date_part["sequenceNumber"] + 1
    assert date_part["pumpDateTime"] == "2025-11-04T02:00:00"  # the new date, the old time of day
    assert time_part["pumpDateTime"] == "2025-11-04T01:00:00"
    properties = time_part["eventProperties"]
    assert properties["timeAfter"] == 3_600_000
    assert properties["timePrior"] // 1000 == 7200


def test_a_clock_that_is_never_set_goes_on_as_it_was() -> None:
    pump = simulate(SimulationPlan(start=date(2026, 3, 6), days=5, clock_set_delay_h=None))
    assert len(offsets(pump)) == 1


def test_clock_change_before_first_day() -> None:
    """It belongs to the clock's life."""
    pump = simulate(SimulationPlan(start=date(2026, 3, 20), days=2))
    assert [entry["eventCode"] for entry in pump.clock_changes] == [14, 13, 14, 13]
    assert [record.entry["sequenceNumber"] for record in pump.clock_change_log] == [95, 96, 97, 98]
    assert offsets(pump)[-1][1] == -4 * 3600


def test_flights_move_the_clock_there_and_back() -> None:
    there = Flight(lands_at=datetime(2026, 1, 11, 9, tzinfo=UTC), zone="Europe/Berlin", set_after_h=1)
    back = Flight(lands_at=datetime(2026, 1, 14, 20, tzinfo=UTC), zone="America/New_York", set_after_h=3)
    pump = simulate(SimulationPlan(start=date(2026, 1, 10), days=7, flights=(there, back)))
    assert [offset_s // 3600 for _, offset_s in offsets(pump)] == [-5, 1, -5]


def test_a_reset_clock_starts_in_2008_until_it_is_set() -> None:
    reset_at = datetime(2026, 1, 12, 15, tzinfo=UTC)
    pump = simulate(SimulationPlan(start=date(2026, 1, 10), days=4, reset_at=reset_at))
    lost = [e for e in pump.records if e["pumpDateTime"].startswith("2008-01-01")]
    assert lost
    assert lost[0]["pumpDateTime"] < "2008-01-01T00:05:00"
    told = [offset_s for _, offset_s in offsets(pump)]
    assert told[0] == told[-1] == -5 * 3600


def test_drift_is_corrected_when_the_clock_is_set() -> None:
    pump = simulate(SimulationPlan(start=date(2025, 10, 25), days=14, clock_drift_s_per_day=2.0))
    change = pump.clock_changes[-1]["eventProperties"]
    step_ms = change["timeAfter"] - change["timePrior"]
    assert -3_700_000 < step_ms < -3_601_000
    assert offsets(pump)[-1][1] + 5 * 3600 < 30


# --- the phone ---


def test_about_a_fifth_is_late_when_a_fifth_shall_be_late() -> None:
    pump = simulate(SimulationPlan(days=30, late_share=0.2))
    late = sum(record.uploaded_s - record.at_s > 7200 for record in pump.log) / len(pump.log)
    assert 0.14 <= late <= 0.26
    assert all(record.uploaded_s >= record.at_s for record in pump.log)


def test_everything_is_uploaded_within_an_hour() -> None:
    """Without trouble."""
    pump = simulate(SimulationPlan(days=5))
    assert all(record.uploaded_s - record.at_s <= 70 * 60 for record in pump.log if record.at_s > pump.log[10].at_s)


def test_nothing_is_uploaded_in_an_outage() -> None:
    begin, end = datetime(2026, 3, 2, 6, tzinfo=UTC), datetime(2026, 3, 4, 6, tzinfo=UTC)
    pump = simulate(SimulationPlan(days=5, outages=((begin, end),)))
    assert not any(begin.timestamp() <= record.uploaded_s < end.timestamp() for record in pump.log)


# --- two pumps ---


@pytest.mark.parametrize("drawer_rate", ["zero", "profile"])
def test_pump_in_a_drawer(drawer_rate: str) -> None:
    """It logs only basal and its routine."""
    at = datetime(2026, 3, 4, 17, 30, tzinfo=UTC)
    old, new = hand_over(SimulationPlan(days=6, drawer_rate=drawer_rate), at)
    after = [record for record in old.log if record.at_s > at.timestamp()]
    assert {279} <= {record.entry["eventCode"] for record in after} <= {279, 90, 307, 313, 9, 81, 219, 230, 26, 371}
    rates = {r.entry["eventProperties"]["commandedRate"] for r in after if r.entry["eventCode"] == 279}
    assert (rates == {0}) == (drawer_rate == "zero")
    assert old.assignment_id != new.assignment_id
    first = [record for record in new.log if record.at_s == int(at.timestamp())]
    assert {33, 63, 61, 279} <= {record.entry["eventCode"] for record in first}
    assert max(old.truth.basal_u_per_hour) <= at
    assert min(new.truth.basal_u_per_hour) == at.replace(minute=0)
    assert all(bolus.finished for bolus in old.truth.boluses)
    assert not any(span.ended_at is None for span in (*old.truth.modes, *old.truth.suspensions))
