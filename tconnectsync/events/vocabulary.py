"""The vocabulary of pump events: every name of ``tconnectsync.events``, for type checkers and ``import *``.

An :class:`Event` is an envelope around one body: a small frozen class for one fact, the same for every source. A stable
dotted text names each kind, never the class. Units are in the field names. ``None`` always means "the pump did not say",
never zero.
"""

from __future__ import annotations

from tconnectsync.events.alerts import AlarmCleared, AlarmRaised, AlertCleared, AlertRaised, MalfunctionRaised
from tconnectsync.events.clock_events import ClockAnchored, ClockChanged
from tconnectsync.events.device import (
    BatteryMeasured,
    DayStarted,
    DaySummary,
    PumpNoted,
    SettingsCaptured,
    Unknown,
)
from tconnectsync.events.envelope import Body, Event
from tconnectsync.events.facts import (
    HistoryOpened,
    LogGap,
    UploadSeen,
    WearBegan,
    WearEnded,
    WindowFetched,
)
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
from tconnectsync.events.kinds import ACCOUNT_KINDS, BODIES, FACTS, PUMP_KINDS, WEAR_SIGNS
from tconnectsync.events.modes import ControlChanged, ModeChanged
from tconnectsync.events.pumping import CannulaFilled, CartridgeFilled, PumpingResumed, PumpingSuspended, TubingFilled

__all__ = [
    "ACCOUNT_KINDS",
    "BODIES",
    "FACTS",
    "PUMP_KINDS",
    "WEAR_SIGNS",
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
