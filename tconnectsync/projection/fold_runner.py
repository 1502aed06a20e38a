"""Runs a sink's folds incrementally: the result is exact for late and re-ordered events, and the cost depends on what is new.

The pump's order is cut into intervals. The outbox stores the state at the end of each interval (a checkpoint) and which
documents the interval finished. An interval with new events, or with changed times, is folded again from the checkpoint before
it. The following intervals are folded again too, until a checkpoint is what it was before. Invalid intervals in a row are
read, folded and stored together.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import attrs
import msgspec

from tconnectsync.clock import milliseconds
from tconnectsync.errors import LogCorrupt, TconnectsyncError
from tconnectsync.events import Event, WearBegan, WearEnded
from tconnectsync.json_converter import CONVERTER
from tconnectsync.outbox import RUNNING, Outbox
from tconnectsync.outbox.encoded_document import EncodedDocument
from tconnectsync.outbox.stored_values import CURSOR, GAPS, UNCHECKED
from tconnectsync.plugin.fold import Document, Fold, ReportsPending, SentOnce, times_of, title_of
from tconnectsync.projection.intervals import interval_of, keys_of, next_rows, order_key
from tconnectsync.projection.pending_notes import PendingNote

log = logging.getLogger("tconnectsync.sinks")


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

    def read(
        self, first_key: int, last_key: int, kinds: frozenset[str], only_times: frozenset[str], *, with_raw: bool
    ) -> Sequence[Event]:
        """Return the events of these kinds, both keys inclusive, in the pump's order. Raises LogCorrupt.

        Those of the kinds ``only_times`` may lack what :class:`tconnectsync.NeedsOnlyTimes` lists.
        """
        ...

    def in_delivery_window(self, at: datetime) -> bool: ...


class FoldFailed(TconnectsyncError):
    """A fold raised an exception. It stops there; the sink's other folds continue."""


