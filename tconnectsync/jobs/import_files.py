"""The job ``import``: checks all files completely, appends their events, then opens their days for delivery."""

from __future__ import annotations

import contextlib
import gc
import getpass
import logging
import os
import stat
from collections import defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from tconnectsync.errors import FileUnreadable, MachineTrouble, RequestRefused
from tconnectsync.events import FACTS, Event
from tconnectsync.events.source_facts import history_opened
from tconnectsync.folder_owner import as_caller
from tconnectsync.ingest.event_count import EventCount
from tconnectsync.jobs.device_check import DeviceIdentityCheck
from tconnectsync.jobs.messages import Notice, Progress, Step
from tconnectsync.plugin.source import Batch
from tconnectsync.plugin.spec import Importer, ImportOptions
from tconnectsync.runtime.engine import Engine
from tconnectsync.storage_errors import FREE_SPACE, storage_steps
from tconnectsync.text.plural import counted

log = logging.getLogger("tconnectsync.importing")

HEAD_BYTES = 64 << 10
_UNDATED = frozenset({"clock.changed"})
"""Kinds that may reach back to the pump's first day. They alone do not open a day for delivery."""
_DAY = timedelta(days=1)
_RUNS_SHOWN = 5

_Range = tuple[date, date]


@attrs.frozen(kw_only=True)
class _ImportFile:
    """A file and its importer; ``file_stamp`` changes if the file is written to."""

    path: Path
    importer: Importer
    size: int
    file_stamp: tuple[int, ...]


@attrs.define
class _Found:
    """The result of an import: pump-local days by source and pump, and each importer's note about its file."""

    days: dict[tuple[str, str], set[date]] = attrs.field(factory=lambda: defaultdict(set))
    notes: list[str] = attrs.field(factory=list)
    brought: EventCount = attrs.field(factory=EventCount)


def import_files(engine: Engine, args: Mapping[str, Any]) -> Generator[Step, None, tuple[str, ...]]:
    """Append the new events of ``args["files"]`` and open their days; return lines for the user.

    Errors: FileUnreadable and RequestRefused, before anything is appended.
    """
    options = ImportOptions(
        pump=args.get("pump") or None, skip_bad=bool(args.get("skip_bad")), received_at=engine.clock.now()
    )
    files = [_recognise_file(Path(name), engine.importers) for name in dict.fromkeys(map(str, args["files"]))]
    with _rare_garbage_collection():
        return (yield from _import(engine, files, options))


