"""The configuration as values, from ``config.toml``, the environment and credentials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import attrs

from tconnectsync.config.alert_options import AlertOptions, HeartbeatOptions
from tconnectsync.config.config_file import SYSTEM_FILE, Bootstrap, find_config, read_bootstrap
from tconnectsync.config.unusable_parts import UnusablePart
from tconnectsync.plugin.options import Secret, option
from tconnectsync.text.glucose_units import GlucoseUnits
from tconnectsync.timeline.zones import Zones

__all__ = [
    "SYSTEM_FILE",
    "Bootstrap",
    "Config",
    "DaemonOptions",
    "Enabled",
    "LimitOptions",
    "find_config",
    "read_bootstrap",
]


def _from_one(number: int) -> str | None:
    return None if number >= 1 else "a whole number of at least 1"


class Enabled(NamedTuple):
    """A source or sink: whether it is on, and its options (the plugin's class; None if it is off and incomplete).

    ``problem``: why a sink that is on cannot be opened, such as a secret's file that cannot be read; then it has no options.
    """

    enabled: bool
    options: Any
    problem: str = ""


@attrs.frozen(kw_only=True)
class DaemonOptions:
    """``[daemon]``: the minimum and the maximum seconds between two polls."""

    poll_min: int = option(300, check=_from_one)
    poll_max: int = option(1500, check=_from_one)


@attrs.frozen(kw_only=True)
class LimitOptions:
    """``[limits]``: how many delivered documents older than two days may change before a sink pauses."""

    rewrite_brake: int = option(500, check=_from_one)


@attrs.frozen(kw_only=True)
class Config:
    """The configuration. ``origin`` is the file; None if everything comes from the environment.

    ``chosen_units`` are those of ``glucose_units``, None if the key is missing. ``zones`` combines ``timezone`` with the dated moves. ``notes`` are sentences about values that are allowed but look wrong.
    ``unusable`` are parts that do not work while everything else does; a section among them is not in ``sections``.
    """

    timezone: str
    zones: Zones
    data_dir: Path
    log_level: str = "info"
    chosen_units: GlucoseUnits | None = None
    sources: Mapping[str, Enabled] = attrs.field(factory=dict)
    sinks: Mapping[str, Enabled] = attrs.field(factory=dict)
    sections: Mapping[str, Any] = attrs.field(factory=dict)
    daemon: DaemonOptions = attrs.field(factory=DaemonOptions)
    limits: LimitOptions = attrs.field(factory=LimitOptions)
    alerts: AlertOptions = attrs.field(factory=AlertOptions)
    heartbeat: HeartbeatOptions = attrs.field(factory=HeartbeatOptions)
    origin: Path | None = None
    notes: tuple[str, ...] = ()
    unusable: tuple[UnusablePart, ...] = ()

    def problem_of(self, part: str) -> str | None:
        """Return why ``alerts``, ``heartbeat`` or a plugin's section cannot be used; None if it can."""
        return next((each.words for each in self.unusable if each.name == part), None)

    @property
    def glucose_units(self) -> GlucoseUnits:
        """The units in which glucose is shown, if no receiver knows better: mg/dL unless they were chosen."""
        return self.chosen_units or GlucoseUnits.MG_DL

    def zone_of(self, day: date) -> str:
        """Return the IANA name of the wearer's zone on ``day``."""
        return self.zones.name_at(day)

    def secrets(self) -> tuple[str, ...]:
        """Return every secret, so that logs can hide them."""
        options = [part.options for part in (*self.sources.values(), *self.sinks.values())]
        return tuple(dict.fromkeys(_secrets_in([*options, *self.sections.values(), self.alerts, self.heartbeat])))


def _secrets_in(value: Any) -> Iterator[str]:
    if isinstance(value, Secret):
        yield value.reveal()
    elif attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            yield from _secrets_in(getattr(value, field.name))
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from _secrets_in(item)
    elif isinstance(value, Mapping):
        yield from _secrets_in(list(value.values()))
