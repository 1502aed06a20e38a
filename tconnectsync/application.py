"""Puts the parts together for a command: opens the engine under a configuration, or hands the request to the daemon."""

from __future__ import annotations

import hashlib
import logging
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import attrs

import tconnectsync
from tconnectsync.allocator import give_back_large_blocks
from tconnectsync.anchoring import Upload
from tconnectsync.clock import Clock
from tconnectsync.clockcheck import clock_ahead, zone_doubt
from tconnectsync.config import Config
from tconnectsync.configfile import is_mistake
from tconnectsync.control import SOCKET_NAME, ask
from tconnectsync.daemon import Daemon, Loaded
from tconnectsync.delivery import Courier
from tconnectsync.diskcheck import look_at_disk, room_words
from tconnectsync.engine import Engine
from tconnectsync.errors import ConfigError, FolderOwned, IndexHarmed, MachineNotReady, NotDone
from tconnectsync.eventlog import Damage, EventLog, Files, FolderLock, OsFiles
from tconnectsync.folding import Folding
from tconnectsync.hookspecs import Context, Sink
from tconnectsync.jobs import Notice, Progress, Request, Result, Step, perform
from tconnectsync.keeping import Keeper
from tconnectsync.options import Secret
from tconnectsync.outbox import Outbox
from tconnectsync.placement import Placer
from tconnectsync.plugins import Plugins
from tconnectsync.polling import Poller, SourceMemory
from tconnectsync.receiver import Finding
from tconnectsync.schedule import Rhythm
from tconnectsync.sinkcheck import sink_findings
from tconnectsync.sources import Source
from tconnectsync.verdicts import Slice
from tconnectsync.wallclock import Zones

log = logging.getLogger("tconnectsync.application")


def open_engine(
    config: Config,
    plugins: Plugins,
    *,
    clock: Clock,
    data_dir: Path | None = None,
    files: Files | None = None,
    log_read_only: Path | None = None,
) -> Engine:
    """Everything opened for work on the data folder, whose lock the caller holds.

    For a preview: ``data_dir`` is another folder to work in, ``files`` how its log is reached; with ``log_read_only`` the log
    of that folder is read instead, beside its owner.
    """
    give_back_large_blocks()
    folder = config.data_dir if data_dir is None else data_dir
    sources = open_sources(config, plugins, clock=clock, data_dir=config.data_dir)
    where, writable = (folder, True) if log_read_only is None else (log_read_only, False)
    events = EventLog.open(where, clock=clock, writable=writable, files=files, decoders=sources)
    for notice in events.notices:
        log.warning('log_mended message="%s"', notice)
    keepers: dict[str, Keeper] = {}
    try:
        rhythm = Rhythm(poll_min_s=config.daemon.poll_min, poll_max_s=config.daemon.poll_max)
        pollers = {
            name: Poller(
                name=name,
                source=source,
                events=events,
                clock=clock,
                memory=SourceMemory.load(folder / "state" / f"{name}.json"),
                rhythm=rhythm,
                mark=_mark(events.log_id, config.sources[name].options),
                dice=random.Random(),  # noqa: S311 - jitter
                free_space=lambda: _room(folder),
            )
            for name, source in sources.items()
        }
        decoders = {name: source.decoder for name, source in sorted(sources.items())}
        for name, sink in open_sinks(config, plugins, clock=clock, data_dir=config.data_dir).items():
            keepers[name] = _keeper(config, name, sink, events, clock, folder, decoders)
    except BaseException:
        for keeper in keepers.values():
            keeper.outbox.close()
        events.close()
        raise
    return Engine(
        events=events,
        placer=Placer(events, config.zones),
        clock=clock,
        pollers=pollers,
        keepers=keepers,
        importers=tuple(plugins.importers().values()),
        room=lambda: _room(folder),
    )


def _keeper(
    config: Config, name: str, sink: Sink, events: EventLog, clock: Clock, folder: Path, decoders: Mapping[str, int]
) -> Keeper:
    outbox = Outbox.opened(outbox_path(folder, name))
    if outbox.get("log") not in ("", events.log_id):  # another log: positions mean nothing here
        with outbox.transaction():
            outbox.start_over()
            outbox.put("log", events.log_id)
    outbox.put("log", events.log_id)
    return Keeper(
        name=name,
        fingerprint=f"{sink.fingerprint} decoders={dict(decoders)}",
        folding=Folding(outbox, {fold.name: fold for fold in sink.folds}),
        courier=Courier(outbox, sink.receiver),
        events=events,
        clock=clock,
        dice=random.Random(),  # noqa: S311 - jitter
        rewrite_brake=config.limits.rewrite_brake,
        mark=_mark(events.log_id, config.sections),
    )


