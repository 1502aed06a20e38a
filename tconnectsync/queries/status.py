"""`status`: the state of every part, read from the data folder only, with or without a running daemon."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import tconnectsync
from tconnectsync.clock import Clock
from tconnectsync.config.model import Config
from tconnectsync.daemon.state import SOCKET_NAME, daemon_health
from tconnectsync.disk_check import look_at_disk
from tconnectsync.errors import LogCorrupt, TconnectsyncError
from tconnectsync.eventlog import EventLog, LogSize
from tconnectsync.folder_owner import is_own
from tconnectsync.health.states import Health, HealthState
from tconnectsync.ingest.source_state import SourceState, times_path
from tconnectsync.outbox import Outbox, set_aside_words
from tconnectsync.outbox.stored_values import CONFIRMED, FOREIGN_ALLOWED, HEALTH, LAST_DELIVERED, UNUSABLE
from tconnectsync.projection.pending_notes import NOTES
from tconnectsync.queries.alert_status import alert_status
from tconnectsync.reconcile.comparison_state import ComparisonState, twice_text
from tconnectsync.retry.deadline import RememberedDeadline
from tconnectsync.runtime.data_dir import outbox_path
from tconnectsync.storage_errors import FAILING, cannot_save, forbidden_part, storage_error, storage_remedy
from tconnectsync.text.durations import iso_time
from tconnectsync.text.sentences import as_sentences
from tconnectsync.timeline.resolver import TimelineResolver
from tconnectsync.timeline.zones import Zones

COMPARED_LATE = timedelta(days=3)
"""If the daily comparison with the receiver fails for longer than this, it is bad."""

OVERDUE = timedelta(hours=2)
"""If a planned poll is overdue by this long, the daemon is considered gone. Longer than any usual cron interval."""

TYPICAL_EVENTS_A_DAY = 1_200.0
"""For a pump with a control algorithm and a sensor."""
TYPICAL_BYTES = 48.0
"""Size of an event in a compressed segment."""
ENOUGH_DAYS = 7
ENOUGH_PACKED = 5_000
DENSE = frozenset({"basal.delivered", "basal.rate_changed"})
"""Kinds that a pump logs all day. Other kinds, such as clock changes, may go back to its first day."""
FEWEST_EVENTS_A_DAY = 100
"""Fewer events a day than this mean that a wrong clock made the time span too long."""


def status_of(
    data_dir: Path, *, sources: Mapping[str, bool], sinks: Mapping[str, bool], zones: Zones, clock: Clock
) -> dict[str, Any]:
    """Return what ``status --json`` prints. ``sources`` and ``sinks`` map each name to whether it is on."""
    machine = machine_status(data_dir)
    pid = machine["daemon"]["pid"]
    found: dict[str, Any] = {
        "version": tconnectsync.__version__,
        "data_dir": str(data_dir),
        **machine,
        "log": {
            "positions": 0,
            "bytes": 0,
            "segments": 0,
            "damaged": False,
            "remedy": None,
            "verified_at": None,
            "bytes_a_year": None,
            "bytes_a_year_basis": None,
        },
        "sources": {},
        "sinks": {},
    }
    events = _open(data_dir, clock, found)
    try:
        resolver = None if events is None else TimelineResolver(events, zones)
        for name, on in sorted(sources.items()):
            state = SourceState.load(data_dir / "state" / f"{name}.json")
            seen = _source(name, state, on=on, events=events, resolver=resolver, now=clock.now(), daemon=pid)
            found["sources"][name] = seen | (_not_saved(state, data_dir, seen["message"]) if on else {})
        for name, on in sorted(sinks.items()):
            end = 0 if events is None else events.end
            found["sinks"][name] = _sink(outbox_path(data_dir, name), on=on, end=end, now=clock.now())
    finally:
        if events is not None:
            events.close()
    return found


def machine_status(data_dir: Path) -> dict[str, Any]:
    """Return the part that is measured now: the disk, and whether the daemon runs."""
    disk = look_at_disk(data_dir)
    daemon, pid = daemon_health(data_dir, data_dir / SOCKET_NAME)
    room = Health(
        state=HealthState.HALTED if disk.message else HealthState.OK, message=disk.message, remedy=disk.remedy
    )
    return {
        "disk": {**_health_json(room), "free_bytes": disk.free_bytes, "read_only": disk.read_only},
        "daemon": {**_health_json(daemon), "pid": pid},
    }


def _open(data_dir: Path, clock: Clock, found: dict[str, Any]) -> EventLog | None:
    if not (data_dir / "log").is_dir():
        return None
    try:
        events = EventLog.open(data_dir, clock=clock, writable=False, decoders={})
    except TconnectsyncError as error:
        found["log"] |= {"damaged": error.message, "remedy": error.remedy}
        return None
    except OSError as error:
        if isinstance(error, PermissionError):
            raise
        words = f"it cannot be read: {error.strerror}"
        found["log"] |= {"damaged": words, "remedy": storage_remedy(error, data_dir) or FAILING}
        return None
    size = events.size()
    damaged = [f"{damage.path} line {damage.line}: {damage.what}" for damage in events.damage]
    found["log"] = {
        "positions": size.positions,
        "bytes": size.bytes,
        "segments": size.segments,
        "damaged": "; ".join(damaged) or False,
        "remedy": _log_remedy(events) if damaged else None,
        "verified_at": iso_time(events.verified_at),
        **_growth(events, size),
    }
    return events


def _log_remedy(events: EventLog) -> str:
    """Return the remedy: opening for writing removes a torn end; any other damage needs a repair."""
    if all(damage.last_position is None and damage.position is not None for damage in events.damage):
        return (
            "Run `systemctl restart tconnectsync`, or `tconnectsync sync` if no daemon runs: the corrupt end is removed and"
            " fetched again."
        )
    return "Run `tconnectsync log check`, then stop the daemon and run `tconnectsync log repair`."


def _growth(events: EventLog, size: LogSize) -> dict[str, Any]:
    """Estimate a year's growth from the events per day and their compressed size; typical figures until there is enough data."""
    spans = [
        (found[0][1], found[1][1])
        for stream in events.streams()
        if stream.numbered and (found := events.first_last(stream.id, DENSE)) is not None
    ]
    a_day: float = TYPICAL_EVENTS_A_DAY
    basis = "typical"
    if spans:
        days = (max(last for _, last in spans) - min(first for first, _ in spans)) / timedelta(days=1)
        if days >= ENOUGH_DAYS and size.positions / days >= FEWEST_EVENTS_A_DAY:
            a_day, basis = size.positions / days, "measured"
    each = TYPICAL_BYTES
    if size.packed_positions >= ENOUGH_PACKED:
        each = size.packed_bytes / size.packed_positions
    return {"bytes_a_year": round(a_day * 365 * each), "bytes_a_year_basis": basis}


