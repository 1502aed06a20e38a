"""Records about delivery, cartridge, site, clock and battery, and the pump's alerts and alarms."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from tconnectsync import alarms, events
from tconnectsync.events import Body
from tconnectsync_tandem.decode.codes import ALERTS
from tconnectsync_tandem.decode.fields import (
    COUNT_32,
    INSULIN_U,
    IOB_U,
    PERCENT,
    PRIME_U,
    RATE_U_PER_H,
    RESERVOIR_U,
    may,
    named,
    need,
    number,
    whole,
)
from tconnectsync_tandem.decode.records import Record, Values, record

_SUSPENSIONS = {0: "user", 1: "alarm", 2: "malfunction", 6: "plgs"}
_FILL_ENDS = {0: "user_aborted", 1: "stopped_by_alarm", 2: "stopped_by_malfunction", 3: "completed"}
_DETAILS = ("faultLocatorData", "param1", "param2")
_MS_OF_DAY = whole(0, 86_400_000)
_DAYS = whole(0, 65_535)
_BATTERY_MV = whole(1, 20_000, none=(0,))
_BATTERY = may("battery_percent", "abc", PERCENT, "batteryChargePercent")


def _complaint(code: int, kind: str, prefix: str, key: str, names: Mapping[int, str], *spare: str) -> Record:
    """A record with one number from a table."""
    body = events.BODIES[kind]
    number_name = f"{prefix}_id"

    def build(values: Values, _: datetime) -> Body:
        found = values[number_name]
        return body(**{number_name: found, "name": names.get(found, str(found))})

    return Record(code, kind, (need(number_name, key, COUNT_32),), build, spare)


def _time_step(values: Values, _: datetime) -> Body:
    step_s = (values["after"] - values["prior"]) / 1000
    return events.ClockChanged(part="time", step_s=step_s, rtc_ms=values["rtc_ms"])


def _date_step(values: Values, _: datetime) -> Body:
    step_s = float((values["after"] - values["prior"]) * 86_400)
    return events.ClockChanged(part="date", step_s=step_s, rtc_ms=values["rtc_ms"])


_RTC = may("rtc_ms", "rawRtcTime", COUNT_32)
_PRIMING = (may("prime_u", "primeSize", PRIME_U), may("status", "completionStatus", named(_FILL_ENDS)))


RECORDS: tuple[Record, ...] = (
    _complaint(4, "alert.raised", "alert", "alertId", ALERTS, *_DETAILS),
    _complaint(26, "alert.cleared", "alert", "alertId", ALERTS, *_DETAILS),
    _complaint(5, "alarm.raised", "alarm", "alarmId", alarms.ALARMS, *_DETAILS),
    _complaint(28, "alarm.cleared", "alarm", "alarmId", alarms.ALARMS, *_DETAILS),
    _complaint(6, "malfunction.raised", "malfunction", "malfId", alarms.MALFUNCTIONS, *_DETAILS),
    record(
        11,
        "pumping.suspended",
        may("reason", "suspendReason", named(_SUSPENSIONS)),
        may("reservoir_u", "insulinAmount", RESERVOIR_U),
        spare=("preSuspendState", "rpaTimeout"),
    ),
    record(12, "pumping.resumed", may("reservoir_u", "insulinAmount", RESERVOIR_U), spare=("preResumeState",)),
    Record(
        13,
        "clock.changed",
        (need("prior", "timePrior", _MS_OF_DAY), need("after", "timeAfter", _MS_OF_DAY), _RTC),
        _time_step,
    ),
    Record(
        14,
        "clock.changed",
        (need("prior", "datePrior", _DAYS), need("after", "dateAfter", _DAYS), _RTC),
        _date_step,
    ),
    # v2Volume was 0 in all captures: nothing was measured
    record(
        33,
        "cartridge.filled",
        may("volume_u", "insulinVolume", RESERVOIR_U),
        may("measured_u", "v2Volume", number(0, 1_000, none=(0,))),
    ),
    record(61, "cannula.filled", *_PRIMING, spare=("infusionSetType",)),
    record(63, "tubing.filled", *_PRIMING, spare=("position",)),
    # their other properties were never published, so none is reported
    *(record(code, "battery.measured", _BATTERY, tolerant=True) for code in (9, 34, 35)),
    record(
        53,
        "battery.measured",
        may("battery_percent", "liPoAbc", PERCENT),
        may("battery_mv", "liPoMV", _BATTERY_MV),
        spare=("msecSinceReset", "liPoCurrent", "liPoIbc", "liPoRemCap"),
    ),
    record(
        81,
        "day.summary",
        may("basal_total_u", "dailyTotalBasal", INSULIN_U),
        may("basal_rate_u_per_h", "lastBasalRate", RATE_U_PER_H),
        may("iob_u", "iob", IOB_U),
        may("battery_mv", "liPoMV", _BATTERY_MV, "batteryLipoMilliVolts"),
        _BATTERY,
        spare=("displayInHistory", "finalEventForDay"),
    ),
    record(
        90,
        "day.started",
        may("basal_rate_u_per_h", "commandedBasalRate", RATE_U_PER_H),
        spare=("featuresBitmask", "featureBitmaskIndex"),
    ),
)
