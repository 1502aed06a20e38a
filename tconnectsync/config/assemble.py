"""Builds a :class:`tconnectsync.config.model.Config` from the tables: sources, sinks, time zone and data folder."""

from __future__ import annotations

import re
import shlex
import stat
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from tconnectsync.config.alert_options import AlertOptions, HeartbeatOptions
from tconnectsync.config.config_file import full_path, home_folder
from tconnectsync.config.environment import MergedTable, misspelt_variables, proxy_notes, variables_of
from tconnectsync.config.error_words import did_you_mean
from tconnectsync.config.first_steps import check_begun, no_file_hint
from tconnectsync.config.model import Config, DaemonOptions, Enabled, LimitOptions
from tconnectsync.config.option_types import keys_of
from tconnectsync.config.schema import Tables, has_secret
from tconnectsync.config.unusable_parts import UnusablePart, core_parts, only_for_commands, section_part, sink_parts
from tconnectsync.config.zone_names import EXPECTED, names_place, zone_problem
from tconnectsync.errors import ConfigError, MachineNotReady
from tconnectsync.events.alarms import alarm_names, names_match
from tconnectsync.plugin.options import option
from tconnectsync.plugin.pasted_text import without_unseen
from tconnectsync.text.glucose_units import GlucoseUnits
from tconnectsync.timeline.zones import Zones

if TYPE_CHECKING:
    from tconnectsync.plugin.spec import SinkSpec, SourceSpec

FEATURES_VARIABLE = "TCONNECTSYNC_HEROKU_FEATURES"
_NEXT = "Correct these, then run `tconnectsync check`."
_LATER = "Is the disk mounted, and may this user read the file? The service restarts automatically. Then run `tconnectsync check`."
_OTHER_VARIABLES = ("TCONNECTSYNC_CONFIG", FEATURES_VARIABLE)


@attrs.frozen(kw_only=True)
class ZoneMove:
    """``[[zones]]``: the wearer lives in ``timezone`` from this day on, which is a day in the new zone."""

    first_day: date = attrs.field(metadata={"key": "from"})
    timezone: str = option(clean=without_unseen, check=zone_problem)


@attrs.frozen(kw_only=True)
class CoreOptions:
    """The keys of the file that do not belong to a plugin."""

    timezone: str | None = option(None, env=("TIMEZONE_NAME",), clean=without_unseen, check=zone_problem)
    zones: tuple[ZoneMove, ...] = option(())
    data_dir: Path | None = attrs.field(default=None, metadata={"env": ("TCONNECTSYNC_DATA_DIR",)})
    plugins_dir: Path | None = None
    blocked_plugins: tuple[str, ...] = option(())
    log_level: Literal["debug", "info", "warning", "error"] = option("info", env=("TCONNECTSYNC_LOG_LEVEL",))
    glucose_units: Literal["mg/dl", "mmol"] | None = option(None, env=("TCONNECTSYNC_GLUCOSE_UNITS",))
    daemon: DaemonOptions = attrs.field(factory=DaemonOptions)
    limits: LimitOptions = attrs.field(factory=LimitOptions)
    alerts: AlertOptions = attrs.field(factory=AlertOptions)
    heartbeat: HeartbeatOptions = attrs.field(factory=HeartbeatOptions)


