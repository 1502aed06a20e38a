"""The event log: append events durably, read them in the pump's order or in the log's."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from tconnectsync.clock import Clock
from tconnectsync.errors import IndexCorrupt
from tconnectsync.eventlog.codec import Codec, Decoder, micros
from tconnectsync.eventlog.damage import Damage, IndexMismatch, Segment, damage_of
from tconnectsync.eventlog.facts import FactReader
from tconnectsync.eventlog.framing import DamagedRange
from tconnectsync.eventlog.index import get_meta
from tconnectsync.eventlog.index_build import (
    INDEX_NAME,
    Progress,
    discard_if_corrupt,
    no_progress,
    remove_index,
    unreadable_record,
)
from tconnectsync.eventlog.index_queries import IndexReader, Stream
from tconnectsync.eventlog.last_segment import LastSegment
from tconnectsync.eventlog.log_size import LogSize
from tconnectsync.eventlog.maintenance import SegmentMaintenance
from tconnectsync.eventlog.opening import OpenLog, open_to_read, open_to_write
from tconnectsync.eventlog.replica import Replica, follow
from tconnectsync.eventlog.segments import Segments
from tconnectsync.eventlog.writer import Appended, Writer, index_errors
from tconnectsync.events import Event
from tconnectsync.filesystem import Files, OsFiles

SEGMENT_BYTES = 1 << 20
"""A segment that has reached this size is sealed."""

_FIRST_KEY, _LAST_KEY = -(1 << 63), (1 << 63) - 1


class EventLog:
    """The log in ``<data_dir>/log`` with its index. :meth:`open` makes it. Only one process may write: the owner of the lock.

    A method that needs a corrupt record raises LogCorrupt; the other records stay readable. An append that fails with OSError
    (a full disk) may be repeated: events that were stored already count as duplicates.
    """

    def __init__(self, opened: OpenLog, *, codec: Codec, segments: Segments, index_path: Path, clock: Clock) -> None:
        self.log_id = opened.log_id
        """Random id of this log: positions are comparable only if it is the same. Empty: there is no log."""
        self.notices = opened.notices
        """Messages to the user about repairs at opening."""
        self._index = opened.index
        self._writer = opened.writer
        self._tail_damage = opened.tail_damage
        self._reader = IndexReader(opened.index.database)
        self._facts = FactReader(self._reader)
        self._codec = codec
        self._segments = segments
        self._index_path, self.data_dir = index_path, index_path.parent
        self._maintenance = SegmentMaintenance(segments, opened.index, self._reader, clock)
        self._opened_at = clock.now()

    @classmethod
    def open(
        cls,
        data_dir: Path,
        *,
        clock: Clock,
        writable: bool,
        files: Files | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        decoders: Mapping[str, Decoder] | None = None,
        progress: Progress = no_progress,
        replica: Replica | None = None,
    ) -> EventLog:
        """Open the log of ``data_dir``. If there is none, it is empty.

        ``writable``: the caller holds the folder's lock. A torn end is repaired (see ``notices``), and the index is updated or
        rebuilt, with calls of ``progress``. Otherwise nothing is changed, and another process may write. ``decoders``: the
        sources by name. ``replica``: the copy that this log must be equal to. Errors: LogCorrupt if the last segment cannot be
        used at all, OSError, ReplicaFailed.
        """
        files = files or OsFiles()
        codec = Codec(decoders)
        index_path = data_dir / INDEX_NAME
        if not writable:
            segments = Segments(data_dir / "log", files, follow=True)
            opened = open_to_read(segments=segments, codec=codec, index_path=index_path, clock=clock, progress=progress)
            return cls(opened, codec=codec, segments=segments, index_path=index_path, clock=clock)
        files.make_folder(data_dir / "log")
        if replica is not None:
            follow(replica, data_dir / "log", index_path, files)
        segments = Segments(data_dir / "log", files)
        last_segment = LastSegment(segments, segment_bytes, secrets.token_hex(8), replica)
        try:
            opened = open_to_write(
                segments=segments,
                codec=codec,
                last_segment=last_segment,
                index_path=index_path,
                clock=clock,
                progress=progress,
            )
        except BaseException:
            last_segment.close()
            raise
        return cls(opened, codec=codec, segments=segments, index_path=index_path, clock=clock)

    # --- state ------------------------------------------------------------------------------------------------------

    @property
    def end(self) -> int:
        """The last position that can be read; 0 if the log is empty. Positions start at 1.

        If the index could not be written after an append, the log has more records. They count once the index has them.
        """
        return self._index.end if self.writable else int(get_meta(self._index.database, "end") or 0)

    @property
    def writable(self) -> bool:
        """Whether it was opened to append."""
        return self._writer is not None

    @property
    def damage(self) -> list[Damage]:
        """All damage that was found so far, also by the background check; for a reader also the damage at the log's end.

        Damage without ``last_position`` reaches to the end. The next opening for writing moves it to a side file.
        """
        known = self._reader.damage()
        return [*known, *(damage for damage in self._tail_damage if damage not in known)]

    @property
    def verified_at(self) -> datetime | None:
        """When the sealed segment that was checked longest ago was checked; None if one was never checked."""
        verified = self._reader.verified()
        times = [verified.get(segment.first) for segment in self._segments.all()[:-1]]
        known = [at for at in times if at is not None]
        if len(known) < len(times):
            return None
        return min(known, default=self._opened_at)  # the last segment was checked at opening

    def size(self) -> LogSize:
        """Return how much disk the log takes."""
        return LogSize.of(self._segments, self.end)

    def checksum_at(self, position: int) -> str | None:
        """Return the checksum of the line at ``position``, which covers all lines before it too; None if there is no line.

        A cursor stores it, to know later whether this is still the log that it has read.
        """
        location = self._reader.location_at(position)
        return None if location is None else f"{self._segments.line_crc(location):08x}"

    # --- writing ----------------------------------------------------------------------------------------------------

    def append(self, events: Sequence[Event]) -> Appended:
        """Store ``events`` durably, each at the next position, but without duplicates.

        The same id with the same kind and body is a duplicate; with another body it is a revision. Errors: OSError if the disk
        is full or fails (append the same events again later), ValueError for an invalid event.
        """
        return self._require_writer().append(events)

    def fence(self, oldest: datetime) -> None:
        """Check that no other process owns the log's replica now, if there is one. Errors: ReplicaFailed.

        ``oldest``: the time (UTC) of the oldest document that may be sent next.
        """
        if self._writer is not None and self._writer.last_segment.replica is not None:
            self._writer.last_segment.replica.fence(oldest)

    def maintain(self, budget: int = 1) -> int:
        """Compress or check up to ``budget`` sealed segments, and return how many. Call it when nothing else is due.

        Damage that it finds is in :attr:`damage`. It also frees the cached texts. Errors: OSError as in :meth:`append`.
        """
        self._require_writer().update_index()
        done = 0
        with index_errors(self._index_path):
            while done < budget and self._maintenance.step():
                done += 1
        self._segments.forget_texts()
        return done

    def discard_corrupt_index(self) -> None:
        """Check the index after an error of an unknown database. Errors: IndexCorrupt; then the index was deleted."""
        discard_if_corrupt(self._index.database, self._index_path)

    def _require_writer(self) -> Writer:
        if self._writer is None:
            raise ValueError("this log was opened for reading")
        return self._writer

    # --- reading in the pump's order --------------------------------------------------------------------------------

    def streams(self) -> Sequence[Stream]:
        """Return every stream, in order of first appearance."""
        return self._reader.streams()

    def read(
        self, stream_id: int, first_key: int, last_key: int, kinds: frozenset[str] | None = None, *, with_raw: bool = True
    ) -> list[Event]:  # fmt: skip
        """Return the stream's events with keys from ``first_key`` to ``last_key``, in key order (equal keys by id).

        Only the best revision of each event, and without ``with_raw`` the vendor's records of ``unknown`` events only: see
        ``rank`` and ``event`` of :class:`tconnectsync.eventlog.codec.Codec`. Errors: LogCorrupt.
        """
        self._reader.refuse_damage(stream_id, first_key, last_key)
        locations = self._reader.locations(stream_id, first_key, last_key, kinds)
        events = [self._codec.event(record, with_raw=with_raw) for record in self._read_records(locations)]
        if events and events[0].seq is None:
            events.sort(key=lambda event: (micros(event.pump_time) // 1000, event.id))
        return events

    def marks(
        self, stream_id: int, first_key: int, last_key: int, kinds: frozenset[str]
    ) -> list[tuple[int, str, datetime]]:
        """Return (key, kind, pump time) of the events that :meth:`read` returns, from the index alone. Errors: LogCorrupt."""
        self._reader.refuse_damage(stream_id, first_key, last_key)
        return self._reader.marks(stream_id, first_key, last_key, kinds)

    def newest(self, stream_id: int) -> Event | None:
        """Return the event with the stream's greatest key."""
        location = self._reader.newest_location(stream_id)
        return None if location is None else self._event_at(location)

    def times(
        self, stream_id: int, kinds: frozenset[str] | None = None, first_key: int | None = None, last_key: int | None = None
    ) -> Iterator[tuple[int, datetime]]:  # fmt: skip
        """Yield (key, pump time) of the stream's events of ``kinds``, in key order, without reading the log."""
        return self._reader.times(stream_id, kinds, first_key, last_key)

    def first_last(
        self, stream_id: int, kinds: frozenset[str] | None = None
    ) -> tuple[tuple[int, datetime], tuple[int, datetime]] | None:
        """Return (key, pump time) of the first and of the last event of ``kinds`` in the stream; None if there is none."""
        first = self._reader.neighbour(stream_id, _FIRST_KEY, kinds, before=False)
        last = self._reader.neighbour(stream_id, _LAST_KEY, kinds, before=True)
        return None if first is None or last is None else (first, last)

    def neighbour(
        self, stream_id: int, key: int, kinds: frozenset[str] | None = None, before: bool = True
    ) -> tuple[int, datetime] | None:
        """Return (key, pump time) of the nearest event of ``kinds`` before (or after) ``key``, but not at it."""
        return self._reader.neighbour(stream_id, key, kinds, before=before)

    def jumps(self, stream_id: int) -> list[tuple[int, datetime, datetime]]:
        """Return (key, pump time of the event before, own pump time) where a numbered stream's clock went back over 3 hours."""
        return self._reader.jumps(stream_id)

    # --- reading in the log's order ---------------------------------------------------------------------------------

    def touched(
        self,
        after_pos: int,
        up_to_pos: int | None = None,
        limit: int | None = None,
    ) -> Iterator[tuple[int, int, int, str]]:
        """Yield (position, stream, key, kind) of the pump's records after ``after_pos``, by position, all revisions.

        A revision of another kind than earlier ones is yielded once for each of these kinds. ``limit`` counts positions.
        """
        return self._reader.touched(after_pos, self.end if up_to_pos is None else up_to_pos, limit)

    def touched_intervals(
        self, after_pos: int, up_to_pos: int, kinds: frozenset[str], *, numbered_width: int, unnumbered_width: int
    ) -> list[tuple[int, int, str]]:
        """Return the different (stream, interval, kind) of the records of ``kinds`` that :meth:`touched` yields.

        The interval is the key divided by the width, rounded down; streams with and without numbers have different widths.
        """
        return self._reader.touched_intervals(
            after_pos, up_to_pos, kinds, numbered_width=numbered_width, unnumbered_width=unnumbered_width
        )

    def facts(self, kind: str, *, source: str | None = None, pump: str | None = None, limit: int = 100) -> list[Event]:
        """Return the newest records of ``kind``, newest position first: facts about the data, or rare events of a pump."""
        return self._facts.newest(kind, self._event_at, source=source, pump=pump, limit=limit)

    def events(
        self,
        after_pos: int = 0,
        *,
        kinds: frozenset[str] | None = None,
        pump: str | None = None,
        on_damage: Callable[[Damage], None] | None = None,
    ) -> Iterator[Event]:
        """Yield everything after ``after_pos`` in the order of the log: all revisions, facts and gaps. Does not use the index.

        Errors: LogCorrupt at the first corrupt record. With ``on_damage``, it is called instead, and reading continues.
        """
        segments = self._segments.all()
        first = self._segments.containing(after_pos + 1).first if segments else 0
        for segment in segments:
            if segment.first < first:
                continue
            for item in self._segments.walk(segment):
                damage = None
                if isinstance(item, DamagedRange):
                    if item.last_position is None and segment is segments[-1] and self._is_being_written(segment, item):
                        return
                    if item.last_position is None or item.last_position > after_pos:
                        damage = damage_of(segment, item)
                elif item.position > after_pos:
                    try:
                        event = self._codec.event(item.record)
                    except msgspec.MsgspecError as error:
                        damage = unreadable_record(self._segments, item, error)
                    else:
                        if (kinds is None or event.kind in kinds) and (pump is None or event.pump == pump):
                            yield event
                if damage is not None and on_damage is None:
                    raise damage.error()
                if damage is not None and on_damage is not None:
                    on_damage(damage)

    def _is_being_written(self, segment: Segment, damage: DamagedRange) -> bool:
        """Whether the damage at the log's end is a line that another process is writing now."""
        text, problem = self._segments.text(segment)
        return damage.lines <= 1 and not segment.packed and not problem and not text.endswith(b"\n")

    def _event_at(self, location: tuple[int, int]) -> Event:
        return self._codec.event(self._read_records([location])[0])

    def _read_records(self, locations: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the records. Errors: LogCorrupt; IndexCorrupt if only the index is wrong, which its writer then deletes."""
        try:
            return self._segments.records(locations)
        except IndexMismatch as error:
            if self._writer is None:
                raise
            remove_index(self._index_path)
            raise IndexCorrupt(str(self._index_path)) from error

    def close(self) -> None:
        """Close all files. May be called twice."""
        if self._writer is not None:
            self._writer.last_segment.close()
        self._index.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
