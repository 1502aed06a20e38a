"""Appends new events durably to the log, and then adds them to the index."""

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
from tconnectsync.eventlog.last_segment import LastSegment
from tconnectsync.eventlog.segments import Segments
from tconnectsync.events import FACTS, Event
from tconnectsync.storage_errors import storage_error, storage_steps


@attrs.frozen(kw_only=True)
class Appended:
    """The result of an append. Positions ``first`` to ``last`` are new (none: ``last`` is before ``first``).

    ``appended``: their number; ``revisions``: how many of them revise an event; ``duplicates``: known events.
    """

    first: int
    last: int
    appended: int
    duplicates: int
    revisions: int
    events: Sequence[Event] = attrs.field(default=(), repr=False, eq=False)
    """The appended events, in order."""
    known: Sequence[int] = attrs.field(default=(), repr=False, eq=False)
    """For each duplicate that is a pump event: the first position of that event in the log."""


class Writer:
    """Appends to the last segment and keeps the index up to date."""

    def __init__(
        self,
        *,
        last_segment: LastSegment,
        segments: Segments,
        codec: Codec,
        index: Index,
        index_path: Path,
        clock: Clock,
    ) -> None:
        self.last_segment = last_segment
        self._segments = segments
        self._codec = codec
        self._index = index
        self._index_path = index_path
        self._clock = clock

    def append(self, events: Sequence[Event]) -> Appended:
        """See :meth:`tconnectsync.eventlog.EventLog.append`."""
        self.update_index()
        drafts = [self._codec.draft(event) for event in events]
        slots = [draft.entry.slot for draft in drafts]
        known = self._index.records_at(slots)
        new, revisions = drafts, 0
        known_positions: list[int] = []
        if known or len(set(slots)) < len(slots):
            new, revisions, known_positions = self._drop_duplicates(drafts, known)
        first = self.last_segment.end + 1
        self._write(new, known)
        return Appended(
            first=first,
            last=self.last_segment.end,
            appended=len(new),
            duplicates=len(drafts) - len(new),
            revisions=revisions,
            events=[draft.event for draft in new],
            known=known_positions,
        )

    def write_gap(self, first: int, last: int, times: Times | None, now: datetime) -> None:
        """Write a gap record for the next positions, ``first`` to ``last``, so that no event ever gets them."""
        event = gap_event(self.last_segment.log_id, first, last, side_file="", now=now, times=times)
        self._write([self._codec.draft(event)], {}, last_position=last)

    def update_index(self) -> None:
        """Add records to the index that an earlier append wrote but could not index. Errors: OSError if it fails again."""
        if self._index.end != self.last_segment.end:
            with index_errors(self._index_path):
                catch_up(self._index, self._segments, self._codec, self.last_segment.end, self._clock)

    # --- new events --------------------------------------------------------------------------------------------------

    def _drop_duplicates(
        self, drafts: Sequence[PendingRecord], known: Mapping[EventSlot, Sequence[IndexedRecord]]
    ) -> tuple[list[PendingRecord], int, list[int]]:
        """Return the new drafts, how many of them are revisions, and the positions of the pump events that are known."""
        new: list[PendingRecord] = []
        known_positions: list[int] = []
        revisions = 0
        fresh: dict[EventSlot, list[PendingRecord]] = {}
        for draft in drafts:
            slot = draft.entry.slot
            earlier, stored = fresh.get(slot, []), known.get(slot, ())
            if earlier or stored:
                if self._is_duplicate(draft, earlier, stored):
                    if stored and draft.event.kind not in FACTS:
                        known_positions.append(min(stored).position)
                    continue
                revisions += 1
            fresh[slot] = [*earlier, draft]
            new.append(draft)
        return new, revisions, known_positions

    def _is_duplicate(
        self, draft: PendingRecord, fresh: Sequence[PendingRecord], known: Sequence[IndexedRecord]
    ) -> bool:
        digest = draft.entry.digest
        for seen in known:  # almost always the first
            if seen.digest == digest:
                return True
        if any(seen.entry.digest == digest for seen in fresh):
            return True
        if draft.entry.kind != draft.event.kind:
            return False
        # an earlier release may have written the same body with other bytes
        others = [
            self._codec.event(record)
            for record in self._segments.readable_records((seen.position, seen.offset) for seen in known)
        ]
        others += [other.event for other in fresh if other.entry.kind == other.event.kind]
        return any(other.kind == draft.event.kind and other.body == draft.event.body for other in others)

    # --- writing ----------------------------------------------------------------------------------------------------

    def _write(
        self,
        drafts: Sequence[PendingRecord],
        known: Mapping[EventSlot, Sequence[IndexedRecord]],
        last_position: int | None = None,
    ) -> None:
        """Write and index ``drafts``. ``last_position``: the end of a gap that they describe."""
        last_segment = self.last_segment
        entries = [draft.entry for draft in drafts]
        for position, entry in enumerate(entries, last_segment.end + 1):
            entry.pos = position
        while drafts:
            offsets = last_segment.write(self._codec.records(drafts))  # one by one: together they take a megabyte
            written = entries[: len(offsets)]
            for entry, offset in zip(written, offsets, strict=True):
                entry.offset = offset
            last_segment.end = last_position or written[-1].pos
            drafts, entries = drafts[len(offsets) :], entries[len(offsets) :]
            self._add_to_index(written, known)
            if drafts:  # the rest goes to a new segment, and may revise the records written so far
                known = self._index.records_at(entry.slot for entry in entries)

    def _add_to_index(self, entries: Sequence[IndexEntry], known: Mapping[EventSlot, Sequence[IndexedRecord]]) -> None:
        with index_errors(self._index_path):
            self._index.add(
                entries,
                known,
                end=self.last_segment.end,
                crc=self.last_segment.crc,
                rank=ranker(self._segments, self._codec),
                decoders=self._codec.decoders,
            )


@contextlib.contextmanager
def index_errors(path: Path) -> Iterator[None]:
    """Raise errors of the index as OSError, like other errors of the disk. A corrupt index is deleted: IndexCorrupt."""
    try:
        yield
    except sqlite3.Error as error:
        if not isinstance(error, sqlite3.OperationalError):
            remove_index(path)
            raise IndexCorrupt(str(path)) from error
        found, number = storage_error(error, path), errno.EIO
        # an error without steps of its own gets those of a failing disk
        if found is not None and storage_steps(found, path.parent) is not None:
            number = found.errno or errno.EIO
        raise OSError(number, f"the log's index cannot be written: {error}", str(path)) from error
