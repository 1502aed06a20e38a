"""The folds of each Nightscout sink, by its options."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tconnectsync import Fold, parse_duration
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
from tconnectsync_nightscout.options import CgmOptions, IobOptions, PumpEventsOptions, TreatmentsOptions


def folds_of(options: Any) -> Sequence[Fold[Any]]:
    """The folds of the sink with these options; those of profiles need a zone, too."""
    match options:
        case TreatmentsOptions():
            return list(_treatment_folds(options))
        case IobOptions():
            return [IobFold(device_status=options.device_status)]
        case PumpEventsOptions():
            return list(_pump_event_folds(options))
        case CgmOptions():
            return [ReadingsFold(), fingersticks, *([sensor_alert_notes] if options.alerts else [])]
        case _:
            return [DeviceStatusFold()]


def _treatment_folds(options: TreatmentsOptions) -> Iterator[Fold[Any]]:
    """Insulin and carbs. Without boluses there are no carbs, since they are part of boluses."""
    if options.bolus:
        yield BolusFold(carbs=options.carbs, glucose=options.glucose)
        if options.carbs != "off":
            yield carbs_fold(as_note=options.carbs == "note")
    if options.basal:
        yield BasalFold()


def _pump_event_folds(options: PumpEventsOptions) -> Iterator[Fold[Any]]:
    yield fills_fold(cannula=options.cannula, cartridge=options.cartridge, tubing=options.tubing)
    yield from (suspension_notes, ModesFold(), AlarmsFold(announce=options.announce), SensorsFold())
    if options.alerts:
        yield alert_notes
    if options.control_modes:
        yield control_notes
    if options.sensor_alerts:
        yield sensor_alert_notes
    silence = options.announce_silence and parse_duration(options.announce_silence)
    if silence:
        yield SilenceFold(after=silence)
