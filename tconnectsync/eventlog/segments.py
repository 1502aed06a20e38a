"""The files of the log: finds the segments in the folder, and reads verified lines from them.

A segment is ``<first position, 12 digits>.jsonl``. All but the last are sealed and may be compressed to ``.jsonl.gz``. Other files
in the folder (side files of repairs, torn tails) are ignored.
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from tconnectsync.errors import LogCorrupt
from tconnectsync.eventlog import segment_continuity as continuity
from tconnectsync.eventlog.compression import SegmentCorrupt, pack, unpack, unpack_head
from tconnectsync.eventlog.damage import PACKED, PLAIN, Damage, IndexMismatch, Segment, damages
from tconnectsync.eventlog.framing import (
    FORMAT,
    DamagedRange,
    Line,
    SegmentHeader,
    line_at,
    read_header,
    stored_crc,
    walk,
)
from tconnectsync.eventlog.pieces import MARGIN, pieces
from tconnectsync.filesystem import TEMPORARY, Files

_NAME = re.compile(r"(\d{12})\.jsonl(?:\.gz)?")
_MAX_CACHED = 2
_HEADER_BYTES = 4096
_BLOCK = 4096
UNREADABLE = frozenset({errno.EIO, errno.EISDIR, errno.EUCLEAN, errno.EBADMSG})
"""Errors of a disk that cannot read a file. Other errors (no permission, no memory) do not mean that the file is corrupt."""

T = TypeVar("T")


class Segments:
    """The segments in ``folder``, oldest first. It caches the last two decompressed texts.

    ``follow``: another process writes there, so new segments may appear at any time.
    """

    def __init__(self, folder: Path, files: Files, *, follow: bool = False) -> None:
        self.folder = folder
        self.files = files
        self._follow = follow
        self._names: Sequence[str] | None = None
        self._list: list[Segment] = []
        self._firsts: list[int] = []
        self._texts: dict[int, bytes] = {}
        self._own: set[int] = set()
        self.log_id = ""
        """The id of the log, as soon as it is known. A segment of another log counts as damage."""
        self.refresh()

    def refresh(self) -> None:
        """Read the names in the folder again."""
        found: dict[int, Segment] = {}
        if (names := self.files.names(self.folder)) == self._names:
            return
        self._names = names
        for name in names:
            match = _NAME.fullmatch(name)
            # a crash during compression may leave both: the plain file is complete
            if match and ((first := int(match[1])) not in found or name.endswith(PLAIN)):
                found[first] = Segment(first=first, folder=self.folder, name=name)
        self._firsts, self._list = list(found), list(found.values())  # the names are sorted
        self._texts = {first: text for first, text in self._texts.items() if first in found and found[first].packed}

    def all(self) -> Sequence[Segment]:
        """Return every segment, oldest first."""
        if self._follow:
            self.refresh()
        return tuple(self._list)

    def sizes(self, segments: Iterable[Segment]) -> list[int]:
        """Return the size of each segment on disk."""
        known = self.files.sizes(self.folder)
        return [
            known.get(each.name) or self._retry(each, lambda found: self.files.size(found.path)) for each in segments
        ]

    def path_for(self, first: int, ending: str = PLAIN) -> Path:
        """Return the path for the segment that starts at ``first``."""
        return self.folder / f"{first:012d}{ending}"

    def containing(self, position: int, *, look: bool = True) -> Segment:
        """Return the segment that contains ``position``, or would contain it. ``look``: another process may have begun it."""
        if look and self._follow and (not self._list or position > self._firsts[-1]):
            self.refresh()
        if not self._list:
            raise FileNotFoundError(self.folder)
        return self._list[max(0, bisect.bisect_right(self._firsts, position) - 1)]

    def text(self, segment: Segment) -> tuple[bytes, str]:
        """Return the readable text of ``segment``, decompressed, and what is wrong with its file (empty: nothing)."""
        try:
            return self._retry(segment, self._text), ""
        except SegmentCorrupt as error:
            return error.text, error.what

    def forget_texts(self) -> None:
        """Drop the cached texts: about a megabyte each."""
        self._texts.clear()

    def _text(self, segment: Segment) -> bytes:
        if not segment.packed:
            return self._content(segment)
        text = self._texts.pop(segment.first, None)
        if text is None:
            text = unpack(self._content(segment))
        self._texts[segment.first] = text
        while len(self._texts) > _MAX_CACHED:
            del self._texts[next(iter(self._texts))]
        return text

    def _content(self, segment: Segment) -> bytes:
        """Return the bytes of the file. Errors: SegmentCorrupt, whose text has zeros for unreadable blocks."""
        try:
            return self.files.read(segment.path)
        except OSError as error:
            if error.errno not in UNREADABLE:
                raise
            what = f"the disk cannot read this file ({error.strerror})"
        data = bytearray()
        with contextlib.suppress(OSError):
            size = 0 if segment.path.is_dir() else self.files.size(segment.path)
            for start in range(0, size, _BLOCK):
                length = min(_BLOCK, size - start)
                try:
                    data += self.files.read(segment.path, start, length)
                except OSError:
                    data += bytes(length)
        text = bytes(data)
        if segment.packed:
            try:
                text = unpack(text)
            except SegmentCorrupt as error:
                text = error.text
        raise SegmentCorrupt(text, what)

    def header(self, segment: Segment) -> SegmentHeader | None:
        """Return the header; None if it is corrupt."""
        found = self._retry(segment, self._header)
        return found[0] if found else None

    def _header(self, segment: Segment) -> tuple[SegmentHeader, int, int] | None:
        try:
            head = self.files.read(segment.path, 0, _HEADER_BYTES)
        except OSError as error:
            if error.errno not in UNREADABLE:
                raise
            return None
        return read_header(unpack_head(head, _HEADER_BYTES) if segment.packed else head, segment.first)

    def find_log_id(self) -> str:
        """Return the log id that most segments have; on a tie, the oldest. Empty if no header can be read."""
        if not self._list:
            return ""
        ends = [self.header(segment) for segment in {self._list[0], self._list[-1]}]
        ids = {header.log for header in ends if header is not None}
        if len(ids) == 1 and None not in ends:
            return ids.pop()
        every = [self.header(segment) for segment in self._list]
        count = Counter(header.log for header in every if header is not None)
        return max(count, key=lambda log_id: count[log_id], default="")

    def check_release(self) -> None:
        """Check that no newer release wrote the first or the last segment. Errors: LogCorrupt."""
        for segment in (*self._list[:1], *self._list[-1:]):
            header = self.header(segment)
            if header is not None and header.format > FORMAT:
                raise continuity.newer_release_error(segment.path)

    def walk(self, segment: Segment) -> Iterator[Line | DamagedRange]:
        """Yield every record of ``segment``, and every damage in it and between it and its neighbours.

        Damage that reaches the end of the log has no ``last_position``.
        """
        text, problem = self.text(segment)
        header = read_header(text, segment.first)
        foreign = continuity.foreign_reason(header[0], self.log_id) if header else None
        if segment.first == self._firsts[0] and segment.first != 1:
            yield continuity.missing_start(segment.first, int(header[0].chain, 16) if header and not foreign else None)
        last: Line | None = None
        found = False
        tail: DamagedRange | None = continuity.all_damaged(text, segment.first, foreign) if foreign else None
        for item in walk(text, segment.first) if not foreign else ():
            if isinstance(item, DamagedRange):
                if item.last_position is None:
                    tail = msgspec.structs.replace(item, what=problem) if problem and not last else item
                    break
                found = True
            else:
                last = item
            yield item
        following = self._following(segment)
        if tail is None and problem and (following is None or not found):
            tail = continuity.damaged_end(text, segment.first, last, problem)
        if following is not None:
            next_chain = self._chain_of(following)
            if tail is None:
                tail = continuity.damage_between(text, segment.first, last, following.first, next_chain)
            else:
                tail = continuity.ending_at_next(tail, following.first, next_chain)
        if tail is not None:
            yield tail

    def _following(self, segment: Segment) -> Segment | None:
        at = bisect.bisect_right(self._firsts, segment.first)
        return self._list[at] if at < len(self._list) else None

    def _chain_of(self, segment: Segment) -> int | None:
        """Return the checksum that the segment's header continues; None if it is corrupt or of another log."""
        header = self.header(segment)
        if header is None or continuity.foreign_reason(header, self.log_id):
            return None
        return int(header.chain, 16)

    def records(self, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return the verified records at (position, offset), in that order. Errors: LogCorrupt."""
        return [line.record for line in self._lines(wanted)]

    def line_crc(self, location: tuple[int, int]) -> int:
        """Return the checksum of the line at (position, offset). Errors: LogCorrupt."""
        return self._lines([location])[0].crc

    def _lines(self, wanted: Sequence[tuple[int, int]]) -> list[Line]:
        found: dict[tuple[int, int], Line] = {}
        if wanted:
            self.containing(max(wanted)[0])  # looks for new segments once, not for each record
        waiting = sorted(wanted)  # by position, so by segment and then by offset
        while waiting:
            segment = self.containing(waiting[0][0], look=False)
            following = self._following(segment)
            end = bisect.bisect_left(waiting, (following.first,)) if following is not None else len(waiting)
            here, waiting = waiting[:end], waiting[end:]
            for piece in pieces(here):
                found.update(self._retry(segment, partial(self._read, locations=piece)))
        return [found[location] for location in wanted]

    def readable_records(self, wanted: Iterable[tuple[int, int]]) -> list[bytes]:
        """Return the records at (position, offset), and skip corrupt ones."""
        found = []
        for location in wanted:
            with contextlib.suppress(LogCorrupt):
                found += self.records([location])
        return found

    def _read(self, segment: Segment, locations: list[tuple[int, int]]) -> dict[tuple[int, int], Line]:
        self._refuse_foreign(segment, locations[0])
        offsets = [offset for _, offset in locations]
        start = 0 if segment.packed else max(0, min(offsets) - MARGIN)
        length = max(offsets) - start + MARGIN
        try:
            text = self._text(segment) if segment.packed else self.files.read(segment.path, start, length)
        except SegmentCorrupt as error:
            text = error.text
        except OSError as error:
            if error.errno not in UNREADABLE:
                raise
            return {location: self._find_by_scan(segment, location) for location in locations}
        found: dict[tuple[int, int], Line] = {}
        before: Line | None = None
        for location in locations:
            position, at = location[0], location[1] - start
            chain = before.crc if before is not None and before.end == at else _crc_before(text, at)
            line = None if chain is None else line_at(text, at, position, chain)
            found[location] = self._find_by_scan(segment, location) if line is None else line
            before = line
        return found

    def _refuse_foreign(self, segment: Segment, location: tuple[int, int]) -> None:
        """Refuse a file of another log or of a newer format, even if its lines are correct. Errors: LogCorrupt."""
        if segment.first in self._own:
            return
        header = self._header(segment)
        if header is not None and continuity.foreign_reason(header[0], self.log_id):
            raise self._error_at(segment, location)
        self._own.add(segment.first)

    def _find_by_scan(self, segment: Segment, location: tuple[int, int]) -> Line:
        """Return the line by reading the whole segment: a neighbouring line may be corrupt and this one correct."""
        for item in self.walk(segment):
            if isinstance(item, Line) and item.offset == location[1] and item.position == location[0]:
                return item
        raise self._error_at(segment, location)

    def _error_at(self, segment: Segment, location: tuple[int, int]) -> LogCorrupt:
        """Return the error at ``location``; IndexMismatch if the whole segment is correct."""
        found = list(damages(segment, self.walk(segment)))
        for damage in found:
            if damage.position is not None and damage.position <= location[0]:
                last = damage.last_position
                if last is None or location[0] <= last:
                    return damage.error()
        what = "it is not where the index says"
        error = Damage(path=str(segment.path), line=1, position=location[0], what=what).error()
        return error if found else IndexMismatch(error.message, path=error.path, line=1, position=location[0])

    def _retry(self, segment: Segment, read: Callable[[Segment], T]) -> T:
        """Call ``read``; try once more if another process has compressed the file meanwhile."""
        try:
            return read(segment)
        except FileNotFoundError:
            self.refresh()
            return read(self.containing(segment.first))

    def pack(self, segment: Segment) -> None:
        """Compress a sealed segment. At every moment one complete copy is on disk."""
        try:
            text = self.files.read(segment.path)
        except FileNotFoundError:  # compressed already, but the refresh failed
            self.refresh()
            return
        target = self.path_for(segment.first, PACKED)
        temporary = target.with_name(target.name + TEMPORARY)
        self.files.write(temporary, pack(text))
        try:
            same = unpack(self.files.read(temporary)) == text
        except SegmentCorrupt:
            same = False
        if not same:
            raise OSError(errno.EIO, "the compressed file cannot be read back", str(temporary))
        self.files.rename(temporary, target)
        self.files.sync_folder(self.folder)
        self.files.remove(segment.path)
        self.refresh()


def _crc_before(text: bytes, offset: int) -> int | None:
    """Return the checksum in the line before the one at ``offset``; None if it has none."""
    return stored_crc(text, text.rfind(b"\n", 0, offset - 1) + 1) if offset > 0 else None
