"""Glucose readings (256, 372, 399, 480), finger sticks (16), sensor sessions and sensor alerts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from tconnectsync import events
from tconnectsync.events import Body
from tconnectsync.events.readings import mark_of
from tconnectsync_tandem.decode.codes import SENSOR_ALERTS, SESSION_REASONS
from tconnectsync_tandem.decode.fields import (
    COUNT_32,
    GLUCOSE_OR_NONE,
    IOB_U,
    PARAMETER,
    POSITIVE_OR_NONE,
    SECONDS_OR_NONE,
    YES_NO,
    Field,
    bit_numbers,
    may,
    named,
    need,
    number,
    whole,
)
from tconnectsync_tandem.decode.records import ImpossibleRecordError, Record, Values, record

EPOCH = datetime(2008, 1, 1)
"""The start of the pump's count of seconds, on its own wall clock."""

_SECOND = timedelta(seconds=1)
_LONGEST_BACKFILL = timedelta(days=2)
_SENSORS = {1: "dexcom_g6", 2: "libre_2", 3: "dexcom_g7", 4: "libre_3"}
_MARKS = {1: "high", 2: "low"}
_BACKFILL_BIT = 1
_NO_READING_BIT = 4
_GLUCOSE_ALERTS = frozenset({1, 2, 3})  # fixed_low, high, low: only there is param1 known to be a glucose

_READING_FIELDS = (
    need("status", "glucoseValueStatus", whole(0, 255)),
    need("seconds", "egvTimeStamp", whole(1, 2**32 - 2)),
    may("glucose", "currentGlucoseDisplayValue", number(0, 65_535)),
    may("trend", "rate", number(-1_000, 1_000, none=(127,), per_unit=10)),
    may("kinds", "cgmDataType", bit_numbers),
    may("info", "egvInfoBitmask", bit_numbers),
)


def _mark(status: int, glucose: float | None) -> str:
    """The mark of a reading: below 40 and above 400 are LOW and HIGH, whatever the number is."""
    if status != 0:
        return _MARKS.get(status, "hidden")  # 6 is "do not show"; an unknown status is not shown either
    if glucose is None:
        raise ImpossibleRecordError("currentGlucoseDisplayValue is missing or odd")
    if glucose < 1:
        return "hidden"  # a sensor that warms up
    return mark_of(glucose)


def _reading(code: int, sensor: str) -> Record:
    def build(values: Values, pump_time: datetime) -> Body:
        time = EPOCH + values["seconds"] * _SECOND
        if abs(pump_time - time) > _LONGEST_BACKFILL:
            raise ImpossibleRecordError(f"egvTimeStamp means {time:%Y-%m-%d %H:%M}, far from the time of the record")
        kinds, info = values["kinds"] or (), values["info"] or ()
        glucose = values["glucose"]
        mark = "hidden" if _NO_READING_BIT in kinds or _NO_READING_BIT in info else _mark(values["status"], glucose)
        return events.GlucoseReading(
            mark=mark,
            reading_time=time,
            glucose_mg_dl=glucose if mark == "value" else None,
            trend_mg_dl_per_min=values["trend"],
            backfilled=_BACKFILL_BIT in kinds or _BACKFILL_BIT in info,
            sensor=sensor,
        )

    return Record(
        code, "glucose.reading", _READING_FIELDS, build, ("algorithmState", "rssi", "interval", "reservedD15")
    )


def _alert(code: int, kind: str, *spare: str) -> Record:
    body = events.BODIES[kind]
    raised = kind == "sensor.alert_raised"
    fields = [need("alert_id", "dalertId", COUNT_32), may("sensor", "sensorType", named(_SENSORS, none=(0,)))]
    if raised:
        fields.append(may("value", "param1", PARAMETER))

    def build(values: Values, _: datetime) -> Body:
        alert_id = values["alert_id"]
        if raised and alert_id not in _GLUCOSE_ALERTS:
            values["value"] = None
        return body(name=SENSOR_ALERTS.get(alert_id, str(alert_id)), **values)

    return Record(code, kind, tuple(fields), build, spare)


