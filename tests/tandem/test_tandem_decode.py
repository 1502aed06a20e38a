"""Decoding of records, by examples that look like captured ones."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tconnectsync import events
from tconnectsync_tandem.decode import decode
from tconnectsync_tandem.decode.entries import RECORDS
from tconnectsync_tandem.decode.fields import ODD, bit_numbers
from tconnectsync_tandem.decode.glucose import EPOCH
from tests.tandem.fake_cloud import entry

NOON = "2026-11-19T12:00:00"
NOON_S = int((datetime(2026, 11, 19, 12) - EPOCH).total_seconds())


def read(code: int, **properties: Any) -> Any:
    return decode(entry(code, 1, NOON, properties))


def body(code: int, **properties: Any) -> Any:
    kind, found = read(code, **properties)
    assert kind != "unknown", found
    assert isinstance(found, events.BODIES[kind])
    return found


def reason(code: int, **properties: Any) -> str:
    kind, found = read(code, **properties)
    assert kind == "unknown", found
    return str(found.reason)


BASAL = {
    "commandedRateSource": 3,
    "commandedRate": 1061,
    "profileBasalRate": 1000,
    "algorithmRate": 1061,
    "tempRate": 65535,
}


def test_basal_comes_in_milliunits_and_65535_is_no_rate() -> None:
    assert body(279, **BASAL) == events.BasalDelivered(
        rate_u_per_h=1.061, rate_source="algorithm", profile_rate_u_per_h=1.0, algorithm_rate_u_per_h=1.061
    )
    assert body(279, **{**BASAL, "commandedRate": 0}).rate_u_per_h == 0
    assert reason(279, **{**BASAL, "commandedRate": 65535}) == "commandedRate says none"


@pytest.mark.parametrize(
    "rate",
    ["1061 mU", "1,061", "", "nan", "1e999", "٣", "0x10", -1, 65_536, 1e300, math.nan, math.inf, True, [1], {}, 2**200],
)
def test_a_rate_that_cannot_be_is_no_rate(rate: Any) -> None:
    assert "commandedRate is " in reason(279, **{**BASAL, "commandedRate": rate})
    assert body(279, **{**BASAL, "tempRate": rate}).temp_rate_u_per_h is None


def test_keys_are_matched_without_regard_to_case() -> None:
    record = {key.upper(): value for key, value in entry(279, 1, NOON, {}).items()}
    record["EVENTPROPERTIES"] = {key.lower(): value for key, value in BASAL.items()}
    assert decode(record) == read(279, **BASAL)
    assert body(279, **BASAL, COMMANDEDRATE=5).rate_u_per_h == 1.061  # the catalogue's own spelling wins


def test_numbers_outside_a_table_stay_numbers_as_text() -> None:
    assert body(279, **{**BASAL, "commandedRateSource": 77}).rate_source == "77"
    assert body(5, alarmId=200) == events.AlarmRaised(alarm_id=200, name="200")
    assert body(280, bolusId=1, bolusDeliveryStatus=0, bolusType=[0, 9], bolusSource=3, deliveredTotal=1).types == (
        "now",
        "9",
    )


@pytest.mark.parametrize("bits", [[0, 3, 4], [4, 0, 3], 0b11001])
def test_bits_come_as_a_list_or_as_a_mask(bits: Any) -> None:
    found = body(
        280, bolusId=1426, bolusDeliveryStatus=1, bolusType=bits, bolusSource=8, deliveredTotal=0, correction=130
    )
    assert found.types == ("now", "correction", "carb")
    assert found.correction_u == 0.13
    assert found.status == "started"


@pytest.mark.parametrize("lookalike", [[True], [1.0]])
def test_bits_do_not_depend_on_earlier_records(lookalike: Any) -> None:
    """Python takes True and 1.0 for the same key as 1."""
    assert bit_numbers([1]) == {1}
    assert bit_numbers(lookalike) is ODD


@pytest.mark.parametrize(
    ("yes", "expected"), [(1, True), (0, False), (True, True), ("TRUE", True), ("false", False), (7, None)]
)
def test_yes_and_no_come_in_several_words(yes: Any, expected: bool | None) -> None:
    assert body(65, bolusId=1, userOverride=yes).user_override is expected


def test_a_phone_bolus_says_zero_where_it_does_not_know() -> None:
    one = body(64, bolusId=1, bolusType=3, correctionBolusIncluded=0, carbAmount=50, bg=0, iob=1.82, carbRatio=0)
    two = body(65, bolusId=1, options=4, standardPercent=100, duration=0, isf=0, targetBg=0, userOverride=0)
    assert (one.carbs_g, one.glucose_mg_dl, one.carb_ratio_g_per_u, one.iob_u) == (50, None, None, 1.82)
    assert (two.isf_mg_dl_per_u, two.target_mg_dl, two.extended_duration_min) == (None, None, 0)
    assert body(64, bolusId=1, carbAmount=0, carbRatio=6000, bg=120).carb_ratio_g_per_u == 6


@pytest.mark.parametrize(
    ("code", "missing", "properties"),
    [
        (20, "insulinDelivered", {"bolusId": 1, "completionStatus": 3}),
        (20, "completionStatus", {"bolusId": 1, "insulinDelivered": 3}),
        (20, "bolusId", {"completionStatus": 3, "insulinDelivered": 3}),
        (21, "insulinDelivered", {"bolusId": 1, "completionStatus": 3}),
        (280, "deliveredTotal", {"bolusId": 1, "bolusDeliveryStatus": 0}),
        (66, "totalBolusSize", {"bolusId": 1, "foodBolusSize": 2}),
        (64, "carbAmount", {"bolusId": 1}),
        (48, "carbs", {}),
        (3, "commandedBasalRate", {}),
        (4, "alertId", {}),
        (6, "malfId", {"alarmId": 3}),
        (13, "timePrior", {"timeAfter": 5}),
        (229, "currentUserMode", {}),
        (399, "glucoseValueStatus", {"egvTimeStamp": NOON_S}),
    ],
)
def test_a_record_without_what_it_is_about_is_unknown(code: int, missing: str, properties: dict[str, Any]) -> None:
    assert reason(code, **properties) == f"{missing} is missing"


@pytest.mark.parametrize("amount", [-0.5, 501, "8 U", "8,5", "", math.nan, math.inf, None, True])
def test_a_dose_that_cannot_be_is_unknown(amount: Any) -> None:
    assert "insulinDelivered" in reason(20, bolusId=1, completionStatus=3, insulinDelivered=amount)


def test_an_interrupted_bolus_keeps_both_amounts() -> None:
    found = body(20, completionStatus=0, bolusId=1644, iob=1.2275107, insulinDelivered=0.04657, insulinRequested=0.5)
    assert (found.status, found.delivered_u, found.requested_u) == ("user_aborted", 0.04657, 0.5)


def test_clock_changes_tell_their_own_step() -> None:
    assert body(13, timePrior=59278139, timeAfter=55657000, rawRtcTime=7) == events.ClockChanged(
        part="time", step_s=-3621.139, rtc_ms=7
    )
    assert body(14, datePrior=4394, dateAfter=6410).step_s == (6410 - 4394) * 86_400


READING = {
    "glucoseValueStatus": 0,
    "cgmDataType": [0],
    "rate": -39,
    "algorithmState": 32,
    "rssi": -54,
    "currentGlucoseDisplayValue": 195,
    "egvTimeStamp": NOON_S - 3,
    "egvInfoBitmask": [0, 5, 6, 7, 8, 11, 12],
    "interval": 0,
    "reservedD15": 0,
}


@pytest.mark.parametrize(
    ("code", "sensor"), [(256, "dexcom_g6"), (372, "libre_2"), (399, "dexcom_g7"), (480, "libre_3")]
)
def test_a_reading_has_its_own_time(code: int, sensor: str) -> None:
    found = body(code, **READING)
    assert found == events.GlucoseReading(
        mark="value",
        reading_time=datetime(2026, 11, 19, 11, 59, 57),
        glucose_mg_dl=195,
        trend_mg_dl_per_min=-3.9,
        sensor=sensor,
    )


@pytest.mark.parametrize(
    ("status", "shown", "mark"),
    [
        (0, 40, "value"),
        (0, 400, "value"),
        (0, 39, "low"),
        (0, 401, "high"),
        (0, 0, "hidden"),
        (1, 0, "high"),
        (1, 1100, "high"),
        (2, 38, "low"),
        (2, 0, "low"),
        (6, 120, "hidden"),
        (9, 120, "hidden"),
    ],
)
def test_high_and_low_are_marks_and_never_numbers(status: int, shown: int, mark: str) -> None:
    found = body(399, **{**READING, "glucoseValueStatus": status, "currentGlucoseDisplayValue": shown})
    assert found.mark == mark
    assert found.glucose_mg_dl == (shown if mark == "value" else None)


def test_a_reading_that_says_it_is_none_is_hidden() -> None:
    assert body(399, **{**READING, "cgmDataType": [4]}).mark == "hidden"
    assert body(399, **{**READING, "egvInfoBitmask": [0, 4]}).mark == "hidden"


@pytest.mark.parametrize("more", [{"cgmDataType": [1]}, {"egvInfoBitmask": [1, 5]}])
def test_backfilled_reading_keeps_its_time(more: dict[str, Any]) -> None:
    """A backfilled reading keeps the time of its measurement."""
    found = body(399, **{**READING, "egvTimeStamp": NOON_S - 3 * 3600, **more})
    assert found.backfilled
    assert found.reading_time == datetime(2026, 11, 19, 9)


@pytest.mark.parametrize("stamp", [0, 2**32 - 1, NOON_S - 4 * 86_400, NOON_S + 4 * 86_400, "now", None])
def test_a_reading_of_no_or_another_time_is_unknown(stamp: Any) -> None:
    assert "egvTimeStamp" in reason(399, **{**READING, "egvTimeStamp": stamp})


def test_no_trend_and_no_number() -> None:
    assert body(256, **{**READING, "rate": 127}).trend_mg_dl_per_min is None
    assert "currentGlucoseDisplayValue" in reason(399, **{**READING, "currentGlucoseDisplayValue": None})
    assert body(399, **{**READING, "glucoseValueStatus": 2, "currentGlucoseDisplayValue": None}).mark == "low"


def test_a_finger_stick_needs_to_say_that_it_is_one() -> None:
    properties = {"bg": 151, "cgmCalibration": 0, "iob": 1.1809407, "targetBg": 110, "isf": 30, "selectedIob": 1}
    assert body(16, bgEntryType=0, **properties).entry == "manual"
    assert body(16, bgEntryType=1, **properties).entry == "from_cgm"
    assert reason(16, **properties) == "bgEntryType is missing"


def test_sensor_sessions_tell_their_age() -> None:
    none = 4294967295
    assert body(394, cgmTimestamp=3042, sessionSignature=72) == events.SensorJoined(
        sensor="dexcom_g7", session_age_s=3042, signature="72"
    )
    joined = body(213, currentTransmitterTime=1673785, sessionStartTime=905139, sessionDuration=10, sessionJoinReason=0)
    assert joined == events.SensorJoined(sensor="dexcom_g6", session_age_s=1673785 - 905139, reason="user")
    assert body(214, currentTransmitterTime=1769181, sessionStartTime=none, sessionStopReason=6).session_age_s is None
    assert body(447, currentTransmitterTime=814740, sessionStartTime=none, sessionStopReason=15).session_age_s == 814740
    assert body(404, sessionStartTime=5).session_age_s is None
    assert body(486, sessionStartTime=5, sessionStopTime=95).session_age_s == 90


def test_sensor_alert_glucose() -> None:
    """Sensor alerts report the glucose only if the value is one."""
    high = body(369, dalertId=2, sensorType=3, param1=214, param2=200, faultLocatorData=8468)
    assert high == events.SensorAlertRaised(alert_id=2, name="high", sensor="dexcom_g7", value=214)
    assert body(369, dalertId=14, sensorType=3, param1=25).value is None
    assert body(171, dalertId=3).sensor is None
    assert body(461, dalertId=3, sensorType=4).sensor == "libre_3"


def test_modes_tell_who_started_a_sleep() -> None:
    asleep = body(
        229,
        currentUserMode=1,
        previousUserMode=0,
        requestedAction=1,
        sleepStartedByGui=0,
        exerciseChoice=1,
        exerciseTime=30,
    )
    assert asleep == events.ModeChanged(mode="sleep", previous="normal", action="start_sleep", by_schedule=True)
    exercise = body(
        229,
        currentUserMode=2,
        previousUserMode=0,
        requestedAction=3,
        sleepStartedByGui=0,
        exerciseChoice=1,
        exerciseTime=30,
    )
    assert (exercise.by_schedule, exercise.exercise_min) == (None, 30)


def test_suspensions_fills_and_batteries() -> None:
    assert body(11, suspendReason=6, insulinAmount=120).reason == "plgs"
    assert body(11).reason == "unknown"
    assert body(12, insulinAmount=13).reservoir_u == 13
    assert body(63, primeSize=-1, completionStatus=3) == events.TubingFilled(prime_u=None, status="completed")
    assert body(61, primeSize=0.3, completionStatus=0).status == "user_aborted"
    assert body(33, insulinVolume=180, v2Volume=0) == events.CartridgeFilled(volume_u=180)
    assert body(9, abc=96, ibc=100).battery_percent == 96
    assert body(35, abc=65535).battery_percent is None
    assert body(53, liPoAbc=50, liPoMV=3900) == events.BatteryMeasured(battery_percent=50, battery_mv=3900)
    assert body(81, iob=1.5, batteryChargePercent=80, batteryLipoMilliVolts=4000).battery_mv == 4000


def test_temporary_rates_and_single_doses() -> None:
    assert body(565, requestedPercent=150, duration=1_800_000, tempRateId=3) == events.TempBasalStarted(
        temp_rate_id=3, percent=150, duration_s=1800
    )
    assert body(564, stopReason=0, tempRateId=3, timeLeft=60_000).time_left_s == 60
    done = body(
        559, doseId=4, doseSource=3, syncDoseSizeRequested=0.05, syncDoseSizeDelivered=0.05, currentBasalRate=600
    )
    assert (done.delivered_u, done.rate_u_per_h) == (0.05, 0.6)
    assert "syncDoseSizeDelivered" in reason(559, doseId=4)


def test_records_for_no_sink_are_noted_by_name() -> None:
    letters = {f"name{i}": ord(letter) for i, letter in enumerate("Night\0xx")}
    assert body(69, idp=1, status=3, **letters) == events.PumpNoted(
        name="profile_changed", values={"profile_slot": 1, "status": "activate", "text": "Night"}
    )
    assert body(313, pumpControlState=3, usermode=1, sensorType=3).values["mode"] == "sleep"
    assert body(219, whatever=[1]) == events.PumpNoted(name="record_219", values={})


def test_a_record_without_properties_is_unknown() -> None:
    odd: list[Any] = [None, [], "x", 5]
    for properties in odd:
        kind, found = decode({**entry(63, 1, NOON, {}), "eventProperties": properties})
        assert (kind, found.reason.split(" is ")[0]) == ("unknown", "eventProperties")


_ANY = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=5,
)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_value_of_any_property_of_any_record_raises(data: st.DataObject) -> None:
    record = RECORDS[data.draw(st.sampled_from(sorted(RECORDS)))]
    properties = {key: data.draw(st.one_of(_ANY, st.integers(0, 500))) for key in sorted(record.known)}
    kind, found = decode(entry(record.code, 1, NOON, properties))
    assert isinstance(found, events.BODIES[kind])
    for value in (getattr(found, name, None) for name in ("rate_u_per_h", "delivered_u", "carbs_g", "glucose_mg_dl")):
        assert value is None or 0 <= value <= 65_535


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=8), _ANY, max_size=8))
def test_no_object_raises(raw: dict[str, Any]) -> None:
    assert decode(raw)[0] == "unknown"


def test_impossible_times_have_no_identity() -> None:
    """Times that no pump can count have no identity."""
    for text in ("1999-01-01T00:00:00", "9999-12-31T23:59:59", "2026-13-01T00:00:00", "2026-11-19", 5, None):
        assert decode({**entry(12, 1, NOON, {}), "pumpDateTime": text})[0] == "unknown"
    assert decode(entry(12, 1, NOON + ".123Z", {}))[0] == "pumping.resumed"
    assert EPOCH + timedelta(seconds=NOON_S) == datetime.fromisoformat(NOON)
