"""Builds the engine, its sources and its sinks from a configuration."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import tconnectsync
from tconnectsync.clock import Clock
from tconnectsync.config.fingerprint import options_fingerprint
from tconnectsync.config.model import Config
from tconnectsync.config.unusable_parts import REMEDY
from tconnectsync.eventlog import EventLog, Files, Replica
from tconnectsync.health.states import Health, HealthState
from tconnectsync.ingest.poller import Poller
from tconnectsync.ingest.schedule import PollSchedule
from tconnectsync.ingest.source_state import SourceState
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.older_copy import open_outbox
from tconnectsync.outbox.sender import Sender
from tconnectsync.outbox.stored_values import LOG_ID, UNUSABLE
from tconnectsync.plugin.manager import Plugins
from tconnectsync.plugin.source import Source
from tconnectsync.plugin.spec import Context, Sink
from tconnectsync.projection.fold_runner import FoldRunner
from tconnectsync.runtime.data_dir import folder_identity, free_space_problem, outbox_path
from tconnectsync.runtime.engine import Engine
from tconnectsync.runtime.memory_limit import save_memory
from tconnectsync.runtime.sending import Sending, SendingHere
from tconnectsync.runtime.sink_runner import SinkRunner
from tconnectsync.timeline.resolver import TimelineResolver

log = logging.getLogger("tconnectsync.runtime")


def open_engine(
    config: Config,
    plugins: Plugins,
    *,
    clock: Clock,
    data_dir: Path | None = None,
    files: Files | None = None,
    log_read_only: Path | None = None,
    replica: Replica | None = None,
    pace: Callable[[], None] = lambda: None,
    sending: Sending | None = None,
) -> Engine:
    """Open the log, the sources and the sinks, and return the engine. The caller owns the data folder's lock.

    For a preview: ``data_dir`` is another folder to work in, and ``files`` opens its log. With ``log_read_only``, the log of
    that folder is read instead, while its owner may write. ``replica``: the copy of the log that other workers share. ``pace``: see ``Context``.
    ``sending``: where receivers are called, by default in the caller's thread.
    """
    sending = sending or SendingHere()
    save_memory()
    folder = config.data_dir if data_dir is None else data_dir
    sources = open_sources(config, plugins, clock=clock, data_dir=config.data_dir, pace=pace)
    where, writable = (folder, True) if log_read_only is None else (log_read_only, False)
    events = EventLog.open(where, clock=clock, writable=writable, files=files, decoders=sources, replica=replica)
    for notice in events.notices:
        log.warning('log_repaired message="%s"', notice)
    runners: dict[str, SinkRunner] = {}
    try:
        free_space = partial(free_space_problem, folder, folder_identity(folder))
        pollers = _pollers(config, sources, events, clock, folder, free_space)
        decoders = {name: source.decoder for name, source in sorted(sources.items())}
        for name, sink in open_sinks(config, plugins, clock=clock, data_dir=config.data_dir).items():
            runners[name] = open_sink_runner(config, plugins, name, sink, events, clock, folder, decoders, sending)
        unusable = note_unusable_sinks(config, clock, folder)
    except BaseException:
        for runner in runners.values():
            runner.outbox.close()
        events.close()
        raise
    return Engine(
        events=events,
        timelines=TimelineResolver(events, config.zones),
        clock=clock,
        pollers=pollers,
        runners=runners,
        unusable=unusable,
        sending=sending,
        importers=tuple(plugins.importers().values()),
        free_space=free_space,
    )


def _pollers(
    config: Config,
    sources: Mapping[str, Source],
    events: EventLog,
    clock: Clock,
    folder: Path,
    free_space: Callable[[], str | None],
) -> dict[str, Poller]:
    rhythm = PollSchedule(poll_min_s=config.daemon.poll_min, poll_max_s=config.daemon.poll_max)
    return {
        name: Poller(
            name=name,
            source=source,
            events=events,
            clock=clock,
            state=SourceState.load(folder / "state" / f"{name}.json"),
            schedule=rhythm,
            credentials_fingerprint=options_fingerprint(events.log_id, config.sources[name].options),
            rng=random.Random(),  # noqa: S311 - jitter
            free_space=free_space,
        )
        for name, source in sources.items()
    }


def credentials_fingerprint(config: Config, plugins: Plugins, name: str, log_id: str) -> str:
    """Return a fingerprint of what a sink can log in with: its options, and its plugin's sections. Other ones are tried at once."""
    owner = plugins.owner_of("sinks", name)
    own = [section for section in plugins.sections() if plugins.owner_of("sections", section) == owner]
    sections = {section: config.sections.get(section) for section in own}
    return options_fingerprint(log_id, {"options": config.sinks[name].options, "sections": sections})


