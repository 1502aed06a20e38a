"""The vocabulary of pump events: the table of all kinds with their body classes, and sets of kinds.

An :class:`Event` is an envelope around one body: a small frozen class for one fact, the same for every source. A stable
dotted text names each kind, never the class. Units are in the field names. ``None`` always means "the pump did not say",
never zero.
"""

from __future__ import annotations

from typing import Any

from tconnectsync.events.bookkeeping import (
    ClockAnchored,
    HistoryOpened,
    LogGap,
    UploadSeen,
    WearBegan,
    WearEnded,
    WindowFetched,
)
from tconnectsync.events.device import (
    AlarmCleared,
    AlarmRaised,
    AlertCleared,
    AlertRaised,
    BatteryMeasured,
    CannulaFilled,
    CartridgeFilled,
    ClockChanged,
    DayStarted,
    DaySummary,
    MalfunctionRaised,
    PumpingResumed,
    PumpingSuspended,
    PumpNoted,
    SettingsCaptured,
    TubingFilled,
    Unknown,
)
from tconnectsync.events.envelope import Body, Event
from tconnectsync.events.glucose import (
    GlucoseFingerstick,
    GlucoseReading,
    SensorAlertCleared,
    SensorAlertRaised,
    SensorJoined,
    SensorStarted,
    SensorStopped,
)
from tconnectsync.events.insulin import (
    BasalDelivered,
    BasalDoseCompleted,
    BasalDoseStarted,
    BasalRateChanged,
    BolusCompleted,
    BolusDelivered,
    BolusExtendedCompleted,
    BolusExtendedStarted,
    BolusRequested,
    BolusStarted,
    CarbsEntered,
    TempBasalEnded,
    TempBasalStarted,
)
from tconnectsync.events.modes import ControlChanged, ModeChanged

BODIES: dict[str, type[Any]] = {
    "alarm.cleared": AlarmCleared,
    "alarm.raised": AlarmRaised,
    "alert.cleared": AlertCleared,
    "alert.raised": AlertRaised,
    "basal.delivered": BasalDelivered,
    "basal.dose_completed": BasalDoseCompleted,
    "basal.dose_started": BasalDoseStarted,
    "basal.rate_changed": BasalRateChanged,
    "battery.measured": BatteryMeasured,
    "bolus.completed": BolusCompleted,
    "bolus.delivered": BolusDelivered,
    "bolus.extended_completed": BolusExtendedCompleted,
    "bolus.extended_started": BolusExtendedStarted,
    "bolus.requested": BolusRequested,
    "bolus.started": BolusStarted,
    "cannula.filled": CannulaFilled,
    "carbs.entered": CarbsEntered,
    "cartridge.filled": CartridgeFilled,
    "clock.anchored": ClockAnchored,
    "clock.changed": ClockChanged,
    "control.changed": ControlChanged,
    "day.started": DayStarted,
    "day.summary": DaySummary,
    "glucose.fingerstick": GlucoseFingerstick,
    "glucose.reading": GlucoseReading,
    "history.opened": HistoryOpened,
    "log.gap": LogGap,
    "malfunction.raised": MalfunctionRaised,
    "mode.changed": ModeChanged,
    "pump.noted": PumpNoted,
    "pumping.resumed": PumpingResumed,
    "pumping.suspended": PumpingSuspended,
    "sensor.alert_cleared": SensorAlertCleared,
    "sensor.alert_raised": SensorAlertRaised,
    "sensor.joined": SensorJoined,
    "sensor.started": SensorStarted,
    "sensor.stopped": SensorStopped,
    "settings.captured": SettingsCaptured,
    "temp_basal.ended": TempBasalEnded,
    "temp_basal.started": TempBasalStarted,
    "tubing.filled": TubingFilled,
    "unknown": Unknown,
    "upload.seen": UploadSeen,
    "wear.began": WearBegan,
    "wear.ended": WearEnded,
    "window.fetched": WindowFetched,
}
"""Every kind and its body class."""

FACTS = frozenset({"clock.anchored", "history.opened", "log.gap", "upload.seen", "window.fetched"})
"""Kinds about the data, not about the pump. They are in no stream, and folds never get them."""

ACCOUNT_KINDS = frozenset({"settings.captured"})
"""Kinds with the account's time instead of the pump's. They do not show that the pump works."""

PUMP_KINDS = frozenset(BODIES) - FACTS - ACCOUNT_KINDS - {"unknown", "wear.began", "wear.ended"}
"""Kinds that a pump reported and that could be decoded. The newest of them is "the newest data"."""

WEAR_MARKS = frozenset(
    {
        "bolus.completed",
        "bolus.delivered",
        "bolus.started",
        "cannula.filled",
        "cartridge.filled",
        "glucose.reading",
        "tubing.filled",
    }
)
"""Kinds that show that a pump is worn. Basal does not: a pump in a drawer logs it too."""

__all__ = [
    "ACCOUNT_KINDS",
    "BODIES",
    "FACTS",
    "PUMP_KINDS",
    "WEAR_MARKS",
    "AlarmCleared",
    "AlarmRaised",
    "AlertCleared",
    "AlertRaised",
    "BasalDelivered",
    "BasalDoseCompleted",
    "BasalDoseStarted",
    "BasalRateChanged",
    "BatteryMeasured",
    "Body",
    "BolusCompleted",
    "BolusDelivered",
    "BolusExtendedCompleted",
    "BolusExtendedStarted",
    "BolusRequested",
    "BolusStarted",
    "CannulaFilled",
    "CarbsEntered",
    "CartridgeFilled",
    "ClockAnchored",
    "ClockChanged",
    "ControlChanged",
    "DayStarted",
    "DaySummary",
    "Event",
    "GlucoseFingerstick",
    "GlucoseReading",
    "HistoryOpened",
    "LogGap",
    "MalfunctionRaised",
    "ModeChanged",
    "PumpNoted",
    "PumpingResumed",
    "PumpingSuspended",
    "SensorAlertCleared",
    "SensorAlertRaised",
    "SensorJoined",
    "SensorStarted",
    "SensorStopped",
    "SettingsCaptured",
    "TempBasalEnded",
    "TempBasalStarted",
    "TubingFilled",
    "Unknown",
    "UploadSeen",
    "WearBegan",
    "WearEnded",
    "WindowFetched",
]
