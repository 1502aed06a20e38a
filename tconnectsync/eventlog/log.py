"""The event log: append events durably, read them in the pump's order or in the log's."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from types import TracebackType

import attrs
import msgspec

from tconnectsync.clock import Clock
from tconnectsync.errors import IndexCorrupt
from tconnectsync.eventlog.codec import Codec, Decoder, micros
from tconnectsync.eventlog.damage import Damage, IndexMismatch, Segment, damage_of
from tconnectsync.eventlog.framing import DamagedRange
from tconnectsync.eventlog.index_build import INDEX_NAME, Progress, in_silence, refuse_harmed, remove_index, unreadable
from tconnectsync.eventlog.index_queries import IndexReader, Stream
from tconnectsync.eventlog.maintenance import SegmentMaintenance
from tconnectsync.eventlog.opening import OpenLog, open_to_read, open_to_write
from tconnectsync.eventlog.segments import Segments
from tconnectsync.eventlog.tail import Tail
from tconnectsync.eventlog.writer import Appended, Writer, index_errors
from tconnectsync.events import FACTS, Event
from tconnectsync.filesystem import Files, OsFiles

SEGMENT_BYTES = 1 << 20
"""A segment that has reached this size is sealed."""

_FIRST_KEY, _LAST_KEY = -(1 << 63), (1 << 63) - 1


@attrs.frozen(kw_only=True)
class LogSize:
    """``bytes`` on disk (the index not counted), ``segments``, and the last position; of the compressed ones alone, too."""

    bytes: int
    segments: int
    positions: int
    packed_bytes: int = 0
    packed_positions: int = 0


class EventLog:
    """The log in ``<data_dir>/log`` with its index. Made by :meth:`open`; one writer, which owns the folder by its lock.

    Where a method needs something that is not what was written, it raises LogCorrupt; everything else goes on. An append that
    fails with OSError (a full disk) may be repeated: what of it was taken already counts as duplicate.
    """

    def __init__(self, opened: OpenLog, *, codec: Codec, segments: Segments, index_path: Path, clock: Clock) -> None:
        self.log_id = opened.log_id
        """Random, made with the log; another one means that positions mean something else. Empty: there is no log."""
        self.notices = opened.notices
        """What was put right at opening, in words."""
        self._index = opened.index
        self._writer = opened.writer
        self._tail_damage = opened.tail_damage
        self._order = IndexReader(opened.index.database)
        self._codec = codec
        self._segments = segments
        self._index_path = index_path
        self._care = SegmentMaintenance(segments, opened.index, self._order, clock)
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
        progress: Progress = in_silence,
    ) -> EventLog:
        """The log of ``data_dir``; an empty one where there is none.

        ``writable``: the caller holds the folder's lock. A torn end is mended, once, and told in ``notices``; the index is
        brought up to date or built again (``progress`` is called meanwhile). Otherwise nothing is changed, and a writer may
        be at work beside. ``decoders`` are the sources by name. Raises LogCorrupt when the last segment cannot be used at
        all, and OSError.
        """
        files = files or OsFiles()
        codec = Codec(decoders)
        index_path = data_dir / INDEX_NAME
        if not writable:
            segments = Segments(data_dir / "log", files, follow=True)
            opened = open_to_read(segments=segments, codec=codec, index_path=index_path, clock=clock, progress=progress)
            return cls(opened, codec=codec, segments=segments, index_path=index_path, clock=clock)
        files.make_folder(data_dir / "log")
        segments = Segments(data_dir / "log", files)
        tail = Tail(segments, segment_bytes, secrets.token_hex(8))
        try:
            opened = open_to_write(
                segments=segments, codec=codec, tail=tail, index_path=index_path, clock=clock, progress=progress
            )
        except BaseException:
            tail.close()
            raise
        return cls(opened, codec=codec, segments=segments, index_path=index_path, clock=clock)

    # --- what it is -------------------------------------------------------------------------------------------------

    @property
    def end(self) -> int:
        """The last position; 0 when the log is empty. Positions start at 1."""
        return self._writer.tail.end if self._writer is not None else self._order.end()

    @property
    def writable(self) -> bool:
        """Whether it was opened to append."""
        return self._writer is not None

    @property
    def damage(self) -> list[Damage]:
        """Every damage that was found so far, by the background check too; to a reader also what its look at the end found.

        One without ``last_position`` reaches to the end: the next opening for writing sets it aside.
        """
        known = self._order.damage()
        return [*known, *(damage for damage in self._tail_damage if damage not in known)]

    @property
    def verified_at(self) -> datetime | None:
        """Since when every sealed segment has been read and checked whole; None when one never was."""
        verified = self._order.verified()
        times = [verified.get(segment.first) for segment in self._segments.all()[:-1]]
        known = [at for at in times if at is not None]
        if len(known) < len(times):
            return None
        return min(known, default=self._opened_at)  # the last segment was read whole at opening

    def size(self) -> LogSize:
        """How big it is."""
        segments = self._segments.all()
        packed = [(segment, behind.first - segment.first) for segment, behind in pairwise(segments) if segment.packed]
        return LogSize(
            bytes=self._segments.total_bytes(),
            segments=len(segments),
            positions=self.end,
            packed_bytes=sum(self._segments.size(segment) for segment, _ in packed),
            packed_positions=sum(positions for _, positions in packed),
        )

    def mark(self, position: int) -> str | None:
        """The checksum of the line at ``position``, which stands for everything before it too; None when there is none.

        A cursor that keeps it can tell later whether this is still the log that it was moved on.
        """
        place = self._order.place_at(position)
        return None if place is None else f"{self._segments.line_crc(place):08x}"

    # --- writing ----------------------------------------------------------------------------------------------------

    def append(self, events: Sequence[Event]) -> Appended:
        """Make ``events`` durable, each at the next position, except those that are there already.

        The same id with the same kind and body is a duplicate; with another one it revises the event. Raises OSError when the
        disk is full or fails (append the same events again later), ValueError for an event that is none.
        """
        return self._writing().append(events)

    def maintain(self, budget: int = 1) -> int:
        """At most ``budget`` pieces of work in the background: compress a sealed segment, or read one again and check it.

        Answers how many there were. What it finds harmed is in :attr:`damage`. What was decompressed for earlier readers is
        forgotten: this is called when nothing else is to be done. OSError as :meth:`append`.
        """
        self._writing().bring_along()
        done = 0
        with index_errors(self._index_path):
            while done < budget and self._care.step():
                done += 1
        self._segments.forget_texts()
        return done

    def refuse_harmed_index(self) -> None:
        """After an error of some database: IndexCorrupt when it was this log's index, which is forgotten."""
        refuse_harmed(self._index.database, self._index_path)

    def _writing(self) -> Writer:
        if self._writer is None:
            raise ValueError("this log was opened for reading")
        return self._writer

    # --- reading in the pump's order --------------------------------------------------------------------------------

    def streams(self) -> Sequence[Stream]:
        """Every stream, in order of first appearance."""
        return self._order.streams()

    def read(self, stream_id: int, first_key: int, last_key: int, kinds: frozenset[str] | None = None) -> list[Event]:
        """The stream's events with keys from ``first_key`` to ``last_key``, in key order (equal keys by id).

        Of an event with revisions the best one: decodable before not, more complete before less, never by arrival.
        """
        damage = self._order.damage_among(stream_id, first_key, last_key)
        if damage is not None:
            raise damage.error()
        places = self._order.places(stream_id, first_key, last_key, kinds)
        events = [self._codec.event(record) for record in self._records(places)]
        if events and events[0].seq is None:
            events.sort(key=lambda event: (micros(event.pump_time) // 1000, event.id))
        return events

    def newest(self, stream_id: int) -> Event | None:
        """The event with the stream's greatest key."""
        place = self._order.newest(stream_id)
        return None if place is None else self._event_at(place)

    def times(
        self,
        stream_id: int,
        kinds: frozenset[str] | None = None,
        first_key: int | None = None,
        last_key: int | None = None,
    ) -> Iterator[tuple[int, datetime]]:
        """(key, pump time) of the stream's events of ``kinds``, in key order, without reading the log."""
        return self._order.times(stream_id, kinds, first_key, last_key)

    def first_last(
        self, stream_id: int, kinds: frozenset[str] | None = None
    ) -> tuple[tuple[int, datetime], tuple[int, datetime]] | None:
        """(key, pump time) of the first and of the last event of ``kinds`` in the stream; None when there is none."""
        first = self._order.neighbour(stream_id, _FIRST_KEY, kinds, before=False)
        last = self._order.neighbour(stream_id, _LAST_KEY, kinds, before=True)
        return None if first is None or last is None else (first, last)

    def neighbour(
        self, stream_id: int, key: int, kinds: frozenset[str] | None = None, before: bool = True
    ) -> tuple[int, datetime] | None:
        """(key, pump time) of the nearest event of ``kinds`` before ``key`` (or behind it), not the one at it."""
        return self._order.neighbour(stream_id, key, kinds, before=before)

    def jumps(self, stream_id: int) -> list[tuple[int, datetime, datetime]]:
        """(key, pump time of the event before, its own) where a numbered stream's clock fell back by over three hours."""
        return self._order.jumps(stream_id)

    # --- reading in the log's order ---------------------------------------------------------------------------------

    def touched(
        self, after_pos: int, up_to_pos: int | None = None, limit: int | None = None
    ) -> Iterator[tuple[int, int, int, str]]:
        """(position, stream, key, kind) of the pump's events behind ``after_pos``, by position, revisions too.

        A revision that has another kind than what it revises is told with each of the kinds. ``limit`` counts positions.
        """
        return self._order.touched(after_pos, self.end if up_to_pos is None else up_to_pos, limit)

    def facts(self, kind: str, *, source: str | None = None, pump: str | None = None, limit: int = 100) -> list[Event]:
        """The newest records of ``kind`` by position, newest first: facts about the data, or rare events of a pump."""
        places = self._order.facts(kind, pump) if kind in FACTS else self._order.of_kind(kind, pump)
        found: list[Event] = []
        for place in places:
            if len(found) >= limit:
                break
            event = self._event_at(place)
            if source is None or event.source == source:
                found.append(event)
        return found

    def events(
        self,
        after_pos: int = 0,
        *,
        kinds: frozenset[str] | None = None,
        pump: str | None = None,
        left_out: Callable[[Damage], None] | None = None,
    ) -> Iterator[Event]:
        """Everything behind ``after_pos`` as it was appended: revisions, facts and gaps too. Reads the log, not the index.

        Where something is not what was written, it ends with LogCorrupt; with ``left_out`` that is told, and what is behind
        goes on.
        """
        segments = self._segments.all()
        first = self._segments.holding(after_pos + 1).first if segments else 0
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
                        damage = unreadable(self._segments, item, error)
                    else:
                        if (kinds is None or event.kind in kinds) and (pump is None or event.pump == pump):
                            yield event
                if damage is not None and left_out is None:
                    raise damage.error()
                if damage is not None and left_out is not None:
                    left_out(damage)

    def _is_being_written(self, segment: Segment, run: DamagedRange) -> bool:
        """Whether the harm at the log's end is but a line that a writer beside us is in the middle of."""
        return run.lines <= 1 and not segment.packed and not self._segments.text(segment).endswith(b"\n")

    def _event_at(self, place: tuple[int, int]) -> Event:
        return self._codec.event(self._records([place])[0])

    def _records(self, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """The records there. Where only the index is wrong, its owner forgets it: IndexCorrupt."""
        try:
            return self._segments.records(places)
        except IndexMismatch as error:
            if self._writer is None:
                raise
            remove_index(self._index_path)
            raise IndexCorrupt(str(self._index_path)) from error

    # --- the end ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give the files back. Fine to call twice."""
        if self._writer is not None:
            self._writer.tail.close()
        self._index.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