def open_sources(config: Config, plugins: Plugins, *, clock: Clock, data_dir: Path) -> dict[str, Source]:
    """The sources that are on."""
    specs = plugins.sources()
    return {
        name: specs[name].open(entry.options, _context(config, clock, data_dir, name))
        for name, entry in config.sources.items()
        if entry.enabled
    }


def open_sinks(config: Config, plugins: Plugins, *, clock: Clock, data_dir: Path) -> dict[str, Sink]:
    """The sinks that are on."""
    specs = plugins.sinks()
    return {
        name: specs[name].open(entry.options, _context(config, clock, data_dir, name))
        for name, entry in config.sinks.items()
        if entry.enabled
    }


def _context(config: Config, clock: Clock, data_dir: Path, name: str) -> Context:
    return Context(
        clock=clock,
        folder=data_dir / "plugins" / name,
        version=tconnectsync.__version__,
        sections=config.sections,
        zone_of=config.zone_of,
    )


def config_mark(config: Config) -> str:
    """Four bytes that tell one configuration from another, as far as it decides what is fetched and delivered."""
    parts = (config.sources, config.sinks, config.sections, config.zones, config.limits, config.daemon)
    return _mark(str(config.data_dir), dict(enumerate(parts)))


def _mark(log_id: str, options: Any) -> str:
    """Four bytes that tell one set of credentials from another without telling them."""
    digest = hashlib.blake2b(key=log_id.encode()[:64], digest_size=4)

    def feed(value: Any) -> None:
        if isinstance(value, Secret):
            digest.update(b"s" + value.reveal().encode())
        elif attrs.has(type(value)):
            for field in attrs.fields(type(value)):
                feed(getattr(value, field.name))
        elif isinstance(value, Mapping):
            for key in sorted(value):
                feed(value[key])
        else:
            digest.update(repr(value).encode())

    feed(options)
    return digest.hexdigest()


def _room(folder: Path) -> str | None:
    return room_words(folder, OsFiles().free_bytes(folder)) or None


def outbox_path(folder: Path, sink: str) -> Path:
    """Where a sink's outbox lies."""
    return folder / "outbox" / f"{sink}.sqlite"


def _make_data_dir(config: Config) -> None:
    """See to it that the data folder is there and nobody else's to read. Errors: ConfigError, MachineNotReady."""
    try:
        OsFiles().make_folder(config.data_dir)
    except OSError as error:
        where = "" if config.origin is None else f"{config.origin}: "
        problem = f"{where}data_dir: {config.data_dir} cannot be made ({error.strerror})"
        remedy = (
            "Name a folder that this user may write to, or run it as the user that owns it (as a service: with sudo)."
        )
        raise (ConfigError if is_mistake(error) else MachineNotReady)((problem,), remedy=remedy) from error


def _keep_private() -> None:
    """What is written is the wearer's own: nobody else on this machine may read it."""
    os.umask(0o077)


def execute(config: Config, plugins: Plugins, request: Request, *, clock: Clock) -> Iterator[Step]:
    """Do what is asked, here or through the daemon that owns the data folder. The last step is the Result."""
    _keep_private()
    _make_data_dir(config)
    try:
        lock = FolderLock(config.data_dir)
    except FolderOwned as error:
        marked = attrs.evolve(request, mark=config_mark(config))
        yield from _hand_over(config.data_dir / SOCKET_NAME, marked, error)
        return
    try:
        try:
            yield from _performed(config, plugins, request, clock)
        except IndexHarmed as error:  # forgotten by now: once more, with a new one
            log.error('index_harmed message="%s"', error.message)
            yield from _performed(config, plugins, request, clock)
    finally:
        lock.release()


def _performed(config: Config, plugins: Plugins, request: Request, clock: Clock) -> Iterator[Step]:
    engine = open_engine(config, plugins, clock=clock)
    try:
        yield from perform(engine, request, config.zones.zone_at)
    finally:
        engine.close()


def _hand_over(path: Path, request: Request, error: FolderOwned) -> Iterator[Step]:
    for attempt in range(3):
        try:
            yield from ask(path, request)
            return
        except (FileNotFoundError, ConnectionRefusedError):
            time.sleep(0.2 * (attempt + 1))  # the owner may be starting, or be a command that ends soon
        except OSError as trouble:
            yield Result(status=8, lines=(f"the daemon did not answer: {trouble}",))
            return
    remedy = error.remedy or "Wait until it is done, or stop it."
    yield Result(status=8, lines=(f"{error.message}, and it takes no requests. {remedy}",))


