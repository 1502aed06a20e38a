"""Runs a sink's folds incrementally: the result is exact for late and re-ordered events, and the cost depends on what is new.

The pump's order is cut into intervals. The outbox stores the state at the end of each interval (a checkpoint) and which
documents the interval finished. An interval with new events, or with changed times, is folded again from the checkpoint before
it. The following intervals are folded again too, until a checkpoint is what it was before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import attrs
import msgspec

from tconnectsync.clock import milliseconds
from tconnectsync.errors import LogCorrupt, TconnectsyncError
from tconnectsync.events import Event, WearBegan, WearEnded
from tconnectsync.json_converter import CONVERTER
from tconnectsync.outbox import RUNNING, Outbox
from tconnectsync.outbox.stored_values import CURSOR
from tconnectsync.plugin.fold import Document, Fold, ReportsPending, SentOnce, times_of, title_of
from tconnectsync.projection.pending_notes import PendingNote

log = logging.getLogger("tconnectsync.sinks")
NUMBERED_INTERVAL = 512
"""Sequence numbers per interval: about four hours of a pump."""
UNNUMBERED_INTERVAL = 6 * 3600 * 1000
"""Milliseconds of pump time per interval, for sources without numbers."""


class FoldInput(Protocol):
    """The events of one stream: a :class:`tconnectsync.timeline.event_stream.EventStream`, or a list in a test."""

    @property
    def name(self) -> str: ...
    @property
    def pump(self) -> str: ...
    @property
    def group(self) -> int | None: ...
    @property
    def numbered(self) -> bool: ...
    @property
    def gaps(self) -> Sequence[tuple[int, int]]:
        """First and last UTC millisecond of each open gap in the log."""
        ...

    @property
    def hand_overs(self) -> Sequence[tuple[int, datetime, str]]:
        """(Order key, UTC time, kind) of each event that begins or ends the wearing of this pump."""
        ...

    def read(self, first_key: int, last_key: int, kinds: frozenset[str], only_times: frozenset[str]) -> Sequence[Event]:
        """Return the events of these kinds, both keys inclusive, in the pump's order. Raises LogCorrupt.

        Those of the kinds ``only_times`` may lack what :class:`tconnectsync.NeedsOnlyTimes` lists.
        """
        ...

    def in_delivery_window(self, at: datetime) -> bool: ...


def interval_of(key: int, *, numbered: bool) -> int:
    """Return the interval of an order key."""
    return key // (NUMBERED_INTERVAL if numbered else UNNUMBERED_INTERVAL)


def keys_of(interval: int, *, numbered: bool) -> tuple[int, int]:
    """Return the first and the last order key of an interval."""
    width = NUMBERED_INTERVAL if numbered else UNNUMBERED_INTERVAL
    return interval * width, (interval + 1) * width - 1


class FoldFailed(TconnectsyncError):
    """A fold raised an exception. It stops there; the sink's other folds continue."""


@attrs.frozen(kw_only=True)
class _Folded:
    """The result of one interval. ``running`` is None if another interval follows."""

    finished: Mapping[str, Document]
    running: Mapping[str, Document] | None
    state: bytes
    following: int | None