def _import(
    engine: Engine, files: Sequence[_ImportFile], options: ImportOptions
) -> Generator[Step, None, tuple[str, ...]]:
    total = sum(file.size for file in files)
    found, before = _Found(brought=EventCount(engine.events.end)), 0
    same_device = DeviceIdentityCheck(engine.events)
    for file in files:
        for batch, read in _batches(file, attrs.evolve(options, check_only=True)):
            _must_be_timed(batch)
            same_device.add(batch.events, file.importer.device)
            yield Progress(message=f"checking {file.path.name}", done=(before + read) // 2, total=total)
        before += file.size
    same_device.require_same_device()
    same_device.require_own_pump(options.pump)
    yield from (Notice(words=words) for words in same_device.notices())
    engine.append_depth += 1
    try:
        for file in files:
            yield from _take(engine, file, options, found, done=before, total=total)
            before += file.size
        engine.events.append(_history_opened(engine, found.days, options.received_at))
    finally:
        engine.append_depth -= 1
    log.info("imported files=%d new=%d known=%d", len(files), found.brought.new, found.brought.known)
    return _words(found)


@contextlib.contextmanager
def _rare_garbage_collection() -> Iterator[None]:
    """Collect garbage less often inside the block: millions of small objects without cycles would cost a tenth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


# --- the files -----------------------------------------------------------------------------------------------------


def _recognise_file(path: Path, importers: Sequence[Importer]) -> _ImportFile:
    """Find the importer for a file. Errors: RequestRefused."""
    try:
        with as_caller():
            state = path.stat()
            if not stat.S_ISREG(state.st_mode):
                raise RequestRefused(
                    f"{path} is not a file; nothing was imported.", remedy="Give the paths of the files."
                )
            with path.open("rb") as stream:
                head = stream.read(HEAD_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from None
    for importer in importers:
        if _recognises(importer, head):
            return _ImportFile(path=path, importer=importer, size=state.st_size, file_stamp=_stamp_of(state))
    kinds = "; ".join(importer.name for importer in importers) or "none (no plugin brings any)"
    raise RequestRefused(
        f"{path} has an unknown format; nothing was imported. Known formats: {kinds}.",
        remedy="Give the original, unpacked file. `tconnectsync plugins` lists the formats of each plugin.",
    )


def _unreadable(path: Path, error: OSError) -> RequestRefused:
    who = _user()
    return RequestRefused(
        f"{path} cannot be read by {who}, the user of the daemon ({error.strerror}); nothing was imported.",
        remedy="Copy the file into the data folder, let everybody read the copy (`chmod a+r`), and import the copy: the service"
        " has its own /tmp and cannot see home folders. Or stop the daemon and run the command again.",
    )


def _user() -> str:
    try:
        return f"user {getpass.getuser()}"
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def _stamp_of(state: os.stat_result) -> tuple[int, ...]:
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns


def _recognises(importer: Importer, head: bytes) -> bool:
    try:
        return importer.recognises(head)
    except Exception:
        # the border to a plugin: another importer may recognise the file
        log.exception('importer_failed name="%s"', importer.name)
        return False


def _batches(file: _ImportFile, options: ImportOptions) -> Iterator[tuple[Batch, int]]:
    """Yield the file's batches, each with the number of bytes read so far. Errors: FileUnreadable, RequestRefused."""
    try:
        with as_caller():
            stream = file.path.open("rb")
    except OSError as error:
        raise _unreadable(file.path, error) from None
    with stream:
        if _stamp_of(os.fstat(stream.fileno())) != file.file_stamp:
            raise FileUnreadable(
                f"{file.path} was changed during the import.",
                remedy="Run `tconnectsync import` again when the file is complete: nothing is doubled.",
            )
        try:
            for batch in file.importer.read(stream, options):
                yield batch, _position(stream, file.size)
        except FileUnreadable as error:
            raise FileUnreadable(f"{file.path}: {error.message}", remedy=error.remedy) from None


def _position(stream: BinaryIO, size: int) -> int:
    try:
        return min(stream.tell(), size)
    except (OSError, ValueError):  # the importer has wrapped it
        return size


# --- what is in them -----------------------------------------------------------------------------------------------


def _must_be_timed(batch: Batch) -> None:
    for event in batch.events:
        if event.pump_time.tzinfo is not None or event.received_at.tzinfo is None:
            raise ValueError(f"{event.id}: pump_time has no zone and received_at has one")


def _note_days(found: _Found, batch: Batch) -> None:
    for event in batch.events:
        if event.kind not in FACTS and event.kind not in _UNDATED:
            found.days[event.source, event.pump].add(event.pump_time.date())


def _take(
    engine: Engine, file: _ImportFile, options: ImportOptions, found: _Found, *, done: int, total: int
) -> Iterator[Progress]:
    note = ""
    for batch, read in _batches(file, options):
        problem = engine.free_space()
        if problem is not None:
            raise _import_stopped(problem, FREE_SPACE, found)
        try:
            fresh, held = _without_known_partials(engine, file.importer, batch.events)
            appended = engine.events.append(fresh)
        except OSError as error:
            steps = storage_steps(error, engine.events.data_dir)
            if steps is None:
                raise
            raise _import_stopped(f"the event log cannot be written ({error.strerror})", steps, found) from None
        found.brought.count(appended)
        found.brought.count_known(held)
        _note_days(found, batch)
        note = batch.note or note
        yield Progress(message=f"importing {file.path.name}", done=(done + read) // 2, total=total)
    found.notes.append(f"{file.path.name}: {note or file.importer.name}")


def _without_known_partials(
    engine: Engine, importer: Importer, events: Sequence[Event]
) -> tuple[Sequence[Event], Sequence[int]]:
    """Drop partial events that the log has already, complete or partial; return the rest and the positions of the dropped."""
    partial = {event.id for event in events if event.seq is not None and importer.partial(event)}
    if not partial:
        return events, ()
    streams = {(stream.pump, stream.group): stream for stream in engine.events.streams() if stream.numbered}

    def place(event: Event) -> int | None:
        stream = streams.get((event.pump, event.group))
        if stream is None or event.seq is None or not stream.first_key <= event.seq <= stream.last_key:
            return None
        found = engine.events.read(stream.id, event.seq, event.seq)
        return min((each.pos for each in found), default=None)

    places = {event.id: at for event in events if event.id in partial and (at := place(event)) is not None}
    return [event for event in events if event.id not in places], list(places.values())


def _import_stopped(problem: str, steps: str, found: _Found) -> MachineTrouble:
    return MachineTrouble(
        f"{problem}; the import stopped after {counted(found.brought.new, 'new event')}, which stay in the log.",
        remedy=f"{steps} Then run `tconnectsync import` again: nothing is doubled.",
    )


def _history_opened(engine: Engine, days: Mapping[tuple[str, str], set[date]], now: datetime) -> list[Event]:
    """Return ``history.opened`` events for days that are not opened yet."""
    facts: list[Event] = []
    for (source, pump), some in sorted(days.items()):
        known = engine.events.facts("history.opened", pump=pump, limit=10_000)
        closed = {day for day in some if not any(_opens(fact.body, day) for fact in known)}
        facts += [history_opened(source, pump, first, last, now) for first, last in runs_of(closed)]
    return facts


def _opens(body: Any, day: date) -> bool:
    first, last = body.first_day, body.last_day
    return bool(date.fromisoformat(first) <= day and (last is None or day <= date.fromisoformat(last)))


def runs_of(days: set[date]) -> list[_Range]:
    """Group days into ranges without gaps, oldest first."""
    runs: list[_Range] = []
    for day in sorted(days):
        if runs and day - runs[-1][1] <= _DAY:
            runs[-1] = (runs[-1][0], day)
        else:
            runs.append((day, day))
    return runs


def _words(found: _Found) -> tuple[str, ...]:
    lines = [found.brought.words()]
    for (source, pump), days in sorted(found.days.items()):
        runs = runs_of(days)
        shown = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in runs[:_RUNS_SHOWN])
        more = f" and {counted(len(runs) - _RUNS_SHOWN, 'more range')}" if len(runs) > _RUNS_SHOWN else ""
        lines.append(f"pump {pump} ({source}): {shown}{more}")
    return (*lines, *found.notes)
