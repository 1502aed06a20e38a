"""Names of the kinds of events, and groups of kinds to choose from."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from tconnectsync import events
from tconnectsync_web.languages import msg

KIND_TITLES: Mapping[str, str] = {
    "alarm.cleared": msg("Alarm over"),
    "alarm.raised": msg("Alarm"),
    "alert.cleared": msg("Alert over"),
    "alert.raised": msg("Alert"),
    "basal.delivered": msg("Basal rate"),
    "basal.dose_completed": msg("Basal dose given"),
    "basal.dose_started": msg("Basal dose"),
    "basal.rate_changed": msg("Basal rate changed"),
    "battery.measured": msg("Battery"),
    "bolus.completed": msg("Bolus ended"),
    "bolus.delivered": msg("Bolus delivery"),
    "bolus.extended_completed": msg("Extended bolus ended"),
    "bolus.extended_started": msg("Extended bolus started"),
    "bolus.requested": msg("Bolus requested"),
    "bolus.started": msg("Bolus started"),
    "cannula.filled": msg("Cannula filled"),
    "carbs.entered": msg("Carbs"),
    "cartridge.filled": msg("Cartridge filled"),
    "clock.changed": msg("Clock set"),
    "control.changed": msg("Automatic control"),
    "day.started": msg("Day started"),
    "day.summary": msg("Daily summary"),
    "glucose.fingerstick": msg("Fingerstick"),
    "glucose.reading": msg("Glucose"),
    "malfunction.raised": msg("Pump malfunction"),
    "mode.changed": msg("Mode"),
    "pump.noted": msg("Pump note"),
    "pumping.resumed": msg("Insulin resumed"),
    "pumping.suspended": msg("Insulin stopped"),
    "sensor.alert_cleared": msg("Sensor alert over"),
    "sensor.alert_raised": msg("Sensor alert"),
    "sensor.joined": msg("Sensor joined"),
    "sensor.started": msg("Sensor started"),
    "sensor.stopped": msg("Sensor stopped"),
    "settings.captured": msg("Settings"),
    "temp_basal.ended": msg("Temporary rate ended"),
    "temp_basal.started": msg("Temporary rate"),
    "tubing.filled": msg("Tubing filled"),
    "unknown": msg("Unknown record"),
}
"""English titles. Kinds that are missing are about the data, not from the pump."""


@attrs.frozen(kw_only=True)
class KindGroup:
    """Kinds that a reader looks at together. ``name`` is in addresses."""

    name: str
    title: str
    kinds: frozenset[str]


def _of(*beginnings: str) -> frozenset[str]:
    return frozenset(kind for kind in events.BODIES if kind in KIND_TITLES and kind.startswith(beginnings))


GROUPS = (
    KindGroup(name="boluses", title=msg("Boluses and carbs"), kinds=_of("bolus.", "carbs.")),
    KindGroup(name="basal", title=msg("Basal"), kinds=_of("basal.", "temp_basal.", "pumping.")),
    KindGroup(name="glucose", title=msg("Glucose"), kinds=_of("glucose.")),
    KindGroup(name="alarms", title=msg("Alarms"), kinds=_of("alarm.", "alert.", "malfunction.", "sensor.alert")),
    KindGroup(name="site", title=msg("Infusion site and cartridge"), kinds=_of("cannula.", "cartridge.", "tubing.")),
    KindGroup(name="sensor", title=msg("Sensor"), kinds=_of("sensor.joined", "sensor.started", "sensor.stopped")),
    KindGroup(name="modes", title=msg("Modes"), kinds=_of("mode.", "control.")),
    KindGroup(
        name="device",
        title=msg("Device"),
        kinds=_of("battery.", "clock.", "day.", "pump.", "settings.", "unknown"),
    ),
)


def kinds_of(name: str) -> frozenset[str] | None:
    """Return the kinds of a group, or one kind by its own name; None means all of them."""
    if name in KIND_TITLES:
        return frozenset({name})
    return next((group.kinds for group in GROUPS if group.name == name), None)
