"""`check`: tests the disk, the clock, every source and every receiver."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs

import tconnectsync
from tconnectsync.clock import Clock
from tconnectsync.config.model import Config
from tconnectsync.config.unusable_parts import REMEDY
from tconnectsync.disk_check import look_at_disk
from tconnectsync.errors import ConfigError
from tconnectsync.health.states import HealthState
from tconnectsync.ingest.source_state import SourceState
from tconnectsync.plugin.manager import Plugins
from tconnectsync.plugin.receiver import CheckResult
from tconnectsync.queries.alert_watch import alert_findings
from tconnectsync.queries.sink_check import sink_findings
from tconnectsync.queries.zone_check import clock_ahead, places_of_clock, zone_doubt
from tconnectsync.runtime.data_dir import make_data_dir
from tconnectsync.runtime.open_engine import open_sinks, open_sources
from tconnectsync.text.durations import size_words
from tconnectsync.timeline.zone_decision import Upload
from tconnectsync.timeline.zones import Zones


def run_check(config: Config, plugins: Plugins, *, clock: Clock) -> Iterator[CheckResult]:
    """Test the disk, the clock, every source and every receiver. The messages contain no secrets."""
    from tconnectsync.queries.check_remedies import remedy_within_check

    for finding in _all_results(config, plugins, clock):
        yield attrs.evolve(finding, remedy=remedy_within_check(finding.remedy))


def check_sources(
    config: Config, plugins: Plugins, *, clock: Clock, data_dir: Path
) -> Iterator[tuple[str, CheckResult]]:
    """Test the sources that are on and yield their names with the results. ``data_dir`` is where they store a login."""
    for name, source in open_sources(config, plugins, clock=clock, data_dir=data_dir).items():
        for finding in _guarded(name, source.check()):
            yield name, finding


def check_receivers(config: Config, plugins: Plugins, *, clock: Clock, data_dir: Path) -> Iterator[CheckResult]:
    """Test each receiver of the sinks that are on, once. ``data_dir`` is where they store what they learn."""
    seen: set[str] = set()
    for name, sink in open_sinks(config, plugins, clock=clock, data_dir=data_dir).items():
        if sink.receiver.address not in seen:
            seen.add(sink.receiver.address)
            yield from _guarded(name, sink.receiver.check())


def _all_results(config: Config, plugins: Plugins, clock: Clock) -> Iterator[CheckResult]:
    try:
        make_data_dir(config)
    except ConfigError as error:
        yield CheckResult(good=False, what=error.message, remedy=error.remedy)
        return
    if not _may_use(config.data_dir):
        remedy = "If tconnectsync runs as a service, put `sudo` before the command. Otherwise run it as the owner of the folder."
        yield CheckResult(good=False, what=f"data folder: this user may not use {config.data_dir}", remedy=remedy)
    disk = look_at_disk(config.data_dir)
    free = size_words(disk.free_bytes or 0)
    yield CheckResult(
        good=not disk.message, what=disk.message or f"disk: {free} free for {config.data_dir}", remedy=disk.remedy
    )
    yield from _check_installation()
    yield from _check_clock(config, clock)
    for part in config.unusable:
        yield CheckResult(good=False, what=f"configuration: {part.words}", remedy=REMEDY)
    yield from alert_findings(config)
    for name, message in plugins.problems:
        yield CheckResult(
            good=False,
            what=f"plugin {name}: {message}",
            remedy="Correct or uninstall it, or name it in `blocked_plugins`.",
        )
    for name, source in open_sources(config, plugins, clock=clock, data_dir=config.data_dir).items():
        yield from _check_last_read(config, name)
        for finding in _guarded(name, source.check()):
            yield finding
            if (
                finding.upload is not None and not (config.data_dir / "log").is_dir()
            ):  # a log knows more than one upload
                yield from _check_zone(finding.upload, config.zones)
    seen: set[str] = set()
    for name, sink in open_sinks(config, plugins, clock=clock, data_dir=config.data_dir).items():
        yield from sink_findings(config.data_dir, name)
        if sink.receiver.address not in seen:
            seen.add(sink.receiver.address)
            yield from _guarded(name, sink.receiver.check())


def _check_installation() -> Iterator[CheckResult]:
    """Report files of older releases in this Python environment: they have the same package name and get mixed up."""
    from importlib.metadata import distributions

    others = sorted({found.version for found in distributions(name="tconnectsync")} - {tconnectsync.__version__})
    if others:
        yield CheckResult(
            good=False,
            what=f"installation: files of tconnectsync {', '.join(others)} are still in this Python environment",
            remedy="Remove them (`pip uninstall tconnectsync` until it finds nothing), then install this release again.",
        )


def _check_clock(config: Config, clock: Clock) -> Iterator[CheckResult]:
    now = clock.now()
    if now < datetime(2026, 1, 1, tzinfo=timezone.utc):
        yield CheckResult(
            good=False,
            what=f"clock: this computer's date is {now:%Y-%m-%d}, which is wrong: nothing can be fetched",
            remedy="Set this computer's clock: `timedatectl` shows whether it is synchronised.",
        )
    else:
        zone = config.zone_of(now.date())
        yield CheckResult(good=True, what=f"clock: {now:%Y-%m-%d %H:%M} UTC, zone {zone}")


def zones_of_pump_clock(config: Config, plugins: Plugins, *, clock: Clock) -> tuple[str, ...]:
    """Ask the sources for an upload; return the zones that fit the pump's clock, none if that cannot be known.

    The configuration is not valid yet: where there is no data folder, none is left.
    """
    with contextlib.ExitStack() as stack:
        if not config.data_dir.is_dir():
            config = attrs.evolve(config, data_dir=Path(stack.enter_context(TemporaryDirectory())))
        return _zones_of_pump_clock(config, plugins, clock)


def _zones_of_pump_clock(config: Config, plugins: Plugins, clock: Clock) -> tuple[str, ...]:
    try:
        make_data_dir(config)
    except ConfigError:
        return ()
    for name, source in open_sources(config, plugins, clock=clock, data_dir=config.data_dir).items():
        for finding in _guarded(name, source.check()):
            places = (
                ()
                if finding.upload is None
                else places_of_clock(Upload(at=finding.upload[0], newest=finding.upload[1]))
            )
            if places:
                return places
    return ()


def _check_zone(upload: tuple[datetime, datetime], zones: Zones) -> Iterator[CheckResult]:
    at, newest = upload
    doubt = zone_doubt(Upload(at=at, newest=newest), zones)
    if doubt is not None:
        yield doubt.finding
    ahead = clock_ahead(Upload(at=at, newest=newest), zones)
    if ahead is not None:
        yield ahead


def _guarded(name: str, findings: Iterator[CheckResult]) -> Iterator[CheckResult]:
    """Yield a plugin's results; if the plugin fails, that is one more result."""
    try:
        yield from findings
    except tconnectsync.TconnectsyncError as error:
        yield CheckResult(good=False, what=f"{name}: {error.message}", remedy=error.remedy)
    except Exception as error:  # noqa: BLE001 - the border to a plugin
        yield CheckResult(
            good=False,
            what=f"{name}: the check itself failed ({type(error).__name__})",
            remedy="Run `tconnectsync -v check` to see the details.",
        )


def _may_use(folder: Path) -> bool:
    """Whether this process may use the folder, by its effective user: root works as the folder's owner."""
    effective = os.access in os.supports_effective_ids
    return os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=effective)


def _check_last_read(config: Config, name: str) -> Iterator[CheckResult]:
    """Report days of the last read that only a newer release can read, even if today's answers are fine."""
    health = SourceState.load(config.data_dir / "state" / f"{name}.json").health
    if health.state == HealthState.CHANGED:
        yield CheckResult(good=False, what=f"{name}: at the last read: {health.message}", remedy=health.remedy)
