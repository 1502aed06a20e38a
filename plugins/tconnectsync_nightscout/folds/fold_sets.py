"""The folds of each Nightscout sink, by its options."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from tconnectsync import Fold
from tconnectsync_nightscout.folds.alarms import AlarmsFold, alert_notes
from tconnectsync_nightscout.folds.basal import BasalFold
from tconnectsync_nightscout.folds.boluses import BolusFold
from tconnectsync_nightscout.folds.carbs import carbs_fold
from tconnectsync_nightscout.folds.cgm import ReadingsFold, fingersticks
from tconnectsync_nightscout.folds.device_status import DeviceStatusFold
from tconnectsync_nightscout.folds.fills import fills_fold
from tconnectsync_nightscout.folds.iob import IobFold
from tconnectsync_nightscout.folds.modes import ModesFold, control_notes
from tconnectsync_nightscout.folds.sensors import SensorsFold, sensor_alert_notes
from tconnectsync_nightscout.folds.silence import SilenceFold
from tconnectsync_nightscout.folds.suspensions import suspension_notes


def treatment_folds(
    *, basal: bool = True, bolus: bool = True, glucose: bool = True, carbs: str = "on", units: str = "mg/dl"
) -> tuple[Fold[Any], ...]:
    """Insulin and carbs. Without ``bolus`` there are no carbs, since they are part of boluses."""
    folds: list[Fold[Any]] = []
    if bolus:
        folds.append(BolusFold(carbs=carbs, glucose=glucose, units=units))
        if carbs != "off":
            folds.append(carbs_fold(as_note=carbs == "note"))
    if basal:
        folds.append(BasalFold())
    return tuple(folds)


def iob_folds(*, device_status: bool = True) -> tuple[Fold[Any], ...]:
    """Insulin on board as recorded by the pump."""
    return (IobFold(device_status=device_status),)


def cgm_folds(*, alerts: bool = False) -> tuple[Fold[Any], ...]:
    """Sensor readings and finger sticks."""
    folds: list[Fold[Any]] = [ReadingsFold(), fingersticks]
    if alerts:
        folds.append(sensor_alert_notes)
    return tuple(folds)


def device_status_folds() -> tuple[Fold[Any], ...]:
    """The pump's state."""
    return (DeviceStatusFold(),)


def pump_event_folds(
    *,
    cannula: str = "Site Change",
    cartridge: str = "Insulin Change",
    tubing: str = "Note",
    announce: Sequence[str] = (),
    alerts: bool = False,
    control_modes: bool = False,
    sensor_alerts: bool = False,
    announce_silence: timedelta | None = None,
) -> tuple[Fold[Any], ...]:
    """Fills, suspensions, modes, alarms, sensor sessions, and silence."""
    folds: list[Fold[Any]] = [
        fills_fold(cannula=cannula, cartridge=cartridge, tubing=tubing),
        suspension_notes,
        ModesFold(),
        AlarmsFold(announce=tuple(announce)),
        SensorsFold(),
    ]
    if alerts:
        folds.append(alert_notes)
    if control_modes:
        folds.append(control_notes)
    if sensor_alerts:
        folds.append(sensor_alert_notes)
    if announce_silence is not None:
        folds.append(SilenceFold(after=announce_silence))
    return tuple(folds)