def _source(
    name: str, state: SourceState, *, on: bool, events: EventLog | None, resolver: TimelineResolver | None, now: datetime,
    daemon: int | None,
) -> dict[str, Any]:  # fmt: skip
    uploads, pumps, newest, words = [], {}, None, []
    if events is not None and resolver is not None:
        try:
            uploads = [fact.body.uploaded_at for fact in events.facts("upload.seen", source=name, limit=24)]
            pumps, newest = resolver.status(name), resolver.newest(name)
            words = resolver.messages()
        except LogCorrupt as error:
            words = [error.message]
    has_begun = bool(uploads) or newest is not None
    health = _source_health(state, now, has_begun=has_begun, daemon=daemon) if on else Health(state=HealthState.OFF)
    message = as_sentences(health.message, *words)
    return {
        **_health_json(health, message),
        "next_try": iso_time(_next_try(health.not_before, now)),
        "last_fetch": iso_time(state.last_fetch),
        "last_upload": iso_time(max(uploads, default=None)),
        "newest_event": iso_time(newest),
        "next_poll": iso_time(_next_try(health.not_before or state.next_poll, now))
        if health.state not in (HealthState.OFF, HealthState.REFUSED)
        else None,
        "pumps": {serial: {**pump, "newest_event": iso_time(pump["newest_event"])} for serial, pump in pumps.items()},
        "unknown_codes": state.unknown_codes,
        "set_aside": state.unreadable_records,
    }


