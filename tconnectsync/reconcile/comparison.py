"""Compares a receiver's documents with those that the folds make from the log, in slices, without changing anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice

import attrs
import msgspec

from tconnectsync.clock import Clock, milliseconds, moment
from tconnectsync.errors import LogCorrupt, TconnectsyncError
from tconnectsync.eventlog import EventLog
from tconnectsync.outbox import DocumentRow, Outbox, receiver_memory
from tconnectsync.outbox.document_states import OwnershipState
from tconnectsync.outbox.encoded_document import EncodedDocument
from tconnectsync.outbox.preflight import AHEAD
from tconnectsync.outbox.stored_values import DOUBTED_FROM, READ_BACK, ReadBack
from tconnectsync.plugin.fold import Document
from tconnectsync.plugin.receiver import FieldDiff, ReadableReceiver, StoredDocument, can_adopt
from tconnectsync.projection.fold_runner import FoldFailed, FoldRunner
from tconnectsync.projection.intervals import interval_of
from tconnectsync.reconcile.report import ComparisonChunk, Mismatch
from tconnectsync.text.plural import counted
from tconnectsync.timeline.event_stream import EventStream

PERIOD = timedelta(days=7)
"""The days that are compared together in memory."""
PAGE = 500
MARGIN = timedelta(days=1)
ADOPTION_REACH = timedelta(days=2)
"""An older bridge's document may be this far from ours because it used a wrong time zone."""
_MS = timedelta(milliseconds=1)


@attrs.frozen(kw_only=True)
class _FoldedDocument:
    """A document, and the fold, stream and interval that make it."""

    document: Document
    fold: str
    stream: str
    interval: int

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.fold, self.stream, self.interval


def _whole_ms(at: datetime) -> datetime:
    return moment(milliseconds(at))


@attrs.define
class _Period:
    """Some days: the outbox's rows, the receiver's copies (``stored``) and the folded documents, each by identity.

    ``changed``: identities whose rows changed during the comparison.
    It begins and ends with a whole millisecond, as the outbox and receivers store times.
    """

    first: datetime = attrs.field(converter=_whole_ms)
    last: datetime = attrs.field(converter=_whole_ms)
    rows: dict[str, DocumentRow] = attrs.field(factory=dict)
    stored: defaultdict[str, list[StoredDocument]] = attrs.field(factory=lambda: defaultdict(list))
    foreign: list[StoredDocument] = attrs.field(factory=list)
    folded: dict[str, _FoldedDocument] = attrs.field(factory=dict)
    errors: dict[tuple[str | None, str | None, int | None], TconnectsyncError] = attrs.field(factory=dict)
    """Why (fold, stream, interval) cannot be folded."""
    changed: set[str] = attrs.field(factory=set)