@attrs.frozen(kw_only=True)
class ConfigBuilder:
    """Builds one configuration. ``features`` is the value of ``--features``."""

    tables: Tables
    features: str | None = None
    unusable: list[UnusablePart] = attrs.field(factory=list)

    def build(self) -> Config:
        """Return the configuration. Errors: NotConfigured; ConfigError with every problem; MachineNotReady if none needs an edit."""
        tables = self.tables
        check_begun(tables)
        keys = keys_of(CoreOptions)
        tables.check_top_level([*keys, "sources", "sinks", *tables.plugins.sections()])
        given = {key: value for key, value in tables.file.tables.items() if key in keys}
        core, overlay = tables.build(CoreOptions, given, "", without_secrets=True)
        self.unusable.extend(core_parts(overlay))
        timezone = self._timezone(core, overlay)
        shared, overlays = self._sections()
        sources = self._sources(tables.plugins.sources(), overlays)
        sinks = self._sinks(tables.plugins.sinks(), overlays)
        self._check_core(core)
        data_dir = None if core is None else self._data_dir(core, overlay)
        known = [name for name, _ in (*variables_of(CoreOptions), *tables.variables())]
        for name in tables.plugins.blocked_in_vain:
            words = did_you_mean(name, tables.plugins.known, "; `tconnectsync plugins` lists the plugins")
            tables.notes.append(f'{tables.file.name}: blocked_plugins: there is no plugin "{name}"{words}')
        known += _OTHER_VARIABLES
        tables.notes.extend(
            misspelt_variables(tables.sources.environ, known, of_commands=tables.plugins.command_variables)
        )
        tables.notes.extend(proxy_notes(tables.sources.environ))
        if tables.file.readable_by_everyone() and has_secret(tables.file, tables.plugins):
            name = tables.file.name
            tables.notes.append(
                f"{name}: contains a secret, and every user of this computer can read it: run `chmod 600 {shlex.quote(name)}`. For the service,"
                " which must read the file, put each secret into a separate file instead (`password_file` and so on)"
            )
        if tables.problems or core is None or data_dir is None or timezone is None:
            is_temporary = bool(tables.problems) and tables.temporary.issuperset(tables.problems)
            kind = MachineNotReady if is_temporary else ConfigError
            hints = [*tables.notes, _LATER if is_temporary else _NEXT]
            if tables.file.path is None:
                hints.insert(-1, no_file_hint(tables.sources.environ))
            if data_dir is None and overlay.valid_options is not None:
                data_dir = self._configured_data_dir(overlay.valid_options, overlay)
            problems = [*tables.problems, *(problem for part in self.unusable for problem in part.problems)]
            raise kind(tuple(dict.fromkeys(problems)), remedy="\n".join(dict.fromkeys(hints)), data_dir=data_dir)
        return Config(
            timezone=timezone,
            zones=Zones(timezone=timezone, moves=tuple((move.first_day, move.timezone) for move in core.zones)),
            data_dir=data_dir,
            log_level=core.log_level,
            chosen_units=None if core.glucose_units is None else GlucoseUnits(core.glucose_units),
            sources=sources,
            sinks=sinks,
            sections=shared,
            daemon=core.daemon,
            limits=core.limits,
            alerts=core.alerts,
            heartbeat=core.heartbeat,
            origin=tables.file.path,
            notes=tuple(dict.fromkeys(tables.notes)),
            unusable=tuple(self.unusable),
        )

    def _check_core(self, core: CoreOptions | None) -> None:
        if core is None:
            return
        shortest, longest = core.daemon.poll_min, core.daemon.poll_max
        if longest < shortest:
            self.tables.add_problem(
                "daemon.poll_max", f"found {longest}, expected at least poll_min, which is {shortest}"
            )
        for name in core.alerts.pump_alarms:
            if not name.isdigit() and not any(names_match(name, known) for known in alarm_names()):
                hint = did_you_mean(name, alarm_names(), "; config.toml.example lists them")
                self.tables.add_problem(
                    "alerts.pump_alarms", f'found "{name}", which is not the name of an alarm{hint}'
                )
        days = [move.first_day for move in core.zones]
        for day in sorted({day for day in days if days.count(day) > 1}):
            self.tables.add_problem("zones", f"found two moves on {day}, expected one for each day")

    def _timezone(self, core: CoreOptions | None, overlay: MergedTable) -> str | None:
        """Return the zone of the file or of ``TIMEZONE_NAME``; without them that of ``TZ``, which containers set."""
        tables = self.tables
        if "timezone" in overlay.raw or "timezone" in overlay.unusable:
            return core.timezone if core else None
        ambient = tables.variable("TZ")
        if names_place(ambient):
            return ambient
        hint = f'; TZ is "{ambient}", which is not a place' if ambient else ""
        tables.add_problem(
            "timezone",
            f"found nothing, expected {EXPECTED} (or TIMEZONE_NAME in the environment); there is no default, because "
            f"with a wrong zone, every dose would be shown at a wrong time{hint}",
        )
        return None

    def _path(self, path: Path, folder: Path) -> Path:
        return full_path(str(path), folder, self.tables.sources.environ)

    def _data_dir(self, core: CoreOptions, overlay: MergedTable) -> Path:
        path = self._configured_data_dir(core, overlay)
        if _is_not_folder(path):
            key = "data_dir (TCONNECTSYNC_DATA_DIR)" if "data_dir" in overlay.origins else "data_dir"
            found = next((each for each in (path, *path.parents) if each.exists()), path)
            self.tables.add_problem(key, f"{found} is not a folder, expected a folder for the event log")
        return path

    def _configured_data_dir(self, core: CoreOptions, overlay: MergedTable) -> Path:
        if core.data_dir is not None:
            return self._path(core.data_dir, Path.cwd() if "data_dir" in overlay.origins else self.tables.file.folder)
        # systemd gives several folders separated by colons
        state = self.tables.variable("STATE_DIRECTORY").split(":")[0]
        if state:
            return Path(state)
        xdg = self.tables.variable("XDG_STATE_HOME")
        base = Path(xdg) if xdg.startswith("/") else home_folder(self.tables.sources.environ) / ".local" / "state"
        return base / "tconnectsync"

    # --- sections, sources and sinks ----------------------------------------------------------------------------

    def _sections(self) -> tuple[dict[str, Any], dict[str, MergedTable]]:
        """Return the options of the sections that can be used, and the merged tables of all.

        A section that only commands need cannot stop the sources and sinks: its problems make it unusable.
        """
        tables, options, overlays = self.tables, dict[str, Any](), dict[str, MergedTable]()
        for name, section in tables.plugins.sections().items():
            before = len(tables.problems)
            built, overlays[name] = tables.build(section.options, tables.table_at(name), name, without_secrets=True)
            unread = overlays[name].unread_secrets
            if only_for_commands(name, tables.plugins):
                faults = [*tables.problems[before:], *unread.values()]
                del tables.problems[before:]
                if faults:
                    self.unusable.append(section_part(name, faults, tables.plugins))
                    continue
            if not unread:
                options[name] = built
        return options, overlays

    def _unread(self, kind: str, name: str, sections: Mapping[str, MergedTable]) -> list[str]:
        """Return the problems with secrets in the sections that a source or sink of the same plugin uses."""
        plugins = self.tables.plugins
        owner = plugins.owner_of(kind, name)
        return [
            problem
            for section, overlay in sections.items()
            if plugins.owner_of("sections", section) == owner
            for problem in overlay.unread_secrets.values()
        ]

    def _sources(self, specs: Mapping[str, SourceSpec], sections: Mapping[str, MergedTable]) -> dict[str, Enabled]:
        tables = self.tables
        tables.check_members("sources", list(specs))
        found: dict[str, Enabled] = {}
        unsure = False
        for name, spec in specs.items():
            key = f"sources.{name}"
            table = dict(tables.table_at("sources", name))
            wanted = tables.enabled_in(table, key)
            table.pop("enabled", None)
            touched = bool(table) or any(tables.variable(variable) for variable, _ in variables_of(spec.options))
            required = wanted is True or (wanted is None and touched)
            options, overlay = tables.build(spec.options, table, key, required=required)
            if options is None:
                unsure = unsure or required
                if required:
                    self._add_plugin_problems(key, [overlay], spec.problems, overlay.valid_options)
                found[name] = Enabled(False, None)
                continue
            enabled = bool(self._call_plugin(key, spec.enabled, options)) if wanted is None else wanted
            if enabled:
                tables.problems.extend(self._unread("sources", name, sections))
                self._add_plugin_problems(key, [overlay], spec.problems, options)
            found[name] = Enabled(enabled, options)
        if not unsure and not any(part.enabled for part in found.values()):
            self._no_source(specs)
        return found

    def _no_source(self, specs: Mapping[str, SourceSpec]) -> None:
        plugins = self.tables.plugins
        names = " or ".join(f"[sources.{name}]" for name in specs) or "a plugin that provides one"
        variables = [variable for spec in specs.values() for variable, _ in variables_of(spec.options)]
        beside = f" (or {variables[0]} in the environment)" if variables else ""
        broken = "".join(f'; plugin "{name}": {message}' for name, message in plugins.problems)
        self.tables.add_problem("sources", f"found no source that is on, expected {names}{beside}{broken}")

    def _sinks(self, specs: Mapping[str, SinkSpec], sections: Mapping[str, MergedTable]) -> dict[str, Enabled]:
        tables = self.tables
        tables.check_members("sinks", list(specs))
        chosen = self._chosen_features(specs)
        found: dict[str, Enabled] = {}
        unread: dict[str, list[str]] = {}
        for name, spec in specs.items():
            key = f"sinks.{name}"
            table = dict(tables.table_at("sinks", name))
            wanted = tables.enabled_in(table, key)
            table.pop("enabled", None)
            enabled = spec.default_enabled if wanted is None else wanted
            if chosen is not None:
                enabled = any(feature in chosen for feature in spec.features)
                table |= {option: feature in chosen for feature, option in spec.features.items() if option is not None}
            options, overlay = tables.build(spec.options, table, key, required=enabled, without_secrets=True)
            faults = [*overlay.unread_secrets.values(), *self._unread("sinks", name, sections)]
            if enabled:
                shared = {section: each.valid_options for section, each in sections.items()}
                self._add_plugin_problems(
                    key, [overlay, *sections.values()], spec.problems, overlay.valid_options, shared
                )
            if enabled and faults:
                unread[name] = faults
                found[name] = Enabled(True, None, "; ".join(faults))
                continue
            if enabled and options is not None:
                tables.notes.extend(
                    f"{tables.file.name}: {note}" for note in self._call_plugin(key, spec.notes, options) or ()
                )
            found[name] = Enabled(enabled and options is not None, options)
        if any(part.enabled and not part.problem for part in found.values()):
            self.unusable.extend(sink_parts(unread))
        else:  # nothing would be delivered at all
            tables.problems.extend(problem for faults in unread.values() for problem in faults)
        return found

    def _chosen_features(self, specs: Mapping[str, SinkSpec]) -> frozenset[str] | None:
        """Return the chosen features of the older bridge, in capitals: all others are off. None: no features were given."""
        variable = self.tables.variable(FEATURES_VARIABLE)
        if self.features is None and not variable:
            return None
        text = variable if self.features is None else self.features
        origin = f"environment: {FEATURES_VARIABLE}" if self.features is None else "--features"
        known = sorted({feature for spec in specs.values() for feature in spec.features})
        names = [name for name in re.split(r"[,\s]+", text.strip("\"'")) if name]
        if not names:
            self.tables.problems.append(f"{origin}: found nothing, expected some of {', '.join(known)}")
        chosen: set[str] = set()
        for name in names:
            if name.upper() in known:
                chosen.add(name.upper())
            else:
                hint = did_you_mean(name, known)
                self.tables.problems.append(f'{origin}: found "{name}", which is not a feature of any sink{hint}')
        return frozenset(chosen)

    def _add_plugin_problems(
        self, key: str, overlays: Sequence[MergedTable], ask: Callable[..., Any], *arguments: Any
    ) -> None:
        """Add the problems that a plugin finds in its options, except those about keys that have a problem already."""
        if any(overlay.valid_options is None for overlay in overlays):
            return
        reported = {faulty for overlay in overlays for faulty in overlay.bad_keys}
        for sentence in self._call_plugin(key, ask, *arguments) or ():
            if reported.isdisjoint(re.findall(r"[\w-]+(?:\.[\w-]+)+", sentence)):
                self.tables.problems.append(f"{self.tables.file.name}: {sentence}")

    def _call_plugin(self, key: str, ask: Callable[..., Any], *arguments: Any) -> Any:
        """Return a plugin's answer. If the plugin fails, the configuration has a problem, because it cannot be checked."""
        try:
            return ask(*arguments)
        except Exception as error:  # noqa: BLE001 - the border to a plugin
            self.tables.add_problem(key, f"the plugin failed to check it ({type(error).__name__}: {error})")
            return None


def _is_not_folder(path: Path) -> bool:
    """Whether the path, or what it is in, exists and is not a folder. An unreadable path may be a folder."""
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except NotADirectoryError:
        return True
    except (OSError, ValueError):
        return False