def _not_saved(state: SourceState, data_dir: Path, message: str) -> dict[str, Any]:
    """Return what differs if the state of a source cannot be saved: what it says may be out of date, so it is not ok."""
    if state.health.state == HealthState.REFUSED or not _is_asked(data_dir, state.path.parent):
        return {}
    forbidden = cannot_save((state.path, times_path(state.path)))
    if forbidden is None:
        return {}
    words = f"{forbidden.filename} cannot be written ({forbidden.strerror}): a refused login would be forgotten and tried again"
    return {
        "state": HealthState.HALTED,
        "message": as_sentences(words, message),
        "remedy": storage_remedy(forbidden, data_dir),
    }


def _is_asked(data_dir: Path, folder: Path) -> bool:
    """Whether what cannot be written is trouble: another user who may look at the folder may not write to it, and need not."""
    return is_own(data_dir) and not look_at_disk(folder).message


def _next_try(deadline: RememberedDeadline | None, now: datetime) -> datetime | None:
    """Return the planned time; now, if it was planned by a wrong clock."""
    if deadline is None:
        return None
    return deadline.until if deadline.is_plausible(now) else now


def _source_health(state: SourceState, now: datetime, *, has_begun: bool, daemon: int | None) -> Health:
    """Return a source's health. A source that is not polled any more, because the daemon is gone or hangs, is not ok."""
    health = state.health
    if not health.is_ok:
        return health
    if state.last_fetch is None and has_begun:
        remedy = "The daemon continues automatically. If no daemon runs: `tconnectsync sync`."
        return Health(state=HealthState.WAITING, message="the first read is not complete yet", remedy=remedy)
    if state.last_fetch is None:
        return Health(state=HealthState.WAITING, message="not read yet", remedy="Run `tconnectsync sync`.")
    planned = _next_try(state.next_poll, now)
    if planned is not None and now - planned > OVERDUE:
        if daemon is None:
            message, remedy = (
                "not read since then: no daemon runs",
                "Run `systemctl start tconnectsync`, or `tconnectsync sync`.",
            )
        else:
            message = f"not read since then, although the daemon (process {daemon}) runs"
            remedy = "Run `systemctl restart tconnectsync`."
        return Health(state=HealthState.WAITING, since=planned, message=message, remedy=remedy)
    return health


def _sink(path: Path, *, on: bool, end: int, now: datetime) -> dict[str, Any]:
    nothing: dict[str, Any] = {"cursor": 0, "behind": end if on else 0, "pending": 0, "dead": 0, "last_delivered": None}
    nothing |= {"had_everything": False, "verified_at": None, "verified": {}}
    if not path.exists():
        health = Health(state=HealthState.WAITING, message="not run yet") if on else Health(state=HealthState.OFF)
        return {**_health_json(health), **nothing}
    try:
        with closing(Outbox(path, writable=False)) as outbox:
            found = _outbox_status(outbox, on=on, end=end, now=now)
    except (OSError, sqlite3.Error) as error:
        if isinstance(error, PermissionError):
            raise
        return {**_health_json(_unreadable(path, error)), **nothing}
    data_dir = path.parents[1]
    forbidden = forbidden_part(path) if on and _is_asked(data_dir, path.parent) else None
    if forbidden is not None:  # the outbox itself cannot say so
        message = f"{forbidden.filename} cannot be written ({forbidden.strerror}): nothing is sent until it can be"
        health = Health(state=HealthState.HALTED, message=message, remedy=storage_remedy(forbidden, data_dir))
        return {**found, **_health_json(health)}
    return found