@attrs.define
class FoldRunner:
    """Runs the folds of one sink over the streams of the log and stores their documents in its outbox."""

    outbox: Outbox
    folds: Mapping[str, Fold[Any]]
    blocked: dict[tuple[str, str], TconnectsyncError] = attrs.field(factory=dict)
    """(stream's name, fold) that fail, or that need a corrupt part of the log. The other folds continue."""

    @property
    def current_value_folds(self) -> tuple[str, ...]:
        """The folds whose documents with a ``ttl_s`` are current values, not notifications."""
        return tuple(name for name, fold in self.folds.items() if not isinstance(fold, SentOnce))

    def invalidate_new(self, touched: Iterable[tuple[str, int, str, bool]], *, cursor: int) -> None:
        """Invalidate the intervals of new events, given as (stream's name, key, kind, numbered), and move the cursor."""
        listeners: dict[str, list[str]] = {}
        for name, fold in self.folds.items():
            for kind in fold.kinds:
                listeners.setdefault(kind, []).append(name)
        intervals = {
            (stream_name, interval_of(key, numbered=numbered), kind) for stream_name, key, kind, numbered in touched
        }  # few, of many events
        rows = {
            (stream_name, interval, fold)
            for stream_name, interval, kind in intervals
            for fold in listeners.get(kind, ())
        }
        self.outbox.checkpoints.invalidate(sorted(rows))
        self.outbox.values.put(CURSOR, cursor)

    def fold_next(self, stream_of: Callable[[str], FoldInput | None]) -> bool:
        """Fold the first invalid interval. Return False if there is none. Call it inside a transaction."""
        invalid = self.outbox.checkpoints.first_invalid(except_for=self.blocked)
        if invalid is None:
            return False
        stream_name, interval, names = invalid
        stream = stream_of(stream_name)
        for name in names:
            if stream is None or name not in self.folds:  # the log no longer has the stream, or the sink the fold
                self.outbox.checkpoints.mark_folded(stream_name, interval, name)
        if stream is None:
            return True
        active = {name: self.folds[name] for name in names if name in self.folds}
        shared = self._shared_events(stream, interval, active)
        for name, fold in active.items():
            try:
                events = self._events(stream, interval, [fold]) if shared is None else shared
            except LogCorrupt as error:
                self.blocked[stream_name, name] = error
                continue
            try:
                folded = self._fold(name, fold, stream, interval, events)
            except FoldFailed as error:
                self.blocked[stream_name, name] = error
                continue
            self.outbox.checkpoints.mark_folded(
                stream_name, interval, name
            )  # first, because storing the result may invalidate it again
            self._store_result(name, stream, interval, folded)
            if not self.outbox.checkpoints.has_invalid(stream_name, name):
                self.outbox.documents.retire_unclaimed(name, stream_name, keep=stream.gaps)
        return True

    def _shared_events(self, stream: FoldInput, interval: int, folds: Mapping[str, Fold[Any]]) -> list[Event] | None:
        """Read the events of all these folds at once. Return None if a part is corrupt: then each fold reads its own events."""
        try:
            return self._events(stream, interval, folds.values())
        except LogCorrupt:
            return None

    def _events(self, stream: FoldInput, interval: int, folds: Collection[Fold[Any]]) -> list[Event]:
        first, last = keys_of(interval, numbered=stream.numbered)
        kinds = frozenset[str]().union(*(fold.kinds - times_of(fold) for fold in folds))
        only_times = frozenset[str]().union(*(times_of(fold) for fold in folds)) - kinds
        events = list(stream.read(first, last, kinds, only_times))
        for key, at, kind in stream.hand_overs:
            if first <= key <= last and kind in kinds | only_times:
                later = (i for i, event in enumerate(events) if event.at is not None and event.at >= at)
                events.insert(next(later, len(events)), _wear_event(stream, key, at, kind))
        return events

    def _fold(self, name: str, fold: Fold[Any], stream: FoldInput, interval: int, events: Sequence[Event]) -> _Folded:
        before = self.outbox.checkpoints.state_before(name, stream.name, interval)
        following = self.outbox.checkpoints.next_interval(name, stream.name, interval)
        finished: dict[str, Document] = {}
        last: Event | None = None
        try:
            state = load_state(fold, before)
            for last in events:
                if last.kind in fold.kinds:
                    state, documents = fold.step(state, last)
                    for document in documents:
                        finished[document.id] = document
            running = None if following is not None else {document.id: document for document in fold.running(state)}
            for document in (*finished.values(), *(running or {}).values()):
                _check(document)
            return _Folded(finished=finished, running=running, state=dump_state(state), following=following)
        except Exception as error:
            # the border to a plugin: its error must not stop the other folds
            log.exception("fold_failed fold=%s stream=%s", name, stream.name)
            where = f"interval {interval}" if last is None else f"event {last.id or (last.kind, last.seq)}"
            message = f"{name!r} fails at {where} ({type(error).__name__}): its later documents wait"
            remedy = (
                "This is a bug of the sink plugin: update it, or report what the log says. Everything else continues."
            )
            raise FoldFailed(message, remedy=remedy) from error

    def _store_result(self, name: str, stream: FoldInput, interval: int, folded: _Folded) -> None:
        outbox, stream_name = self.outbox, stream.name
        self._sync_documents(name, stream, interval, folded.finished)
        changed = outbox.checkpoints.save_state(name, stream_name, interval, folded.state)
        if folded.running is not None:
            # if later intervals are invalid or corrupt, the old documents stay: they are based on more events than these
            if not outbox.checkpoints.has_invalid(stream_name, name, since=interval):
                self._sync_documents(name, stream, RUNNING, folded.running)
        elif changed and folded.following is not None:
            outbox.checkpoints.invalidate([(stream_name, folded.following, name)])

    def _sync_documents(self, name: str, stream: FoldInput, interval: int, documents: Mapping[str, Document]) -> None:
        before = self.outbox.documents.desired_in(name, stream.name, interval)
        kept = {id_: document for id_, document in documents.items() if stream.in_delivery_window(document.at)}
        beyond = [document.at for id_, document in documents.items() if id_ not in kept]
        self.outbox.checkpoints.record_out_of_range(name, stream.name, interval, beyond)
        self.outbox.documents.mark_unclaimed(sorted(before - kept.keys()))
        self.outbox.documents.upsert_all(kept.values(), name, stream.name, interval)

    def refold(self, stream: FoldInput, interval: int, names: Sequence[str]) -> list[tuple[str, Document]]:
        """Fold an interval again and return (fold, document) pairs (RUNNING: the unfinished documents). Stores nothing.

        Used because the outbox does not store the contents of delivered documents. Raises LogCorrupt and FoldFailed.
        """
        folds = {name: self.folds[name] for name in names if name in self.folds}
        if interval == RUNNING:
            states = {name: self.outbox.checkpoints.last_state(name, stream.name) for name in folds}
            known = [(name, load_state(folds[name], state)) for name, state in states.items() if state is not None]
            return [(name, document) for name, state in known for document in folds[name].running(state)]
        events = self._events(stream, interval, folds.values())
        return [
            (name, document)
            for name, fold in folds.items()
            for document in self._fold(name, fold, stream, interval, events).finished.values()
        ]

    def notes(self, stream_names: Iterable[str]) -> list[PendingNote]:
        """Return what the folds still wait for, and the age of their newest current values."""
        found: list[PendingNote] = []
        names = list(stream_names)
        for name, fold in self.folds.items():
            newest: Document | None = None
            for stream_name in names:
                stored = self.outbox.checkpoints.last_state(name, stream_name)
                if stored is None or (stream_name, name) in self.blocked:
                    continue
                state = load_state(fold, stored)
                if isinstance(fold, ReportsPending):
                    found += [PendingNote(words=words, since=since) for words, since in fold.waiting(state)]
                for document in () if isinstance(fold, SentOnce) else fold.running(state):
                    if document.ttl_s is not None and (newest is None or document.at > newest.at):
                        newest = document
            if newest is not None and newest.ttl_s is not None:
                after = timedelta(seconds=newest.ttl_s)
                found.append(
                    PendingNote(words=f"no current {title_of(fold)}", since=newest.at, after=after, current=True)
                )
        return found


def load_state(fold: Fold[Any], state: bytes | None) -> Any:
    """Return a stored state of ``fold``; without one the initial state."""
    return fold.initial() if state is None else CONVERTER.structure(msgspec.json.decode(state), fold.state_type)


def dump_state(state: Any) -> bytes:
    """Return a fold's state as JSON. Times keep their zone; tuples become lists."""
    return msgspec.json.encode(CONVERTER.unstructure(state))


def _check(document: Document) -> None:
    """Require an aware time, and content that is JSON. Raises ValueError, TypeError."""
    milliseconds(document.at)
    msgspec.json.encode(document.content)


def _wear_event(stream: FoldInput, key: int, at: datetime, kind: str) -> Event:
    return Event(
        id=f"wear:{stream.name}:{milliseconds(at)}:{kind}",
        kind=kind,
        pump=stream.pump,
        group=stream.group,
        seq=key if stream.numbered else None,
        pump_time=at.replace(tzinfo=None),
        source="timeline",
        received_at=at,
        body=WearBegan() if kind == "wear.began" else WearEnded(),
        at=at,
    )