@attrs.define
class Verifier:
    """The comparison of one sink. ``all_folded``: the whole log is folded, so a document that no fold makes is orphaned."""

    fold_runner: FoldRunner
    receiver: ReadableReceiver
    events: EventLog
    streams: Mapping[str, EventStream]
    clock: Clock
    all_folded: bool = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        outbox = self.outbox
        receiver_memory.recall(
            outbox, self.receiver
        )  # without it every document of a site that drops our names is missing
        self.all_folded = (
            outbox.checkpoints.cursor >= self.events.end
            and not outbox.checkpoints.invalid_count()
            and not self.fold_runner.blocked
        )

    @property
    def outbox(self) -> Outbox:
        """The sink's outbox, which is only read."""
        return self.fold_runner.outbox

    def run(self, first: datetime | None = None, last: datetime | None = None) -> Iterator[ComparisonChunk]:
        """Compare the documents from ``first`` to ``last`` (UTC; None: all), the newest first. Errors: those of the receiver."""
        known = self.outbox.queue.span()
        first = first or (known[0] - MARGIN if known else None)
        last = end = last or self.clock.now() + MARGIN
        while first is not None and first <= last:
            begin, done = max(first, last - PERIOD), (end - last) / (end - first + _MS)
            for chunk in self._compare(_Period(begin, last)):
                yield attrs.evolve(chunk, done=done)
            last = begin - _MS

    def weeks_with_foreign(
        self, first: datetime | None = None, last: datetime | None = None
    ) -> Iterator[tuple[Sequence[Document], Sequence[StoredDocument], Sequence[DocumentRow]] | None]:
        """Yield week by week, the newest first: our documents, foreign documents, and our lost ones; None: work in progress.

        Our documents are those that were or will be delivered, also of two days before and after the week. Lost ones were
        delivered, but the receiver does not have them any more. Errors: those of the receiver, LogCorrupt, FoldFailed.
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
            for _ in self._refold_period(ours) if others else ():
                yield None
            for error in ours.errors.values():
                raise error
            rows = {
                id_ for id_, row in ours.rows.items() if row.is_desired and row.dead_reason is None and not row.given_up
            }
            lost = [row for id_, row in ours.rows.items() if row.is_settled and id_ not in ours.stored]
            yield [made.document for id_, made in ours.folded.items() if id_ in rows], others, lost
            last = begin - _MS

    def _compare(self, period: _Period) -> Iterator[ComparisonChunk]:
        period.rows = self.outbox.rows.between(period.first, period.last)
        for _ in self._survey(period):
            yield ComparisonChunk()
        period.rows |= self.outbox.rows.of(period.stored.keys() - period.rows.keys())
        for _ in self._refold_period(period):
            yield ComparisonChunk()
        now = self.outbox.rows.between(period.first, period.last) | self.outbox.rows.of(
            period.rows.keys() | period.stored.keys()
        )
        period.changed = {id_ for id_ in period.rows.keys() | now.keys() if period.rows.get(id_) != now.get(id_)}
        judged = [
            self._verdict_of(period, id_)
            for id_ in sorted(period.rows.keys() | period.stored.keys() | period.folded.keys())
        ]
        yield ComparisonChunk(
            good=judged.count(True),
            found=(
                *(each for each in judged if isinstance(each, Mismatch)),
                *(_copy_mismatch("foreign", copy, author=copy.author) for copy in period.foreign),
            ),
            corruption=next((error.message for error in period.errors.values() if isinstance(error, LogCorrupt)), ""),
            twice=self._count_twice(period),
        )

    def _count_twice(self, period: _Period) -> int:
        """Return how many foreign documents an older bridge wrote for events of which we have documents too."""
        if not period.foreign or not can_adopt(self.receiver):
            return 0
        ours = [made.document for id_, made in period.folded.items() if id_ in period.stored]
        return sum(match.same is True for match in self.receiver.recognise_legacy(ours, period.foreign, set()))

    def _survey(self, period: _Period) -> Iterator[None]:
        copies = self.receiver.survey(period.first, period.last)
        while page := list(islice(copies, PAGE)):
            for copy in page:
                if copy.document_id:
                    period.stored[copy.document_id].append(copy)
                else:
                    period.foreign.append(copy)
            yield

    def _refold_period(self, period: _Period) -> Iterator[None]:
        """Fold all documents of the period again, one interval at a time."""
        wanted: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
        for row in period.rows.values():
            if row.stream is not None and row.interval is not None and row.fold is not None:
                wanted[row.stream, row.interval].add(row.fold)
        for name, stream in self.streams.items():
            for first, last in stream.keys_between(period.first, period.last):
                low, high = (interval_of(key, numbered=stream.numbered) for key in (first, last))
                for fold in self.fold_runner.folds:
                    for interval in self.outbox.checkpoints.folded(fold, name, low, high):
                        wanted[name, interval].add(fold)
        for (stream_name, interval), folds in sorted(wanted.items()):
            if stream_name in self.streams:
                self._refold_interval(period, self.streams[stream_name], interval, sorted(folds))
                yield

    def _refold_interval(self, period: _Period, stream: EventStream, interval: int, folds: Sequence[str]) -> None:
        try:
            found = self.fold_runner.refold(stream, interval, folds)
        except (LogCorrupt, FoldFailed) as error:
            if len(folds) == 1:
                period.errors[folds[0], stream.name, interval] = error
                return
            for fold in folds:  # the other folds may not need the corrupt record
                self._refold_interval(period, stream, interval, [fold])
            return
        for fold, document in found:
            made = _FoldedDocument(document=document, fold=fold, stream=stream.name, interval=interval)
            row = period.rows.get(document.id)
            if row is None or (row.fold, row.stream, row.interval) == made.origin:
                period.folded[document.id] = made

    # --- one document ---------------------------------------------------------------------------------------------------

    def _verdict_of(self, period: _Period, id_: str) -> Mismatch | bool:
        """Return True if the document is correct, False if it does not count, else its mismatch."""
        row, copies = period.rows.get(id_), period.stored.get(id_, [])
        if id_ in period.changed:
            return self._mismatch("waiting", row, copies, note="it changed during the comparison") if row else False
        if row is None:
            return self._without_row(period, id_, copies)
        if row.dead_reason is not None or row.given_up:
            return self._mismatch(
                "set_aside", row, copies, note=row.dead_reason or "given up with `tconnectsync dead-letters drop`"
            )
        if row.is_expired(self.clock.now()) or not self.receiver.shows(row.collection):
            return False
        if row.fold is not None and row.fold not in self.fold_runner.folds:
            return False  # an option switched the fold off; its delivered documents stay
        if not row.is_settled:
            found = row.ownership_state is OwnershipState.FOUND
            note = "it will be deleted when all data has been fetched again" if found else ""
            return False if not row.is_desired and not copies else self._mismatch("waiting", row, copies, note=note)
        made = period.folded.get(id_)
        if made is None or EncodedDocument.of(made.document).content_hash(row.time_shift_ms) != row.desired_hash:
            why = period.errors.get((row.fold, row.stream, row.interval))
            return self._mismatch(
                "waiting", row, copies, note=why.message if why else "its content is being computed again"
            )
        document = msgspec.structs.replace(made.document, at=made.document.at + row.time_shift_ms * _MS)
        if row.ttl_s is not None and not (copies and period.first <= row.at <= period.last):
            return False  # it expires, so it may be missing; and it may have been sent later than it happened
        if not period.first <= row.at <= period.last:
            diff = FieldDiff(field="time", ours=row.at.isoformat(), theirs=copies[0].at.isoformat())
            return self._mismatch("different", row, copies, diffs=(diff,))
        return self._compare_copies(period, row, document, copies)

    def _compare_copies(
        self, period: _Period, row: DocumentRow, document: Document, copies: Sequence[StoredDocument]
    ) -> Mismatch | bool:
        diffs = [tuple(self.receiver.compare(document, copy)) for copy in copies]
        if len(copies) > 1:
            least = min(diffs, key=len)
            return self._mismatch("doubled", row, copies, note=counted(len(copies), "copy"), diffs=least)
        if copies:
            return self._mismatch("different", row, copies, diffs=diffs[0]) if diffs[0] else True
        if row.receiver_key and row.receiver_key in {copy.receiver_key for copy in period.foreign}:
            note = "another program's document has the same time and type, and this site keeps only one of the two"
            return attrs.evolve(self._mismatch("missing", row, copies, note=note), repairable=False)
        return self._mismatch("missing", row, copies)

    def _without_row(self, period: _Period, id_: str, copies: Sequence[StoredDocument]) -> Mismatch | bool:
        """Judge a document without a row: the outbox lost it, it expired, or no fold makes it."""
        made = period.folded.get(id_)
        if made is not None:
            document = made.document
            wanted = (
                self.streams[made.stream].in_delivery_window(document.at)
                and document.ttl_s is None
                and document.problem is None
            )
            if not wanted or not self.all_folded or not period.first <= document.at <= period.last:
                return False
            return Mismatch(
                verdict="missing", id=id_, collection=document.collection, kind=document.unique_slot or document.collection,
                at=document.at, note="the list of what was delivered (the outbox) does not have it", repairable=True, origin=made.origin,
            )  # fmt: skip
        copy = copies[0]
        if copy.ephemeral:
            return False
        if not self.all_folded:
            return _copy_mismatch("waiting", copy, note="not all of the log is processed yet")
        if self._is_ours(copy):
            return _copy_mismatch("orphaned", copy, note=_NO_EVENT, repairable=True)
        return _copy_mismatch("foreign", copy, note=_NO_EVENT, author="tconnectsync elsewhere")

    def _is_ours(self, copy: StoredDocument) -> bool:
        """Whether the log has the copy's pump and time, and the sink makes its kind. If not, another installation made it."""
        gaps = [gap for stream in self.streams.values() for gap in stream.gaps]
        if any(first <= milliseconds(copy.at) <= last for first, last in gaps):
            return False
        known = any(stream.pump == copy.pump and stream.in_delivery_window(copy.at) for stream in self.streams.values())
        return known and self.outbox.found.produces_kind(copy.collection, copy.unique_slot)

    def _mismatch(
        self, verdict: str, row: DocumentRow, copies: Sequence[StoredDocument], *, note: str = "",
        diffs: tuple[FieldDiff, ...] = (),
    ) -> Mismatch:  # fmt: skip
        return Mismatch(
            verdict=verdict, id=row.id, collection=row.collection, kind=row.unique_slot or row.collection, at=row.at, note=note,
            diffs=diffs, repairable=verdict in ("missing", "different", "doubled"), row=row,
            copy=next((copy for copy in copies if copy.receiver_key != row.receiver_key), copies[0] if copies else None),
        )  # fmt: skip


