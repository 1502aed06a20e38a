"""Compares what a receiver holds with what the folds make of the log. Reads only; any number of slices, so that nothing starves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice

import attrs

from tconnectsync.clock import Clock
from tconnectsync.errors import LogCorrupt, TconnectsyncError
from tconnectsync.eventlog import EventLog
from tconnectsync.outbox import DocumentRow, Outbox, milliseconds
from tconnectsync.outbox.desired_documents import content_hash
from tconnectsync.outbox.facts import READ_BACK, ReadBack
from tconnectsync.outbox.states import OwnershipState
from tconnectsync.plugin.fold import Document
from tconnectsync.plugin.receiver import FieldDiff, ReadableReceiver, StoredDocument, can_adopt
from tconnectsync.projection.fold_runner import FoldFailed, FoldRunner, interval_of
from tconnectsync.reconcile.report import ComparisonChunk, Mismatch
from tconnectsync.text.plural import counted
from tconnectsync.timeline.event_stream import EventStream

PERIOD = timedelta(days=7)
"""So many days are held in memory together."""
PAGE = 500
MARGIN = timedelta(days=1)
ADOPTION_REACH = timedelta(days=2)
"""So far from ours lies what somebody else wrote of the same with a wrong time zone."""
_MS = timedelta(milliseconds=1)


@attrs.frozen(kw_only=True)
class _FoldedDocument:
    """A document as a fold makes it, and where."""

    document: Document
    fold: str
    stream: str
    interval: int

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.fold, self.stream, self.interval


@attrs.define
class _Period:
    """What is known of some days: documents of the outbox by identity, stored copies, and contents worked out again."""

    first: datetime
    last: datetime
    rows: dict[str, DocumentRow] = attrs.field(factory=dict)
    stored: defaultdict[str, list[StoredDocument]] = attrs.field(factory=lambda: defaultdict(list))
    foreign: list[StoredDocument] = attrs.field(factory=list)
    folded: dict[str, _FoldedDocument] = attrs.field(factory=dict)
    errors: dict[tuple[str, str, int], TconnectsyncError] = attrs.field(factory=dict)
    """Why (fold, stream, interval) cannot be folded."""
    changed: set[str] = attrs.field(factory=set)


@attrs.define
class Verifier:
    """One sink's comparison. ``through``: everything that the log holds is folded, so that what nobody makes is orphaned."""

    folding: FoldRunner
    receiver: ReadableReceiver
    events: EventLog
    views: Mapping[str, EventStream]
    clock: Clock
    all_folded: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        outbox = self.outbox
        self.all_folded = (
            outbox.checkpoints.cursor >= self.events.end
            and not outbox.checkpoints.invalid_count()
            and not self.folding.blocked
        )

    @property
    def outbox(self) -> Outbox:
        """The sink's file; it is only read."""
        return self.folding.outbox

    def run(self, first: datetime | None = None, last: datetime | None = None) -> Iterator[ComparisonChunk]:
        """Compare all documents from ``first`` to ``last`` (None: all that there are), the newest first.

        Raises what the receiver raises.
        """
        known = self.outbox.queue.span()
        first = first or (known[0] - MARGIN if known else None)
        last = last or self.clock.now() + MARGIN
        while first is not None and first <= last:
            begin = max(first, last - PERIOD)
            yield from self._compare(_Period(begin, last))
            last = begin - _MS

    def weeks_with_others(
        self, first: datetime | None = None, last: datetime | None = None
    ) -> Iterator[tuple[Sequence[Document], Sequence[StoredDocument], Sequence[DocumentRow]] | None]:
        """Week by week, the newest first: our documents of it and of two days on both sides, and others' in it. None: not yet.

        Ours are those that the receiver took or is to get; last come those of them that it took and does not hold any more. Raises what the receiver raises; LogCorrupt, FoldFailed.
        """
        known = self.outbox.queue.span()
        first = first or (known[0] - ADOPTION_REACH if known else None)
        last = last or self.clock.now() + ADOPTION_REACH
        while first is not None and first <= last:
            begin = max(first, last - PERIOD)
            ours = _Period(begin - ADOPTION_REACH, last + ADOPTION_REACH)
            for _ in self._survey(ours):
                yield None
            others = [copy for copy in ours.foreign if begin <= copy.at <= last]
            ours.rows = self.outbox.rows.between(ours.first, ours.last) if others else {}
            for _ in self._refold_span(ours) if others else ():
                yield None
            for error in ours.errors.values():
                raise error
            rows = {
                id_ for id_, row in ours.rows.items() if row.is_desired and row.dead_reason is None and not row.given_up
            }
            lost = [row for id_, row in ours.rows.items() if row.is_settled and id_ not in ours.stored]
            yield [made.document for id_, made in ours.folded.items() if id_ in rows], others, lost
            last = begin - _MS

    def _compare(self, span: _Period) -> Iterator[ComparisonChunk]:
        span.rows = self.outbox.rows.between(span.first, span.last)
        for _ in self._survey(span):
            yield ComparisonChunk()
        span.rows |= self.outbox.rows.of(span.stored.keys() - span.rows.keys())
        for _ in self._refold_span(span):
            yield ComparisonChunk()
        now = self.outbox.rows.between(span.first, span.last) | self.outbox.rows.of(
            span.rows.keys() | span.stored.keys()
        )
        span.changed = {id_ for id_ in span.rows.keys() | now.keys() if span.rows.get(id_) != now.get(id_)}
        judged = [
            self._verdict_of(span, id_) for id_ in sorted(span.rows.keys() | span.stored.keys() | span.folded.keys())
        ]
        yield ComparisonChunk(
            good=judged.count(True),
            found=(*(each for each in judged if isinstance(each, Mismatch)), *map(_foreign, span.foreign)),
            corruption=next((error.message for error in span.errors.values() if isinstance(error, LogCorrupt)), ""),
            twice=self._count_twice(span),
        )

    def _count_twice(self, span: _Period) -> int:
        """How many of the others' documents an older bridge wrote of facts that ours tell too."""
        if not span.foreign or not can_adopt(self.receiver):
            return 0
        ours = [made.document for id_, made in span.folded.items() if id_ in span.stored]
        return sum(older.same is True for older in self.receiver.recognise_older(ours, span.foreign, set()))

    def _survey(self, span: _Period) -> Iterator[None]:
        copies = self.receiver.survey(span.first, span.last)
        while page := list(islice(copies, PAGE)):
            for copy in page:
                if copy.document_id:
                    span.stored[copy.document_id].append(copy)
                else:
                    span.foreign.append(copy)
            yield

    def _refold_span(self, span: _Period) -> Iterator[None]:
        """The contents of every document of the span, and what the folds make besides, an interval at a time."""
        wanted: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
        for row in span.rows.values():
            if row.stream is not None and row.interval is not None and row.fold is not None:
                wanted[row.stream, row.interval].add(row.fold)
        for name, view in self.views.items():
            for first, last in view.keys_between(span.first, span.last):
                low, high = (interval_of(key, numbered=view.numbered) for key in (first, last))
                for interval, fold in self.outbox.checkpoints.folded_between(name, low, high):
                    wanted[name, interval].add(fold)
        for (stream, interval), folds in sorted(wanted.items()):
            if stream in self.views:
                self._refold_interval(span, self.views[stream], interval, sorted(folds))
                yield

    def _refold_interval(self, span: _Period, view: EventStream, interval: int, folds: Sequence[str]) -> None:
        try:
            found = self.folding.refold(view, interval, folds)
        except (LogCorrupt, FoldFailed) as error:
            if len(folds) == 1:
                span.errors[folds[0], view.name, interval] = error
                return
            for fold in folds:  # the others may not need what is harmed
                self._refold_interval(span, view, interval, [fold])
            return
        for fold, document in found:
            made = _FoldedDocument(document=document, fold=fold, stream=view.name, interval=interval)
            row = span.rows.get(document.id)
            if row is None or (row.fold, row.stream, row.interval) == made.origin:
                span.folded[document.id] = made

    # --- one document ---------------------------------------------------------------------------------------------------

    def _verdict_of(self, span: _Period, id_: str) -> Mismatch | bool:
        """True: as it should be. False: nothing to say. Else what is wrong with it."""
        row, copies = span.rows.get(id_), span.stored.get(id_, [])
        if id_ in span.changed:
            return self._mismatch("waiting", row, copies, note="it changed while this was looked at") if row else False
        if row is None:
            return self._without_row(span, id_, copies)
        if row.dead_reason is not None or row.given_up:
            return self._mismatch("set_aside", row, copies, note=row.dead_reason or "given up: `dead-letters drop`")
        if row.is_expired(self.clock.now()) or not self.receiver.shows(row.collection):
            return False
        if row.fold is not None and row.fold not in self.folding.folds:
            return False  # an option switched it off: what it delivered stays
        if not row.is_settled:
            note = (
                "it is taken back once everything was fetched anew"
                if row.ownership_state is OwnershipState.FOUND
                else ""
            )
            return False if not row.is_desired and not copies else self._mismatch("waiting", row, copies, note=note)
        made = span.folded.get(id_)
        if made is None or content_hash(made.document, row.time_shift_ms)[0] != row.desired_hash:
            why = span.errors.get((row.fold or "", row.stream or "", -2 if row.interval is None else row.interval))
            return self._mismatch(
                "waiting", row, copies, note=why.message if why else "what it should say is being worked out anew"
            )
        document = attrs.evolve(made.document, at=made.document.at + row.time_shift_ms * _MS)
        if row.ttl_s is not None and not (copies and span.first <= row.at <= span.last):
            return False  # it lapses: that it is missing is no difference, and it may have been sent later than it happened
        if not span.first <= row.at <= span.last:
            contrast = FieldDiff(field="time", ours=row.at.isoformat(), theirs=copies[0].at.isoformat())
            return self._mismatch("different", row, copies, contrasts=(contrast,))
        return self._compare_copies(span, row, document, copies)

    def _compare_copies(
        self, span: _Period, row: DocumentRow, document: Document, copies: Sequence[StoredDocument]
    ) -> Mismatch | bool:
        contrasts = [tuple(self.receiver.compare(document, copy)) for copy in copies]
        if len(copies) > 1:
            least = min(contrasts, key=len)
            return self._mismatch("doubled", row, copies, note=counted(len(copies), "copy"), contrasts=least)
        if copies:
            return self._mismatch("different", row, copies, contrasts=contrasts[0]) if contrasts[0] else True
        if row.receiver_key and row.receiver_key in {copy.receiver_key for copy in span.foreign}:
            note = "a document of somebody else has its time and type, and this place keeps only one of the two"
            return attrs.evolve(self._mismatch("missing", row, copies, note=note), repairable=False)
        return self._mismatch("missing", row, copies)

    def _without_row(self, span: _Period, id_: str, copies: Sequence[StoredDocument]) -> Mismatch | bool:
        """No row: the outbox lost it, it lapsed, or nobody makes it."""
        made = span.folded.get(id_)
        if made is not None:
            document = made.document
            wanted = (
                self.views[made.stream].in_delivery_window(document.at)
                and document.ttl_s is None
                and document.problem is None
            )
            if not wanted or not self.all_folded or not span.first <= document.at <= span.last:
                return False
            return Mismatch(
                verdict="missing", id=id_, collection=document.collection, kind=document.unique_slot or document.collection,
                at=document.at, note="the outbox does not know it", repairable=True, origin=made.origin,
            )  # fmt: skip
        copy = copies[0]
        if copy.ephemeral:
            return False
        found = Mismatch(
            verdict="orphaned", id=id_, collection=copy.collection, kind=copy.unique_slot or copy.collection, at=copy.at,
            note="nothing in the log makes it", copy=copy, repairable=True,
        )  # fmt: skip
        if not self.all_folded:
            return attrs.evolve(found, verdict="waiting", repairable=False, note="not all of the log is folded yet")
        if self._is_ours(copy):
            return found
        return attrs.evolve(found, verdict="foreign", repairable=False, author=_OTHER_INSTALLATION)

    def _is_ours(self, copy: StoredDocument) -> bool:
        """Whether this log knows the pump and the time of a copy, and this sink its kind: else another installation made it."""
        gaps = [stretch for view in self.views.values() for stretch in view.gaps]
        if any(first <= milliseconds(copy.at) <= last for first, last in gaps):
            return False
        known = any(view.pump == copy.pump and view.in_delivery_window(copy.at) for view in self.views.values())
        return known and self.outbox.found.produces_kind(copy.collection, copy.unique_slot)

    def _mismatch(
        self, verdict: str, row: DocumentRow, copies: Sequence[StoredDocument], *, note: str = "",
        contrasts: tuple[FieldDiff, ...] = (),
    ) -> Mismatch:  # fmt: skip
        return Mismatch(
            verdict=verdict, id=row.id, collection=row.collection, kind=row.unique_slot or row.collection, at=row.at, note=note,
            diffs=contrasts, repairable=verdict in ("missing", "different", "doubled"), row=row,
            copy=next((copy for copy in copies if copy.receiver_key != row.receiver_key), copies[0] if copies else None),
        )  # fmt: skip


_OTHER_INSTALLATION = "tconnectsync elsewhere"


def _foreign(copy: StoredDocument) -> Mismatch:
    return Mismatch(
        verdict="foreign", id="", collection=copy.collection, kind=copy.unique_slot or copy.collection, at=copy.at,
        author=copy.author, copy=copy,
    )  # fmt: skip


def repair(outbox: Outbox, found: Sequence[Mismatch], *, now: datetime) -> int:
    """See to it that what is wrong and ours is sent again, or judged once all is fetched anew. How many. In a transaction.

    What is sent again is looked for first, and surplus copies go by the receiver's own name for them.
    """
    ours = [each for each in found if each.repairable]
    for lost in (True, False):
        rows = [each.row for each in ours if each.row is not None and (each.verdict == "missing") == lost]
        strays = {each.id: each.copy.receiver_key for each in ours if each.copy is not None and each.row is not None}
        outbox.rows.send_again(rows, lost=lost, receiver_keys=None if lost else strays)
    for each in ours:
        if each.origin is not None:
            outbox.rows.fold_origin(*each.origin)
        elif each.row is None and each.copy is not None:
            outbox.found.record(each.copy)
            outbox.facts.put(READ_BACK, ReadBack(since=now))
    return len(ours)
