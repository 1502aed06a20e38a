"""The event log: append events durably, read them in the pump's order or in the log's."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType

import attrs

from tconnectsync.clock import Clock
from tconnectsync.eventlog.care import Care
from tconnectsync.eventlog.catchup import (
    INDEX_NAME,
    IndexStale,
    Progress,
    build_index,
    catch_up,
    in_silence,
    open_index,
    open_index_to_read,
)
from tconnectsync.eventlog.codec import Codec, Decoder, micros
from tconnectsync.eventlog.files import Files, OsFiles
from tconnectsync.eventlog.index import Index
from tconnectsync.eventlog.lines import FORMAT, Line, Run, read_header
from tconnectsync.eventlog.order import Order, Stream
from tconnectsync.eventlog.segments import Damage, PackedDamage, Segments, damage_of
from tconnectsync.eventlog.tail import Tail, newer_format
from tconnectsync.eventlog.writer import Appended, Writer, index_errors
from tconnectsync.events import FACTS, Event

SEGMENT_BYTES = 4 << 20
"""A segment that has reached this size is sealed."""


@attrs.frozen(kw_only=True)
class LogSize:
    """``bytes`` on disk (the index not counted), ``segments``, and the last position."""

    bytes: int
    segments: int
    positions: int


class EventLog:
    """The log in ``<data_dir>/log`` with its index. Made by :meth:`open`; one writer, which owns the folder by its lock.

    Where a method needs something that is not what was written, it raises LogDamaged; everything else goes on. When an append
    fails with OSError (a full disk), nothing of the batch that is not reported by a later read was taken: append it again.
    """

    def __init__(
        self,
        *,
        codec: Codec,
        segments: Segments,
        clock: Clock,
        index_path: Path,
        tail: Tail | None,
        progress: Progress,
    ) -> None:
        self._codec = codec
        self._segments = segments
        self._clock = clock
        self._tail = tail
        self._index_path = index_path
        self._progress = progress
        self._opened_at = clock.now()
        self._notices: list[str] = []
        self._found: list[Damage] = []
        self.log_id = ""
        if tail is None:
            self._index = self._read_index()
        else:
            self.log_id = tail.log_id
            self._notices += tail.notices
            self._index = self._own_index(tail)
        self._order = Order(self._index.database)

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

        ``writable``: the caller holds the folder's lock. A torn end is mended, once, and told in :attr:`notices`; the index is
        brought up to date or built again (``progress`` is called meanwhile). Otherwise nothing is changed, and a writer may
        be at work beside. ``decoders`` are the sources by name. Raises LogDamaged when the last segment cannot be used at
        all, and OSError.
        """
        files = files or OsFiles()
        folder = data_dir / "log"
        tail = None
        if writable:
            files.make_folder(folder)
        segments = Segments(folder, files, follow=not writable)
        if writable:
            tail = Tail(segments, segment_bytes, secrets.token_hex(8))
        try:
            return cls(
                codec=Codec(decoders),
                segments=segments,
                clock=clock,
                index_path=data_dir / INDEX_NAME,
                tail=tail,
                progress=progress,
            )
        except BaseException:
            if tail is not None:
                tail.close()
            raise

    # --- opening ----------------------------------------------------------------------------------------------------

    def _own_index(self, tail: Tail) -> Index:
        lost = None
        index = None
        try:
            index = open_index(self._index_path, tail.log_id, self._codec)
            if index.end > tail.end:
                lost = (tail.end + 1, index.end)
                raise IndexStale
            catch_up(index, self._segments, self._codec, tail.end, self._clock, self._progress)
        except (IndexStale, sqlite3.DatabaseError):
            if index is not None:
                index.close()
            index = build_index(
                self._index_path, tail.log_id, self._segments, self._codec, tail.end, self._clock, self._progress
            )
        self._index = index
        for damage in tail.damage:
            index.damaged(damage)
        if lost is not None:
            self._bridge(tail, *lost)
        return index

    def _bridge(self, tail: Tail, first: int, last: int) -> None:
        """Positions that were known to readers are gone: they are never given to other events."""
        event = gap_event(tail.log_id, first, last, side_file="", now=self._clock.now())
        self._write(tail, [self._codec.draft(event)], {}, last_position=last)
        self._notices.append(
            f"Positions {first} to {last} of the event log were lost after they had been written; they will be fetched again. "
            "The disk may not keep what it was told to: check it."
        )

    def _read_index(self) -> Index:
        end = 0
        for segment in reversed(self._segments.all()):
            try:
                text = self._segments.text(segment)
            except PackedDamage as error:
                text = error.text
            header = read_header(text, segment.first)
            if header is not None and header[0].format > FORMAT:
                raise newer_format(segment.path)
            self.log_id = self.log_id or (header[0].log if header else "")
            lines = [item.position for item in self._segments.walk(segment) if isinstance(item, Line)]
            end = max(end, *lines, 0)
            if self.log_id and end:
                break
        try:
            return open_index_to_read(self._index_path, self.log_id)
        except IndexStale:
            return build_index(None, self.log_id, self._segments, self._codec, end, self._clock, self._progress)

    # --- what it is -------------------------------------------------------------------------------------------------

    @property
    def end(self) -> int:
        """The last position; 0 when the log is empty. Positions start at 1."""
        return self._tail.end if self._tail is not None else self._order.end()

    @property
    def notices(self) -> tuple[str, ...]:
        """What was put right at opening, in words."""
        return tuple(self._notices)

    @property
    def damage(self) -> list[Damage]:
        """Every damage that was found so far, by the background check too."""
        known = self._order.damage()
        return known + [damage for damage in self._found if damage not in known]

    @property
    def verified_at(self) -> datetime | None:
        """Since when every sealed segment has been read and checked whole; None when one never was."""
        verified = self._order.verified()
        times = [verified.get(segment.first) for segment in self._segments.all()[:-1]]
        if not times:
            return self._opened_at
        return min((time for time in times if time is not None), default=None) if None not in times else None

    def size(self) -> LogSize:
        """How big it is."""
        segments = self._segments.all()
        files = self._segments.files
        return LogSize(
            bytes=sum(files.size(segment.path) for segment in segments), segments=len(segments), positions=self.end
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
        tail = self._writer()
        drafts = [self._codec.draft(event) for event in events]
        places = [draft.entry.place for draft in drafts]
        known = self._index.known(places)
        new, revisions = drafts, 0
        if known or len(set(places)) < len(places):
            new, revisions = self._without_duplicates(drafts, known)
        first = tail.end + 1
        self._write(tail, new, known)
        return Appended(
            first=first, last=tail.end, appended=len(new), duplicates=len(drafts) - len(new), revisions=revisions
        )

    def _without_duplicates(
        self, drafts: Sequence[Draft], known: Mapping[Place, Sequence[Known]]
    ) -> tuple[list[Draft], int]:
        """The drafts that say something new, and how many of them revise an event."""
        new: list[Draft] = []
        revisions = 0
        fresh: dict[Place, list[Draft]] = {}
        for draft in drafts:
            place = draft.entry.place
            earlier, stored = fresh.get(place, []), known.get(place, ())
            if earlier or stored:
                if self._is_there(draft, earlier, stored):
                    continue
                revisions += 1
            fresh[place] = [*earlier, draft]
            new.append(draft)
        return new, revisions

    def _is_there(self, draft: Draft, fresh: Sequence[Draft], known: Sequence[Known]) -> bool:
        digest = draft.entry.digest
        if any(seen.digest == digest for seen in known) or any(seen.entry.digest == digest for seen in fresh):
            return True
        if draft.entry.kind != draft.event.kind:
            return False
        # the same body may have been written with other bytes, by an earlier release
        others = [self._codec.event(record) for record in self._segments.readable(known)]
        others += [other.event for other in fresh if other.entry.kind == other.event.kind]
        return any(other.kind == draft.event.kind and other.body == draft.event.body for other in others)

    def _writer(self) -> Tail:
        if self._tail is None:
            raise ValueError("this log was opened for reading")
        if self._index.end != self._tail.end:  # an earlier append reached the log and not the index
            catch_up(self._index, self._segments, self._codec, self._tail.end, self._clock)
        return self._tail

    def _write(
        self,
        tail: Tail,
        drafts: Sequence[Draft],
        known: Mapping[Place, Sequence[Known]],
        last_position: int | None = None,
    ) -> None:
        """Write and take up ``drafts``; the last position is ``last_position`` where they are a gap."""
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
            self._take_up(tail, taken, known)
            if records:  # a new segment begins; what was taken up so far may be revised by the rest
                known = self._index.known(entry.place for entry in entries)

    def _take_up(self, tail: Tail, entries: Sequence[Entry], known: Mapping[Place, Sequence[Known]]) -> None:
        try:
            self._index.add(
                entries,
                known,
                end=tail.end,
                crc=tail.crc,
                rank=ranker(self._segments, self._codec),
                decoders=self._codec.decoders,
            )
        except sqlite3.Error as error:
            code = errno.ENOSPC if "full" in str(error) else errno.EIO
            if not isinstance(error, sqlite3.OperationalError):
                remove_index(self._index_path)  # harmed: built again at the next start
            raise OSError(code, f"the log's index cannot be written: {error}", str(self._index_path)) from error

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
        events = [self._codec.event(record) for record in self._segments.records(places)]
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
        first = self._order.neighbour(stream_id, -(1 << 63), kinds, before=False)
        last = self._order.neighbour(stream_id, (1 << 63) - 1, kinds, before=True)
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
        """(position, stream, key, kind) of the pump's events behind ``after_pos``, by position, revisions too."""
        return self._order.touched(after_pos, self.end if up_to_pos is None else up_to_pos, limit)

    def facts(self, kind: str, *, source: str | None = None, pump: str | None = None, limit: int = 100) -> list[Event]:
        """The newest records of ``kind`` by position, newest first: facts about the data, or rare events of a pump."""
        places = self._order.facts(kind, pump) if kind in FACTS else self._order.of_kind(kind, pump)
        found: list[Event] = []
        for place in places:
            event = self._event_at(place)
            if source is None or event.source == source:
                found.append(event)
            if len(found) >= limit:
                break
        return found

    def events(
        self, after_pos: int = 0, *, kinds: frozenset[str] | None = None, pump: str | None = None
    ) -> Iterator[Event]:
        """Everything behind ``after_pos`` as it was appended: revisions, facts and gaps too. Reads the log, not the index."""
        segments = self._segments.all()
        first = self._segments.holding(after_pos + 1).first if segments else 0
        for segment in segments:
            if segment.first < first:
                continue
            for item in self._segments.walk(segment):
                if isinstance(item, Run):
                    if item.last_position is None and segment is segments[-1]:
                        return  # a writer beside us is in the middle of a line
                    if item.last_position is None or item.last_position > after_pos:
                        raise damage_of(segment, item).error()
                elif item.position > after_pos:
                    event = self._codec.event(item.record)
                    if (kinds is None or event.kind in kinds) and (pump is None or event.pump == pump):
                        yield event

    def _event_at(self, place: tuple[int, int]) -> Event:
        return self._codec.event(self._segments.records([place])[0])

    # --- care -------------------------------------------------------------------------------------------------------

    def maintain(self, budget: int = 1) -> int:
        """At most ``budget`` pieces of work in the background: compress a sealed segment, or read one again and check it.

        Answers how many there were. What it finds harmed is in :attr:`damage`. OSError as :meth:`append`.
        """
        self._writer()
        done = 0
        while done < budget and (self._compress_one() or self._verify_one()):
            done += 1
        return done

    def _compress_one(self) -> bool:
        harmed = {damage.path for damage in self.damage}
        for segment in self._segments.all()[:-1]:
            if not segment.packed and str(segment.path) not in harmed:
                if self._verify(segment.first):
                    self._segments.pack(segment)
                return True
        return False

    def _verify_one(self) -> bool:
        verified, now = self._order.verified(), self._clock.now()
        due = [
            (verified.get(segment.first), segment.first)
            for segment in self._segments.all()[:-1]
            if segment.first not in verified or now - verified[segment.first] > VERIFY_AGAIN
        ]
        if not due:
            return False
        never = [first for at, first in due if at is None]
        self._verify(never[0] if never else min((at, first) for at, first in due if at is not None)[1])
        return True

    def _verify(self, first: int) -> bool:
        segment = self._segments.holding(first)
        found = [damage_of(segment, item) for item in self._segments.walk(segment) if isinstance(item, Run)]
        for damage in found:
            self._index.damaged(damage)
        self._index.verified(first, self._clock.now().isoformat())
        return not found

    def close(self) -> None:
        """Give the files back. Fine to call twice."""
        if self._tail is not None:
            self._tail.close()
        self._index.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
