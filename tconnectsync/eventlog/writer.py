"""Appending: what is new is written to the log, durably, and then taken up by the index."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import attrs

from tconnectsync.clock import Clock
from tconnectsync.errors import IndexCorrupt
from tconnectsync.eventlog.codec import Codec, EventSlot, IndexEntry, PendingRecord
from tconnectsync.eventlog.gap_record import gap_event
from tconnectsync.eventlog.gap_times import Times
from tconnectsync.eventlog.index import Index, IndexedRecord
from tconnectsync.eventlog.index_build import catch_up, ranker, remove_index
from tconnectsync.eventlog.segments import Segments
from tconnectsync.eventlog.tail import Tail
from tconnectsync.events import FACTS, Event


@attrs.frozen(kw_only=True)
class Appended:
    """What an append did. Positions ``first`` to ``last`` are new (none: ``last`` is before ``first``).

    ``appended`` counts them, ``revisions`` how many of them revise an event; ``duplicates`` were there already.
    """

    first: int
    last: int
    appended: int
    duplicates: int
    revisions: int
    events: Sequence[Event] = attrs.field(default=(), repr=False, eq=False)
    """Those that were appended, in order."""
    known: Sequence[int] = attrs.field(default=(), repr=False, eq=False)
    """Where in the log the pump events stand that were there already: for each duplicate the first position of its event."""


class Writer:
    """The one that appends. It holds the tail of the log and brings the index along."""

    def __init__(
        self, *, tail: Tail, segments: Segments, codec: Codec, index: Index, index_path: Path, clock: Clock
    ) -> None:
        self.tail = tail
        self._segments = segments
        self._codec = codec
        self._index = index
        self._index_path = index_path
        self._clock = clock

    def append(self, events: Sequence[Event]) -> Appended:
        """See :meth:`tconnectsync.eventlog.EventLog.append`."""
        self.bring_along()
        drafts = [self._codec.draft(event) for event in events]
        places = [draft.entry.place for draft in drafts]
        known = self._index.known(places)
        new, revisions = drafts, 0
        there: list[int] = []
        if known or len(set(places)) < len(places):
            new, revisions, there = self._without_duplicates(drafts, known)
        first = self.tail.end + 1
        self._write(new, known)
        return Appended(
            first=first,
            last=self.tail.end,
            appended=len(new),
            duplicates=len(drafts) - len(new),
            revisions=revisions,
            events=[draft.event for draft in new],
            known=there,
        )

    def bridge(self, first: int, last: int, times: Times | None, now: datetime) -> None:
        """Write a gap record over the next positions, ``first`` to ``last``, so that no event ever gets them."""
        event = gap_event(self.tail.log_id, first, last, side_file="", now=now, times=times)
        self._write([self._codec.draft(event)], {}, last_position=last)

    def bring_along(self) -> None:
        """Let the index take up what an earlier append wrote and could not index. OSError when it still cannot."""
        if self._index.end != self.tail.end:
            with index_errors(self._index_path):
                catch_up(self._index, self._segments, self._codec, self.tail.end, self._clock)

    # --- what is new ------------------------------------------------------------------------------------------------

    def _without_duplicates(
        self, drafts: Sequence[PendingRecord], known: Mapping[EventSlot, Sequence[IndexedRecord]]
    ) -> tuple[list[PendingRecord], int, list[int]]:
        """The drafts that say something new, how many of them revise an event, and where the pump's others stand."""
        new: list[PendingRecord] = []
        there: list[int] = []
        revisions = 0
        fresh: dict[EventSlot, list[PendingRecord]] = {}
        for draft in drafts:
            place = draft.entry.place
            earlier, stored = fresh.get(place, []), known.get(place, ())
            if earlier or stored:
                if self._is_there(draft, earlier, stored):
                    if stored and draft.event.kind not in FACTS:
                        there.append(min(each.position for each in stored))
                    continue
                revisions += 1
            fresh[place] = [*earlier, draft]
            new.append(draft)
        return new, revisions, there

    def _is_there(self, draft: PendingRecord, fresh: Sequence[PendingRecord], known: Sequence[IndexedRecord]) -> bool:
        digest = draft.entry.digest
        if any(seen.digest == digest for seen in known) or any(seen.entry.digest == digest for seen in fresh):
            return True
        if draft.entry.kind != draft.event.kind:
            return False
        # the same body may have been written with other bytes, by an earlier release
        others = [self._codec.event(record) for record in self._segments.readable(known)]
        others += [other.event for other in fresh if other.entry.kind == other.event.kind]
        return any(other.kind == draft.event.kind and other.body == draft.event.body for other in others)

    # --- writing ----------------------------------------------------------------------------------------------------

    def _write(
        self,
        drafts: Sequence[PendingRecord],
        known: Mapping[EventSlot, Sequence[IndexedRecord]],
        last_position: int | None = None,
    ) -> None:
        """Write and take up ``drafts``; the last position is ``last_position`` where they are a gap."""
        tail = self.tail
        for position, draft in enumerate(drafts, tail.end + 1):
            draft.entry.pos = position
        records = [self._codec.record(draft) for draft in drafts]
        entries = [draft.entry for draft in drafts]
        while records:
            offsets = tail.write(records)
            taken = entries[: len(offsets)]
            for entry, offset in zip(taken, offsets, strict=True):
                entry.offset = offset
            tail.end = last_position or taken[-1].pos
            records, entries = records[len(offsets) :], entries[len(offsets) :]
            self._take_up(taken, known)
            if records:  # a new segment begins; what was taken up so far may be revised by the rest
                known = self._index.known(entry.place for entry in entries)

    def _take_up(self, entries: Sequence[IndexEntry], known: Mapping[EventSlot, Sequence[IndexedRecord]]) -> None:
        with index_errors(self._index_path):
            self._index.add(
                entries,
                known,
                end=self.tail.end,
                crc=self.tail.crc,
                rank=ranker(self._segments, self._codec),
                decoders=self._codec.decoders,
            )


@contextlib.contextmanager
def index_errors(path: Path) -> Iterator[None]:
    """Failures of the index as OSError: to a caller they are the disk's. One that is harmed is forgotten: IndexCorrupt."""
    try:
        yield
    except sqlite3.Error as error:
        if not isinstance(error, sqlite3.OperationalError):
            remove_index(path)
            raise IndexCorrupt(str(path)) from error
        code = errno.ENOSPC if "full" in str(error) else errno.EIO
        raise OSError(code, f"the log's index cannot be written: {error}", str(path)) from error