_NO_EVENT = "no record in the log belongs to it"


def _copy_mismatch(
    verdict: str, copy: StoredDocument, *, note: str = "", author: str = "", repairable: bool = False
) -> Mismatch:
    return Mismatch(
        verdict=verdict, id=copy.document_id, collection=copy.collection, kind=copy.unique_slot or copy.collection,
        at=copy.at, note=note, author=author, repairable=repairable, copy=copy,
    )  # fmt: skip


def repair(outbox: Outbox, found: Sequence[Mismatch], *, now: datetime) -> int:
    """Mark wrong documents of ours for delivery, or for withdrawal when all data is fetched again. Return how many.

    Call it in a transaction. Delivery looks for existing copies first, and deletes surplus copies by their receiver keys. If some
    are missing, the receiver may have been restored from an older backup, so from the first of them on it is checked again for
    another program's documents.
    """
    ours = [each for each in found if each.repairable]
    missing = [each.at for each in ours if each.verdict == "missing"]
    if missing:
        outbox.values.put_earliest(DOUBTED_FROM, min(missing) - AHEAD)
    for lost in (True, False):
        rows = [each.row for each in ours if each.row is not None and (each.verdict == "missing") == lost]
        strays = {each.id: each.copy.receiver_key for each in ours if each.copy is not None and each.row is not None}
        outbox.rows.send_again(rows, lost=lost, receiver_keys=None if lost else strays)
    for each in ours:
        if each.origin is not None:
            outbox.rows.fold_origin(*each.origin)
        elif each.row is None and each.copy is not None:
            outbox.found.record(each.copy)
            outbox.values.put(READ_BACK, ReadBack(since=now))
    return len(ours)