class _Folded(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one interval. ``running`` is None if another interval follows."""

    interval: int
    finished: Mapping[str, EncodedDocument]
    running: Mapping[str, EncodedDocument] | None
    state: bytes


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

    def invalidate_new(self, touched: Iterable[tuple[str, int, str]], *, cursor: int) -> None:
        """Invalidate the intervals of new events, given as (stream's name, interval, kind), and move the cursor."""
        listeners: dict[str, list[str]] = {}
        for name, fold in self.folds.items():
            for kind in fold.kinds:
                listeners.setdefault(kind, []).append(name)
        rows = {
            (stream_name, interval, fold) for stream_name, interval, kind in touched for fold in listeners.get(kind, ())
        }
        self.outbox.checkpoints.invalidate(sorted(rows))
        self.outbox.values.put(CURSOR, cursor)

    def fold_next(self, stream_of: Callable[[str], FoldInput | None]) -> bool:
        """Fold the first invalid intervals. Return False if there are none. Call it inside a transaction."""
        found = next_rows(self.outbox.checkpoints, self.blocked)
        if found is None:
            return False
        stream_name, rows = found
        stream = stream_of(stream_name)
        for name, row in rows.items():
            if stream is None or name not in self.folds:  # the log no longer has the stream, or the sink the fold
                self.outbox.checkpoints.mark_folded(stream_name, row, name)
        if stream is None:
            return True
        active = {name: row for name, row in rows.items() if name in self.folds}
        if not active:
            return True
        try:
            events = self._events(stream, active)
        except LogCorrupt:
            self._fold_first_alone(stream, active)
        else:
            for name, row in active.items():
                self._fold_row(name, stream, row, events)
        return True

    def _fold_first_alone(self, stream: FoldInput, rows: Mapping[str, Sequence[int]]) -> None:
        """Fold the first interval only, because a part of the log is corrupt. A fold that needs this part is blocked."""
        first = min(row[0] for row in rows.values())
        for name, row in rows.items():
            if row[0] != first:
                continue
            try:
                events = self._events(stream, {name: [first]})
            except LogCorrupt as error:
                self.blocked[stream.name, name] = error
            else:
                self._fold_row(name, stream, [first], events)

    def _events(self, stream: FoldInput, rows: Mapping[str, Sequence[int]]) -> Mapping[int, Sequence[Event]]:
        """Return the events of all these folds by interval. Raises LogCorrupt."""
        folds = [self.folds[name] for name in rows]
        first, last = min(row[0] for row in rows.values()), max(row[-1] for row in rows.values())
        kinds = frozenset[str]().union(*(fold.kinds - times_of(fold) for fold in folds))
        only_times = frozenset[str]().union(*(times_of(fold) for fold in folds)) - kinds
        events: dict[int, list[Event]] = {interval: [] for interval in range(first, last + 1)}
        numbered = stream.numbered
        for event in stream.read(*keys_of(first, last, numbered=numbered), kinds, only_times, with_raw=False):
            events[interval_of(order_key(event), numbered=numbered)].append(event)
        for key, at, kind in stream.hand_overs:
            near = events.get(interval_of(key, numbered=numbered))
            if near is not None and kind in kinds | only_times:
                later = (i for i, event in enumerate(near) if event.at is not None and event.at >= at)
                near.insert(next(later, len(near)), _wear_event(stream, key, at, kind))
        return events

    def _fold_row(
        self, name: str, stream: FoldInput, row: Sequence[int], events: Mapping[int, Sequence[Event]]
    ) -> None:
        """Fold some intervals of one fold and store the results. If the fold fails, it is blocked from there on."""
        following = self.outbox.checkpoints.next_interval(name, stream.name, row[-1])
        done: list[_Folded] = []
        try:
            for folded in self._fold(name, stream, row, events, following):
                done.append(folded)  # noqa: PERF402 - those before a failure count
        except FoldFailed as error:
            self.blocked[stream.name, name] = error
        if not done:
            return
        # first, because storing the result may invalidate it again
        self.outbox.checkpoints.mark_folded(stream.name, [folded.interval for folded in done], name)
        self._store_results(name, stream, done, following if len(done) == len(row) else None)
        if not self.outbox.checkpoints.has_invalid(stream.name, name):
            self.outbox.documents.retire_unclaimed(name, stream.name, keep=stream.gaps)
            if stream.gaps:  # they may close before everything is folded
                self.outbox.values.put(GAPS.of(stream.name), UNCHECKED)

    def _fold(
        self, name: str, stream: FoldInput, row: Sequence[int], events: Mapping[int, Sequence[Event]], following: int | None
    ) -> Iterator[_Folded]:  # fmt: skip
        """Yield the result of each interval. ``following``: the next interval with a checkpoint. Raises FoldFailed."""
        fold = self.folds[name]
        interval, last = row[0], None
        before = self.outbox.checkpoints.state_before(name, stream.name, interval)
        try:
            state = load_state(fold, before)
            for interval in row:
                last = None
                finished: dict[str, EncodedDocument] = {}
                for last in events[interval]:
                    if last.kind in fold.kinds:
                        state, documents = fold.step(state, last)
                        if documents:
                            finished |= _encoded(documents)
                is_newest = following is None and interval == row[-1]
                running = _encoded(fold.running(state)) if is_newest else None
                yield _Folded(interval=interval, finished=finished, running=running, state=dump_state(state))
        except Exception as error:
            # the border to a plugin: its error must not stop the other folds
            log.exception("fold_failed fold=%s stream=%s", name, stream.name)
            where = f"interval {interval}" if last is None else f"event {last.id or (last.kind, last.seq)}"
            message = f"{name!r} fails at {where} ({type(error).__name__}): its later documents wait"
            remedy = (
                "This is a bug in the sink's plugin: update it, or report what the log says. Everything else continues."
            )
            raise FoldFailed(message, remedy=remedy) from error

    def _store_results(self, name: str, stream: FoldInput, done: Sequence[_Folded], following: int | None) -> None:
        outbox, newest = self.outbox, done[-1]
        self._sync_documents(name, stream, {folded.interval: folded.finished for folded in done})
        changed = outbox.checkpoints.save_states(name, stream.name, {folded.interval: folded.state for folded in done})
        if newest.running is not None:
            # if later intervals are invalid or corrupt, the old documents stay: they are based on more events than these
            if not outbox.checkpoints.has_invalid(stream.name, name, since=newest.interval):
                self._sync_documents(name, stream, {RUNNING: newest.running})
        elif changed and following is not None:
            outbox.checkpoints.invalidate([(stream.name, following, name)])

    def _sync_documents(self, name: str, stream: FoldInput, made: Mapping[int, Mapping[str, EncodedDocument]]) -> None:
        """Store the documents of these intervals, and mark those that they no longer make."""
        before = self.outbox.documents.desired_in(name, stream.name, made)
        kept: dict[str, tuple[int, EncodedDocument]] = {}
        beyond: dict[int, list[datetime]] = {interval: [] for interval in made}
        for interval, documents in made.items():
            for id_, encoded in documents.items():
                if stream.in_delivery_window(encoded.document.at):
                    kept[id_] = (interval, encoded)
                else:
                    beyond[interval].append(encoded.document.at)
        self.outbox.checkpoints.record_out_of_range(name, stream.name, beyond)
        self.outbox.documents.mark_unclaimed(sorted(before - kept.keys()))
        self.outbox.documents.upsert_all(kept.values(), name, stream.name)

    def refold(self, stream: FoldInput, interval: int, names: Sequence[str]) -> list[tuple[str, Document]]:
        """Fold an interval again and return (fold, document) pairs (RUNNING: the unfinished documents). Stores nothing.

        Used because the outbox does not store the contents of delivered documents. Raises LogCorrupt and FoldFailed.
        """
        folds = {name: self.folds[name] for name in names if name in self.folds}
        if not folds:
            return []
        if interval == RUNNING:
            states = {name: self.outbox.checkpoints.last_state(name, stream.name) for name in folds}
            known = [(name, load_state(folds[name], state)) for name, state in states.items() if state is not None]
            return [(name, document) for name, state in known for document in folds[name].running(state)]
        events = self._events(stream, {name: [interval] for name in folds})
        return [
            (name, encoded.document)
            for name in folds
            for folded in self._fold(name, stream, [interval], events, following=interval)
            for encoded in folded.finished.values()
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
    if state is None:
        return fold.initial()
    if _has_private_fields(fold.state_type):
        return CONVERTER.structure(msgspec.json.decode(state), fold.state_type)
    return msgspec.json.decode(state, type=fold.state_type)


def dump_state(state: Any) -> bytes:
    """Return a fold's state as JSON. Times keep their zone; tuples become lists."""
    return msgspec.json.encode(CONVERTER.unstructure(state) if _has_private_fields(type(state)) else state)


def _has_private_fields(state_type: Any) -> bool:
    """Whether this is an attrs class with such fields: msgspec would leave them out, without a word."""
    return attrs.has(state_type) and any(field.name.startswith("_") for field in attrs.fields(state_type))


def _encoded(documents: Iterable[Document]) -> dict[str, EncodedDocument]:
    """Require an aware time, and content that is JSON. Raises ValueError, TypeError."""
    return {document.id: EncodedDocument.of(document) for document in documents}


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