def _session(code: int, kind: str, sensor: str, age: Callable[[Values], float | None], *fields: Field) -> Record:
    """A sensor session; ``age`` computes its age from the values, in seconds of the sensor's or the pump's clock."""
    body = events.BODIES[kind]

    def build(values: Values, _: datetime) -> Body:
        more: dict[str, Any] = {name: values[name] for name in ("reason",) if name in values}
        signature = values.get("signature")
        if signature is not None:
            more["signature"] = str(signature)
        return body(sensor=sensor, session_age_s=age(values), **more)

    return Record(code, kind, fields, build, ("sessionDuration", "sessionDurationSecs", "stopSessionCode"))


def _since(now: str) -> Callable[[Values], float | None]:
    """The age as ``now`` less the session's start; None if either is unknown."""

    def age(values: Values) -> float | None:
        start, end = values["start"], values[now]
        if start is None or end is None or end < start:
            return None
        return float(end - start)

    return age


def _worn(values: Values) -> float | None:
    worn = values["worn"]
    return None if worn is None else float(worn)


_START = may("start", "sessionStartTime", SECONDS_OR_NONE)
_STOP = may("stop", "sessionStopTime", whole(0, 2**32 - 2, none=(0, 2**32 - 1)))
_JOIN = may("join", "sessionJoinTime", SECONDS_OR_NONE)
_TRANSMITTER = may("worn", "currentTransmitterTime", SECONDS_OR_NONE)


def _g6_reason(key: str) -> Field:
    return may("reason", key, named(SESSION_REASONS))


def _plain_reason(key: str) -> Field:
    return may("reason", key, named({}))  # no list of these is published


RECORDS: tuple[Record, ...] = (
    _reading(256, "dexcom_g6"),
    _reading(372, "libre_2"),
    _reading(399, "dexcom_g7"),
    _reading(480, "libre_3"),
    record(
        16,
        "glucose.fingerstick",
        may("glucose_mg_dl", "bg", GLUCOSE_OR_NONE),
        need("entry", "bgEntryType", named({0: "manual", 1: "from_cgm"})),
        may("calibration", "cgmCalibration", YES_NO),
        may("iob_u", "iob", IOB_U),
        may("target_mg_dl", "targetBg", GLUCOSE_OR_NONE),
        may("isf_mg_dl_per_u", "isf", POSITIVE_OR_NONE),
        spare=("selectedIob", "bgSourceType"),
    ),
    _session(
        212, "sensor.started", "dexcom_g6", _since("worn"), _START, _TRANSMITTER, _g6_reason("sessionStartReason")
    ),
    _session(213, "sensor.joined", "dexcom_g6", _since("worn"), _START, _TRANSMITTER, _g6_reason("sessionJoinReason")),
    _session(
        214, "sensor.stopped", "dexcom_g6", _since("worn"), _START, _STOP, _TRANSMITTER, _g6_reason("sessionStopReason")
    ),
    _session(
        394,
        "sensor.joined",
        "dexcom_g7",
        _worn,
        may("worn", "cgmTimestamp", SECONDS_OR_NONE),
        may("signature", "sessionSignature", COUNT_32),
    ),
    _session(
        447, "sensor.stopped", "dexcom_g7", _worn, _TRANSMITTER, _START, _STOP, _plain_reason("sessionStopReason")
    ),
    _session(404, "sensor.started", "libre_2", lambda _: None, _START),
    _session(406, "sensor.joined", "libre_2", _since("join"), _START, _JOIN, _plain_reason("sessionJoinReason")),
    _session(405, "sensor.stopped", "libre_2", _since("stop"), _START, _STOP, _plain_reason("sessionStopReason")),
    _session(477, "sensor.joined", "libre_3", _since("join"), _START, _JOIN, _plain_reason("sessionJoinReason")),
    _session(486, "sensor.stopped", "libre_3", _since("stop"), _START, _STOP, _plain_reason("sessionStopReason")),
    _alert(171, "sensor.alert_raised", "faultLocatorData", "param2"),
    _alert(369, "sensor.alert_raised", "spareA2", "faultLocatorData", "param2"),
    _alert(460, "sensor.alert_raised", "spareA2", "faultLocatorData", "param2"),
    _alert(172, "sensor.alert_cleared", "faultLocatorData"),
    _alert(370, "sensor.alert_cleared", "spareA2", "faultLocatorData"),
    _alert(461, "sensor.alert_cleared", "spareA2", "faultLocatorData"),
)
