"""Records of the ``pump-logs`` response, with the keys, order and number formats of the real API.

Every function returns the ``eventProperties`` of one record. Keys are from captured responses. Those of 9, 48, 57, 69
and 81 are from clients of the API, since no capture was published; of 8, 27 and 219 only the number is known.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

Properties = dict[str, Any]

NO_RATE = 65535
NO_SESSION = 4_294_967_295
PUMP_EPOCH_S = 1_199_145_600  # 2008-01-01T00:00:00, the start of the pump's time stamps

CONTINUED, COMPLETED = 1, 0  # 280 bolusDeliveryStatus
NOW, LATER, OVERRIDE, CORRECTION, CARB = 0, 1, 2, 3, 4  # 280 bolusType bits


class SimulatedRecord(NamedTuple):
    """One entry of ``events``, with the true times of the event and the upload (Unix s)."""

    entry: dict[str, Any]
    at_s: int
    uploaded_s: int


def short_float(value: float) -> float | int:
    """Format a float32 as the API does: shortest digits, and no point for a whole number."""
    single: float = struct.unpack("f", struct.pack("f", value))[0]
    number = single
    for digits in range(6, 10):
        number = float(f"{single:.{digits}g}")
        if struct.unpack("f", struct.pack("f", number))[0] == single:
            break
    return int(number) if number.is_integer() else number


def units(milliunits: float, ulps: int = 0) -> float | int:
    """Convert milliunits to units, ``ulps`` float32 steps off, since sums on the pump are not exact."""
    return short_float(milliunits / 1000 * (1 + ulps * 2.0**-23))


def basal_delivery(source: int, commanded: int, profile: int, algorithm: int, temp: int, odd: int) -> Properties:
    """279; rates in mU/h."""
    return {
        "commandedRateSource": source,
        "reservedA2": odd,
        "spareA3": 0,
        "commandedRate": commanded,
        "profileBasalRate": profile,
        "algorithmRate": algorithm,
        "tempRate": temp,
    }


def glucose_g7(
    status: int, value: int, trend: int, egv_time_stamp: int, rssi: int, *, backfill: bool = False, state: int = 32
) -> Properties:
    """399; ``trend`` in tenths of mg/dL/min."""
    valid = [5, 6, 7, 8, 11, 12] if state == 32 else [5, 7, 8, 11, 12]
    return {
        "glucoseValueStatus": status,
        "cgmDataType": [1 if backfill else 0],
        "rate": trend,
        "algorithmState": state,
        "rssi": rssi,
        "currentGlucoseDisplayValue": value,
        "egvTimeStamp": egv_time_stamp,
        "egvInfoBitmask": [1 if backfill else 0, *valid],
        "interval": 1 if backfill else 0,
        "reservedD15": 0,
    }


def bolus_request_1(
    bolus_id: int, kind: int, correction: bool, carbs_g: int, glucose: int, iob: float | int, carb_ratio: int
) -> Properties:
    """64; ``kind``: 0 insulin, 1 carb, 2 automatic correction, 3 remote. ``carb_ratio`` in thousandths of g/U."""
    return {
        "bolusId": bolus_id,
        "bolusType": kind,
        "correctionBolusIncluded": int(correction),
        "carbAmount": carbs_g,
        "bg": glucose,
        "iob": iob,
        "carbRatio": carb_ratio,
    }


def bolus_request_2(
    bolus_id: int,
    options: int,
    percent_now: int,
    extended_min: int,
    *,
    isf: int = 0,
    target: int = 0,
    override: bool = False,
    declined: bool = False,
) -> Properties:
    """65; ``options``: 0 standard, 1 extended, 2 quick, 3 automatic, 4 and 5 the same from the phone."""
    return {
        "bolusId": bolus_id,
        "options": options,
        "standardPercent": percent_now,
        "duration": extended_min,
        "spareB6": 0,
        "isf": isf,
        "targetBg": target,
        "userOverride": int(override),
        "declinedCorrection": int(declined),
        "selectedIob": 1,
    }


def bolus_request_3(bolus_id: int, food: float | int, correction: float | int, total: float | int) -> Properties:
    """66; units."""
    return {
        "bolusId": bolus_id,
        "spareA2": 0,
        "foodBolusSize": food,
        "correctionBolusSize": correction,
        "totalBolusSize": total,
    }


def bolus_started(bolus_id: int, iob: float | int, size: float | int) -> Properties:
    """55."""
    return {"bolusId": bolus_id, "selectedIob": 1, "spareA3": 0, "iob": iob, "bolusSize": size}


def extended_started(bolus_id: int, iob: float | int, size: float | int) -> Properties:
    """59."""
    return {"bolusId": bolus_id, "selectedIob": 1, "spareA3": 0, "iob": iob, "bolexSize": size}


def bolus_completed(
    status: int, bolus_id: int, iob: float | int, delivered: float | int, requested: float | int
) -> Properties:
    """20 (immediate part) and 21 (extended part); ``status``: 0 user, 1 alarm, 3 completed, 6 predicted low."""
    return {
        "completionStatus": status,
        "bolusId": bolus_id,
        "iob": iob,
        "insulinDelivered": delivered,
        "insulinRequested": requested,
    }


def finger_stick(glucose: int, iob: float | int, *, from_cgm: bool = False, remote: bool = False) -> Properties:
    """16."""
    return {
        "bg": glucose,
        "cgmCalibration": 0,
        "bgEntryType": int(from_cgm),
        "iob": iob,
        "targetBg": 110,
        "isf": 30,
        "selectedIob": 1,
        "bgSourceType": int(remote),
    }


def suspended(reason: int, reservoir_u: int) -> Properties:
    """11; ``reason``: 0 user, 1 alarm, 6 predicted low."""
    return {"preSuspendState": 106, "insulinAmount": reservoir_u, "suspendReason": reason, "rpaTimeout": 15}


def resumed(reservoir_u: int) -> Properties:
    """12."""
    return {"preResumeState": 100, "insulinAmount": reservoir_u}


def mode_change(
    current: int,
    previous: int,
    action: int,
    *,
    by_hand: bool,
    schedules: list[int],
    timer: bool,
    exercise: tuple[int, int],
) -> Properties:
    """229; ``exercise``: choice (1 = timed) and minutes; sleep records repeat the last values."""
    return {
        "currentUserMode": current,
        "previousUserMode": previous,
        "requestedAction": action,
        "spareA3": 0,
        "sleepStartedByGui": int(by_hand),
        "activeSleepSchedule": schedules,
        "spareB6": 0,
        "exerciseStoppedByTimer": int(timer),
        "exerciseChoice": exercise[0],
        "exerciseTime": exercise[1],
        "eatingSoonStoppedByTimer": 0,
    }


def control_change(current: int, previous: int, *, pumping: bool, cgm: bool, preferred: bool) -> Properties:
    """230; control: 0 none, 1 open loop, 2 waiting for the sensor, 3 closed loop."""
    return {
        "currentPcm": current,
        "previousPcm": previous,
        "pumpSuspended": int(not pumping),
        "calculationAvailable": 1,
        "cgmAvailable": int(cgm),
        "closedLoopPreferred": int(preferred),
        "sufficientClosedLoopParams": 1,
    }


def raised(key: str, number: int, fault: int, param1: int, param2: float | int) -> Properties:
    """4 (``alertId``) and 5 (``alarmId``)."""
    return {key: number, "faultLocatorData": fault, "param1": param1, "param2": param2}


def sensor_alert(number: int, param1: int, param2: int) -> Properties:
    """369; for high and low: the glucose and the threshold."""
    fault = {2: 8468, 3: 8467, 14: 8462}.get(number, 8460)
    return {
        "dalertId": number,
        "sensorType": 3,
        "spareA2": 0,
        "faultLocatorData": fault,
        "param1": param1,
        "param2": param2,
    }


def sensor_stopped(wear_s: int, *, ended_by_itself: bool) -> Properties:
    """447."""
    return {
        "currentTransmitterTime": wear_s,
        "sessionStartTime": 73 if ended_by_itself else NO_SESSION,
        "sessionStopTime": wear_s - 7 if ended_by_itself else 0,
        "sessionDuration": 10,
        "sessionStopReason": 5 if ended_by_itself else 15,
        "stopSessionCode": int(ended_by_itself),
    }


def daily_status(control: int, mode: int) -> Properties:
    """313."""
    return {
        "pumpControlState": control,
        "usermode": mode,
        "sensorType": 3,
        "weightUnit": 0,
        "weight": 0,
        "currentTdIpop": 0,
    }


def profile_name(first: int, name: str) -> Properties:
    """Eight characters of a profile name, as ``name0`` … ``name7`` (69) or ``name8`` … ``name15`` (57)."""
    padded = name.encode("ascii").ljust(16, b"\0")
    return {f"name{place}": padded[place] for place in range(first, first + 8)}