def open_sink_runner(
    config: Config, plugins: Plugins, name: str, sink: Sink, events: EventLog, clock: Clock, folder: Path,
    decoders: Mapping[str, int], sending: Sending,
) -> SinkRunner:  # fmt: skip
    """Open the outbox of a sink in ``folder``, and return the sink's runner."""
    outbox = open_outbox(Outbox, outbox_path(folder, name), [fold.name for fold in sink.folds])
    if outbox.values.get(LOG_ID) not in ("", events.log_id):  # the positions belong to another log
        with outbox.transaction():
            outbox.checkpoints.start_over()
            outbox.values.put(LOG_ID, events.log_id)
    outbox.values.put(LOG_ID, events.log_id)
    outbox.values.forget(UNUSABLE)
    runner = SinkRunner.build(
        name=name,
        fingerprint=f"{sink.fingerprint} decoders={dict(decoders)}",
        fold_runner=FoldRunner(outbox, {fold.name: fold for fold in sink.folds}),
        sender=Sender(outbox, sink.receiver),
        events=events,
        clock=clock,
        rng=random.Random(),  # noqa: S311 - jitter
        rewrite_limit=config.limits.rewrite_brake,
        credentials_fingerprint=credentials_fingerprint(config, plugins, name, events.log_id),
        sending=sending,
    )
    runner.delivery.report.zone_at = config.zones.zone_at
    return runner


def note_unusable_sinks(config: Config, clock: Clock, folder: Path) -> dict[str, Health]:
    """Return, and store in their outboxes, why sinks that are on cannot be opened. They continue later where they stopped."""
    found: dict[str, Health] = {}
    for name, entry in config.sinks.items():
        if entry.enabled and entry.problem:
            health = Health(
                state=HealthState.WAITING, message=f"its secret cannot be used: {entry.problem}", remedy=REMEDY
            )
            with closing(Outbox.opened(outbox_path(folder, name))) as outbox:
                before = outbox.values.get(UNUSABLE) or Health()
                found[name] = health.with_since(before, clock.now())
                outbox.values.put(UNUSABLE, found[name])
    return found


def open_sources(
    config: Config, plugins: Plugins, *, clock: Clock, data_dir: Path, pace: Callable[[], None] = lambda: None
) -> dict[str, Source]:
    specs = plugins.sources()
    return {
        name: specs[name].open(entry.options, _context(config, clock, data_dir, name, pace))
        for name, entry in config.sources.items()
        if entry.enabled
    }


def open_sinks(config: Config, plugins: Plugins, *, clock: Clock, data_dir: Path) -> dict[str, Sink]:
    specs = plugins.sinks()
    return {
        name: specs[name].open(entry.options, _context(config, clock, data_dir, name))
        for name, entry in config.sinks.items()
        if entry.enabled and not entry.problem
    }


def _context(
    config: Config, clock: Clock, data_dir: Path, name: str, pace: Callable[[], None] = lambda: None
) -> Context:
    return Context(
        clock=clock,
        folder=data_dir / "plugins" / name,
        version=tconnectsync.__version__,
        sections=config.sections,
        zone_of=config.zone_of,
        glucose_units=config.glucose_units,
        pace=pace,
    )
