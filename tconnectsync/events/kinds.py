"""All kinds of events with their body classes, and sets of kinds.

A body class is loaded when it is first asked for: a command that reads two kinds of events does not wait for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

CLASS_OF_KIND = {
    "alarm.cleared": "alerts.AlarmCleared",
    "alarm.raised": "alerts.AlarmRaised",
    "alert.cleared": "alerts.AlertCleared",
    "alert.raised": "alerts.AlertRaised",
    "basal.delivered": "insulin.BasalDelivered",
    "basal.dose_completed": "insulin.BasalDoseCompleted",
    "basal.dose_started": "insulin.BasalDoseStarted",
    "basal.rate_changed": "insulin.BasalRateChanged",
    "battery.measured": "device.BatteryMeasured",
    "bolus.completed": "insulin.BolusCompleted",
    "bolus.delivered": "insulin.BolusDelivered",
    "bolus.extended_completed": "insulin.BolusExtendedCompleted",
    "bolus.extended_started": "insulin.BolusExtendedStarted",
    "bolus.requested": "insulin.BolusRequested",
    "bolus.started": "insulin.BolusStarted",
    "cannula.filled": "pumping.CannulaFilled",
    "carbs.entered": "insulin.CarbsEntered",
    "cartridge.filled": "pumping.CartridgeFilled",
    "clock.anchored": "clock_events.ClockAnchored",
    "clock.changed": "clock_events.ClockChanged",
    "control.changed": "modes.ControlChanged",
    "day.started": "device.DayStarted",
    "day.summary": "device.DaySummary",
    "glucose.fingerstick": "glucose.GlucoseFingerstick",
    "glucose.reading": "glucose.GlucoseReading",
    "history.opened": "facts.HistoryOpened",
    "log.gap": "facts.LogGap",
    "malfunction.raised": "alerts.MalfunctionRaised",
    "mode.changed": "modes.ModeChanged",
    "pump.noted": "device.PumpNoted",
    "pumping.resumed": "pumping.PumpingResumed",
    "pumping.suspended": "pumping.PumpingSuspended",
    "sensor.alert_cleared": "glucose.SensorAlertCleared",
    "sensor.alert_raised": "glucose.SensorAlertRaised",
    "sensor.joined": "glucose.SensorJoined",
    "sensor.started": "glucose.SensorStarted",
    "sensor.stopped": "glucose.SensorStopped",
    "settings.captured": "device.SettingsCaptured",
    "temp_basal.ended": "insulin.TempBasalEnded",
    "temp_basal.started": "insulin.TempBasalStarted",
    "tubing.filled": "pumping.TubingFilled",
    "unknown": "device.Unknown",
    "upload.seen": "facts.UploadSeen",
    "wear.began": "facts.WearBegan",
    "wear.ended": "facts.WearEnded",
    "window.fetched": "facts.WindowFetched",
}
"""The body class of each kind, with its module in ``tconnectsync.events``."""

MODULE_OF_CLASS = {name: module for module, name in (path.split(".") for path in CLASS_OF_KIND.values())}


class _Bodies(Mapping[str, type[Any]]):
    """The body classes by kind. Errors: KeyError for a kind that this release does not know."""

    def __init__(self) -> None:
        self._loaded: dict[str, type[Any]] = {}

    def __getitem__(self, kind: str) -> type[Any]:
        try:
            return self._loaded[kind]
        except KeyError:
            module, name = CLASS_OF_KIND[kind].split(".")
        body: type[Any] = getattr(import_module(f"tconnectsync.events.{module}"), name)
        self._loaded[kind] = body
        return body

    def __contains__(self, kind: object) -> bool:
        return kind in CLASS_OF_KIND

    def __iter__(self) -> Iterator[str]:
        return iter(CLASS_OF_KIND)

    def __len__(self) -> int:
        return len(CLASS_OF_KIND)


BODIES: Mapping[str, type[Any]] = _Bodies()
"""Every kind and its body class."""

FACTS = frozenset({"clock.anchored", "history.opened", "log.gap", "upload.seen", "window.fetched"})
"""Kinds about the data, not about the pump. They are in no stream, and folds never get them."""

ACCOUNT_KINDS = frozenset({"settings.captured"})
"""Kinds with the account's time instead of the pump's. They do not show that the pump works."""

PUMP_KINDS = frozenset(BODIES) - FACTS - ACCOUNT_KINDS - {"unknown", "wear.began", "wear.ended"}
"""Kinds that a pump reported and that could be decoded. The newest of them is "the newest data"."""

WEAR_SIGNS = frozenset(
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