def run_daemon(load_config: Callable[[], Config], plugins: Plugins, *, clock: Clock) -> int:
    """Run until SIGTERM. Errors: ConfigError, FolderOwned."""
    config = load_config()
    _keep_private()
    _make_data_dir(config)
    folder = config.data_dir

    def load() -> Loaded:
        fresh = load_config()
        if fresh.data_dir != folder:
            log.warning("data_dir_changed it stays %s until the daemon is started again", folder)
            fresh = attrs.evolve(fresh, data_dir=folder)
        name = str(fresh.origin or "the environment alone")
        return Loaded(lambda: open_engine(fresh, plugins, clock=clock), fresh.zones.zone_at, config_mark(fresh), name)

    lock = FolderLock(folder)
    try:
        return Daemon(load, folder / SOCKET_NAME, os.environ).run()
    except PermissionError as error:  # no matter of usage once it runs: systemd is to start it again
        raise RuntimeError(f"permission denied: {error.filename}") from error
    finally:
        lock.release()


# --- readers: no lock, nothing changes ----------------------------------------------------------------------------------


def preview(
    config: Config,
    plugins: Plugins,
    *,
    sink: str | None = None,
    first: date | None = None,
    last: date | None = None,
    clock: Clock,
) -> Iterator[dict[str, Any] | Result]:
    """What ``sync`` (or, with ``sink``, a replay of it) would send: see :func:`tconnectsync.preview.previewed`."""
    from tconnectsync.preview import previewed

    _make_data_dir(config)  # a login's token is kept there
    yield from previewed(config, plugins, sink=sink, first=first, last=last, clock=clock)


def preview_adoption(
    config: Config, plugins: Plugins, *, sink: str, first: date | None = None, last: date | None = None,
    keep_unclear: bool = False, clock: Clock,
) -> Result:  # fmt: skip
    """What ``adopt`` would replace: see :func:`tconnectsync.preview.adoption_previewed`."""
    from tconnectsync.preview import adoption_previewed

    _make_data_dir(config)  # a login's token is kept there
    return adoption_previewed(
        config, plugins, sink=sink, first=first, last=last, keep_unclear=keep_unclear, clock=clock
    )


def verify(
    config: Config, plugins: Plugins, *, sink: str, first: date | None = None, last: date | None = None, clock: Clock
) -> Iterator[Slice]:
    """What the receiver holds, against what the log makes: see :func:`tconnectsync.reading_back.compared`."""
    from tconnectsync.reading_back import compared

    yield from compared(config, plugins, sink=sink, first=first, last=last, clock=clock)


def read_events(
    config: Config,
    *,
    first: date | None = None,
    last: date | None = None,
    kinds: tuple[str, ...] = (),
    pump: str | None = None,
    follow: bool = False,
    left_out: Callable[[Damage], None],
    clock: Clock,
) -> Iterator[dict[str, Any]]:
    """The log's records in the order they were written; ``first`` and ``last`` are pump-local days, both inclusive.

    What is damaged is told to ``left_out``, each damage once, and passed over. Errors: NotDone for a pump that the log does
    not know.
    """
    from tconnectsync.eventlog.record import record_of

    if not (config.data_dir / "log").is_dir():
        return
    events = EventLog.open(config.data_dir, clock=clock, writable=False, decoders={})
    known = sorted({stream.pump for stream in events.streams()})
    if pump is not None and pump not in known:
        events.close()
        raise NotDone(
            f"The event log has no pump {pump!r}; it knows {', '.join(known) or 'none yet'}.",
            remedy="`tconnectsync status` shows the pumps.",
        )
    position = 0
    told: set[tuple[str, int]] = set()

    def tell(damage: Damage) -> None:
        if (damage.path, damage.line) not in told:
            told.add((damage.path, damage.line))
            left_out(damage)

    try:
        while True:
            for event in events.events(position, left_out=tell):
                position = event.pos
                day = event.pump_time.date()
                chosen = (not kinds or event.kind in kinds) and (pump is None or event.pump == pump)
                if chosen and (first is None or day >= first) and (last is None or day <= last):
                    yield record_of(event)
            if not follow:
                return
            clock.sleep(1.0)
    finally:
        events.close()


def read_dead_letters(config: Config, sink: str | None = None) -> list[dict[str, Any]]:
    """What was set aside, per sink, oldest first."""
    found: list[dict[str, Any]] = []
    for name in sorted(config.sinks):
        path = outbox_path(config.data_dir, name)
        if (sink is None or sink == name) and path.exists():
            outbox = Outbox(path, writable=False)
            try:
                found.extend(
                    {**attrs.asdict(letter), "sink": name, "at": letter.at.isoformat().replace("+00:00", "Z")}
                    for letter in outbox.dead_letters()
                )
            finally:
                outbox.close()
    return found


