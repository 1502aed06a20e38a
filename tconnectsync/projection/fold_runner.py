"""The engine's incremental run of a sink's folds: exact for late and re-ordered events, at the cost of what is new.

The pump's order is cut into intervals. The outbox keeps the state at each interval's end and which documents were finished in
it. Intervals that got new events, or whose times changed, are folded again from the state before them, and on through the
following ones until the state at an end is what it was. ``docs/engineering/architecture.md`` tells why that is exact.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, runtime_checkable

import attrs
import cattrs
import msgspec
from cattrs.preconf.json import make_converter

from tconnectsync.errors import LogCorrupt, TconnectsyncError
from tconnectsync.events import Event, WearBegan, WearEnded
from tconnectsync.outbox import RUNNING, Outbox, milliseconds
from tconnectsync.outbox.facts import CURSOR
from tconnectsync.plugin.fold import Document, Fold
from tconnectsync.projection.pending_notes import PendingNote

log = logging.getLogger("tconnectsync.sinks")
NUMBERED_INTERVAL = 512
"""Sequence numbers per interval: about four hours of a pump."""
UNNUMBERED_INTERVAL = 6 * 3600 * 1000
"""Milliseconds of pump time per interval, for sources without numbers."""
_LAST_KEY = 1 << 62


class FoldInput(Protocol):
    """What a fold reads: :class:`tconnectsync.timeline.event_stream.EventStream`, or a list of events in a test."""

    @property
    def name(self) -> str: ...
    @property
    def pump(self) -> str: ...
    @property
    def group(self) -> int | None: ...
    @property
    def numbered(self) -> bool: ...
    @property
    def gaps(self) -> Sequence[tuple[int, int]]: ...
    @property
    def hand_overs(self) -> Sequence[tuple[int, datetime, str]]: ...
    def read(self, first_key: int, last_key: int, kinds: frozenset[str]) -> Sequence[Event]: ...
    def in_delivery_window(self, at: datetime) -> bool: ...


def interval_of(key: int, *, numbered: bool) -> int:
    """The interval that an order key falls into."""
    return key // (NUMBERED_INTERVAL if numbered else UNNUMBERED_INTERVAL)


def keys_of(interval: int, *, numbered: bool) -> tuple[int, int]:
    """First and last order key of an interval."""
    width = NUMBERED_INTERVAL if numbered else UNNUMBERED_INTERVAL
    return interval * width, (interval + 1) * width - 1


def make_state_converter() -> cattrs.Converter:
    """States to JSON-able values and back. Datetimes keep their zone; tuples become lists."""
    converter = make_converter()
    converter.register_unstructure_hook(datetime, datetime.isoformat)
    converter.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
    return converter


@runtime_checkable
class ReportsPending(Protocol):
    """What a fold may do besides: tell what it still waits for."""

    def waiting(self, state: Any) -> Sequence[tuple[str, datetime]]:
        """In words, and since when (UTC)."""
        ...


@runtime_checkable
class SentOnce(Protocol):
    """What a fold may have besides: its documents with a ``ttl_s`` call somebody, and are never sent a second time.

    Those of other folds tell the present: a replay sends them again, and `status` says when there is none.
    """

    sent_once: bool


class FoldFailed(TconnectsyncError):
    """A fold raised: it stays where it is, the others go on."""


@attrs.frozen(kw_only=True)
class _Folded:
    """What came of an interval. ``running`` is None where another interval follows."""

    finished: Mapping[str, Document]
    running: Mapping[str, Document] | None
    state: bytes
    following: int | None


@attrs.define
class FoldRunner:
    """Runs the folds of one sink over the streams of the log, into its outbox."""

    outbox: Outbox
    folds: Mapping[str, Fold[Any]]
    converter: cattrs.Converter = attrs.field(factory=make_state_converter)
    blocked: dict[tuple[str, str], TconnectsyncError] = attrs.field(factory=dict)
    """(stream, fold) that need a damaged part of the log, or that fail; the others go on."""

    @property
    def present(self) -> tuple[str, ...]:
        """The folds whose documents with a ``ttl_s`` tell the present."""
        return tuple(name for name, fold in self.folds.items() if not isinstance(fold, SentOnce))

    def invalidate_new(self, touched: Iterable[tuple[str, int, str, bool]], *, cursor: int) -> None:
        """Mark the intervals of new events, given as (stream, key, kind, numbered), and move the cursor."""
        listeners: dict[str, list[str]] = {}
        for name, fold in self.folds.items():
            for kind in fold.kinds:
                listeners.setdefault(kind, []).append(name)
        rows = {
            (stream, interval_of(key, numbered=numbered), fold)
            for stream, key, kind, numbered in touched
            for fold in listeners.get(kind, ())
        }
        self.outbox.checkpoints.invalidate(sorted(rows))
        self.outbox.facts.put(CURSOR, cursor)

    def fold_next(self, view_of: Callable[[str], FoldInput | None]) -> bool:
        """Fold the lowest marked interval. False when nothing is marked. Call inside a transaction."""
        marked = self.outbox.checkpoints.first_invalid(except_for=self.blocked)
        if marked is None:
            return False
        stream, interval, names = marked
        for name in names:
            if name not in self.folds:
                self.outbox.checkpoints.mark_folded(stream, interval, name)
        active = {name: self.folds[name] for name in names if name in self.folds}
        view = view_of(stream)
        if view is None:  # a stream that the log does not hold any more
            for name in names:
                self.outbox.checkpoints.mark_folded(stream, interval, name)
            return True
        shared = self._shared_events(view, interval, active)
        for name, fold in active.items():
            try:
                events = self._events(view, interval, fold.kinds) if shared is None else shared
            except LogCorrupt as error:
                self.blocked[stream, name] = error
                continue
            try:
                folded = self._fold(name, fold, view, interval, events)
            except FoldFailed as error:
                self.blocked[stream, name] = error
                continue
            self.outbox.checkpoints.mark_folded(stream, interval, name)  # first: the folding may mark it again
            self._store_result(name, view, interval, folded)
            if not self.outbox.checkpoints.has_invalid(stream, name):
                self.outbox.documents.retire_unclaimed(name, stream, keep=view.gaps)
        return True

    def _shared_events(self, view: FoldInput, interval: int, folds: Mapping[str, Fold[Any]]) -> list[Event] | None:
        """What all these folds need, read once; None where a part is damaged, so that each fold reads its own."""
        try:
            return self._events(view, interval, frozenset().union(*(fold.kinds for fold in folds.values())))
        except LogCorrupt:
            return None

    def _events(self, view: FoldInput, interval: int, kinds: frozenset[str]) -> list[Event]:
        first, last = keys_of(interval, numbered=view.numbered)
        events = list(view.read(first, last, kinds))
        for key, at, kind in view.hand_overs:
            if first <= key <= last and kind in kinds:
                place = next(
                    (i for i, event in enumerate(events) if event.at is not None and event.at >= at), len(events)
                )
                events.insert(place, _wear_event(view, key, at, kind))
        return events

    def _fold(self, name: str, fold: Fold[Any], view: FoldInput, interval: int, events: Sequence[Event]) -> _Folded:
        before = self.outbox.checkpoints.state_before(name, view.name, interval)
        following = self.outbox.checkpoints.next_interval(name, view.name, interval)
        finished: dict[str, Document] = {}
        last: Event | None = None
        try:
            state = self._load(fold, before)
            for last in events:
                if last.kind in fold.kinds:
                    state, documents = fold.step(state, last)
                    for document in documents:
                        finished[document.id] = document
            running = None if following is not None else {document.id: document for document in fold.running(state)}
            for document in (*finished.values(), *(running or {}).values()):
                _check(document)
            return _Folded(finished=finished, running=running, state=self._dump(state), following=following)
        except Exception as error:
            # the border to a plugin: its fault must not stop the other folds
            log.exception("fold_failed fold=%s stream=%s", name, view.name)
            where = f"interval {interval}" if last is None else f"event {last.id}"
            message = f"{name!r} fails at {where} ({type(error).__name__}): what it makes of the later ones waits"
            remedy = "This is a bug of the sink plugin: update it, or report what the log says. The rest goes on."
            raise FoldFailed(message, remedy=remedy) from error

    def _store_result(self, name: str, view: FoldInput, interval: int, folded: _Folded) -> None:
        outbox, stream = self.outbox, view.name
        self._sync_documents(name, view, interval, folded.finished)
        changed = outbox.checkpoints.save_state(name, stream, interval, folded.state)
        if folded.running is not None:
            # while later intervals wait (or are harmed) the old ones stay: they tell more than what is known up to here
            if not outbox.checkpoints.has_invalid(stream, name, since=interval):
                self._sync_documents(name, view, RUNNING, folded.running)
        elif changed and folded.following is not None:
            outbox.checkpoints.invalidate([(stream, folded.following, name)])

    def _sync_documents(self, name: str, view: FoldInput, interval: int, documents: Mapping[str, Document]) -> None:
        before = self.outbox.documents.desired_in(name, view.name, interval)
        kept = {id_: document for id_, document in documents.items() if view.in_delivery_window(document.at)}
        beyond = [document.at for id_, document in documents.items() if id_ not in kept]
        self.outbox.checkpoints.record_out_of_range(name, view.name, interval, beyond)
        self.outbox.documents.mark_unclaimed(sorted(before - kept.keys()))
        for document in kept.values():
            self.outbox.documents.upsert(document, name, view.name, interval)

    def refold(self, view: FoldInput, interval: int, names: Sequence[str]) -> list[tuple[str, Document]]:
        """What these folds made in an interval (RUNNING: what is going on), worked out again; nothing is stored.

        The outbox keeps no contents of what was delivered. Raises LogCorrupt and FoldFailed.
        """
        folds = {name: self.folds[name] for name in names if name in self.folds}
        if interval == RUNNING:
            states = {name: self.outbox.checkpoints.last_state(name, view.name) for name in folds}
            known = [(name, self._load(folds[name], state)) for name, state in states.items() if state is not None]
            return [(name, document) for name, state in known for document in folds[name].running(state)]
        events = self._events(view, interval, frozenset().union(*(fold.kinds for fold in folds.values())))
        return [
            (name, document)
            for name, fold in folds.items()
            for document in self._fold(name, fold, view, interval, events).finished.values()
        ]

    def _load(self, fold: Fold[Any], state: bytes | None) -> Any:
        if state is None:
            return fold.initial()
        return self.converter.structure(msgspec.json.decode(state), fold.state_type)

    def _dump(self, state: Any) -> bytes:
        return msgspec.json.encode(self.converter.unstructure(state))

    def notes(self, streams: Iterable[str]) -> list[PendingNote]:
        """What folds still wait for, and how old their newest values are that are worth something for a while only."""
        found: list[PendingNote] = []
        wanted = list(streams)
        for name, fold in self.folds.items():
            newest: Document | None = None
            for stream in wanted:
                stored = self.outbox.checkpoints.last_state(name, stream)
                if stored is None or (stream, name) in self.blocked:
                    continue
                state = self._load(fold, stored)
                if isinstance(fold, ReportsPending):
                    found += [PendingNote(words=words, since=since) for words, since in fold.waiting(state)]
                for document in () if isinstance(fold, SentOnce) else fold.running(state):
                    if document.ttl_s is not None and (newest is None or document.at > newest.at):
                        newest = document
            if newest is not None and newest.ttl_s is not None:
                after = timedelta(seconds=newest.ttl_s)
                title = getattr(fold, "title", name)
                found.append(PendingNote(words=f"no current {title}", since=newest.at, after=after, current=True))
        return found


def _check(document: Document) -> None:
    """What the outbox will need of a document: an aware time, and content that is JSON. ValueError, TypeError."""
    milliseconds(document.at)
    msgspec.json.encode(document.content)


def _wear_event(view: FoldInput, key: int, at: datetime, kind: str) -> Event:
    return Event(
        id=f"wear:{view.name}:{milliseconds(at)}:{kind}",
        kind=kind,
        pump=view.pump,
        group=view.group,
        seq=key if view.numbered else None,
        pump_time=at.replace(tzinfo=None),
        source="timeline",
        received_at=at,
        body=WearBegan() if kind == "wear.began" else WearEnded(),
        at=at,
    )