def _outbox_status(outbox: Outbox, *, on: bool, end: int, now: datetime) -> dict[str, Any]:
    counts, comparison, cursor = outbox.dead_letters.counts(), ComparisonState.load(outbox), outbox.checkpoints.cursor
    health, notes = Health(state=HealthState.OFF), list[str]()
    if on:
        health = outbox.values.get(UNUSABLE) or outbox.values.get(HEALTH)
        notes = [note.text(now) for note in outbox.values.get(NOTES) if note.is_due(now)]
        if counts.dead:
            notes.insert(0, set_aside_words(counts.dead, outbox.dead_letters.last_reason()))
        if comparison.problem and health.is_ok:
            health = _not_compared(comparison, health, now)
        twice = comparison.counts.get("twice", 0)
        if twice and not outbox.values.get(FOREIGN_ALLOWED):
            notes.append(twice_text(twice, outbox.path.stem))
        notes += filter(None, [comparison.rewritten_text()])
    behind, waiting = max(0, end - cursor) if on else 0, outbox.queue.waiting(now)
    delivered, confirmed = outbox.values.get(LAST_DELIVERED), outbox.values.get(CONFIRMED)
    return {
        **_health_json(health, as_sentences(health.message, *notes)),
        "next_try": iso_time(_next_try(health.not_before, now)),
        "verified_at": iso_time(comparison.at),
        "verified": dict(comparison.counts),
        "cursor": cursor,
        "behind": behind,
        "pending": waiting,
        "dead": counts.dead,
        "last_delivered": iso_time(delivered),
        "had_everything": confirmed and delivered is None and not (behind or waiting or counts.dead),
    }


def _not_compared(comparison: ComparisonState, health: Health, now: datetime) -> Health:
    """Return the health if the receiver's documents could not be read back. It is retried, so it is not bad at once."""
    return Health(
        state=HealthState.BACKING_OFF
        if comparison.at is None or now - comparison.at < COMPARED_LATE
        else HealthState.HALTED,
        since=comparison.at or health.since,
        message=f"the site could not be compared with the log: {comparison.problem}",
        remedy="Delivery continues. `tconnectsync check` tests the site now.",
        not_before=comparison.not_before,
    )


def _unreadable(path: Path, error: Exception) -> Health:
    """Return why an outbox cannot be read, and the remedy. It counts as damaged only if it is not a database any more."""
    disk = look_at_disk(path.parent)
    message = f"{path.name} cannot be read: {error}"
    if disk.message:
        return Health(state=HealthState.WAITING, message=message, remedy=disk.remedy)
    found = storage_error(error, path)
    if found is not None:
        state = HealthState.WAITING if found.errno == errno.EBUSY else HealthState.HALTED
        return Health(state=state, message=message, remedy=storage_remedy(found, path.parents[1]) or FAILING)
    if isinstance(error, sqlite3.OperationalError):
        return Health(state=HealthState.WAITING, message=message, remedy="Run `tconnectsync status` again in a minute.")
    remedy = "Run `systemctl restart tconnectsync`, or `tconnectsync sync` if no daemon runs: the file is renamed and rebuilt."
    return Health(state=HealthState.DAMAGED, message=message, remedy=remedy)


def _health_json(health: Health, message: str | None = None) -> dict[str, Any]:
    return {
        "state": health.state,
        "since": iso_time(health.since),
        "message": health.message if message is None else message,
        "remedy": health.remedy,
    }


def read_status(config: Config, *, clock: Clock) -> dict[str, Any]:
    """Return what ``status --json`` prints, from the files of the data folder only."""
    status = status_of(
        config.data_dir,
        sources={name: entry.enabled for name, entry in config.sources.items()},
        sinks={name: entry.enabled for name, entry in config.sinks.items()},
        zones=config.zones,
        clock=clock,
    )
    return status | alert_status(config, clock.now())