def _may_use(folder: Path) -> bool:
    """Whether this process may, as whom it works: root works as the folder's owner."""
    effective = os.access in os.supports_effective_ids
    return os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=effective)


def run_check(config: Config, plugins: Plugins, *, clock: Clock) -> Iterator[Finding]:
    """Disk, clock, every source and every receiver, by trying them. Nothing secret in the words."""
    from tconnectsync.checkwords import remedy_within_check

    for finding in _tried(config, plugins, clock):
        yield attrs.evolve(finding, remedy=remedy_within_check(finding.remedy))


def _tried(config: Config, plugins: Plugins, clock: Clock) -> Iterator[Finding]:
    try:
        _make_data_dir(config)
    except ConfigError as error:
        yield Finding(good=False, what=error.message, remedy=error.remedy)
        return
    if not _may_use(config.data_dir):
        remedy = "Run it as the user that owns it (as a service: with sudo)."
        yield Finding(good=False, what=f"data folder: this user may not use {config.data_dir}", remedy=remedy)
    disk = look_at_disk(config.data_dir)
    free = (disk.free_bytes or 0) >> 20
    yield Finding(
        good=not disk.message, what=disk.message or f"disk: {free:,} MB free for {config.data_dir}", remedy=disk.remedy
    )
    yield from _check_installation()
    yield from _check_clock(config, clock)
    for name, message in plugins.problems:
        yield Finding(good=False, what=f"plugin {name}: {message}", remedy="Fix it, or name it in `blocked_plugins`.")
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


def _check_last_read(config: Config, name: str) -> Iterator[Finding]:
    """What the vendor sends may be as ever today, and yet days of the last read wait for a release that understands them."""
    condition = SourceMemory.load(config.data_dir / "state" / f"{name}.json").condition
    if condition.state == "changed":
        yield Finding(good=False, what=f"{name}: at the last read: {condition.message}", remedy=condition.remedy)


def _check_installation() -> Iterator[Finding]:
    """Older bridges bear the same name: files of one that are still there are mixed with these."""
    from importlib.metadata import distributions

    others = sorted({found.version for found in distributions(name="tconnectsync")} - {tconnectsync.__version__})
    if others:
        yield Finding(
            good=False,
            what=f"installation: files of tconnectsync {', '.join(others)} are still in this Python environment",
            remedy="Remove them (`pip uninstall tconnectsync` until it finds nothing), then install this release again.",
        )


def _check_clock(config: Config, clock: Clock) -> Iterator[Finding]:
    now = clock.now()
    if now < datetime(2026, 1, 1, tzinfo=timezone.utc):
        yield Finding(good=False, what=f"clock: this computer thinks it is {now:%Y-%m-%d}", remedy="See `timedatectl`.")
    else:
        zone = config.zone_of(now.date())
        yield Finding(good=True, what=f"clock: {now:%Y-%m-%d %H:%M} UTC, zone {zone}")


def _check_zone(upload: tuple[datetime, datetime], zones: Zones) -> Iterator[Finding]:
    at, newest = upload
    doubt = zone_doubt(Upload(at=at, newest=newest), zones)
    if doubt is not None:
        yield doubt.finding
    ahead = clock_ahead(Upload(at=at, newest=newest), zones)
    if ahead is not None:
        yield ahead


def _guarded(name: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """A plugin's findings; its own failure is one more finding."""
    try:
        yield from findings
    except tconnectsync.TconnectsyncError as error:
        yield Finding(good=False, what=f"{name}: {error.message}", remedy=error.remedy)
    except Exception as error:  # noqa: BLE001 - the border to a plugin
        yield Finding(
            good=False, what=f"{name}: the check itself failed ({type(error).__name__})", remedy="Run it with -v."
        )


def read_status(config: Config, *, clock: Clock) -> dict[str, Any]:
    """How everything is doing, from the files alone."""
    from tconnectsync.status import status_of

    return status_of(
        config.data_dir,
        sources={name: entry.enabled for name, entry in config.sources.items()},
        sinks={name: entry.enabled for name, entry in config.sinks.items()},
        zones=config.zones,
        clock=clock,
    )


__all__ = [
    "Notice", "Progress", "Request", "Result", "execute", "open_engine", "preview", "preview_adoption", "read_dead_letters", "read_events",
    "read_status", "run_check", "run_daemon", "verify",
]  # fmt: skip
