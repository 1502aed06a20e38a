"""The log's folder: segments by name, plain or compressed, and the reading of lines from them.

A segment is ``<first position, 12 digits>.jsonl``; all but the last are sealed and may be compressed to ``.jsonl.gz``.
Anything else in the folder (side files of repairs, torn tails) is left alone.
"""

from __future__ import annotations

import bisect
import contextlib
import errno
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import attrs

from tconnectsync.errors import LogCorrupt
from tconnectsync.eventlog import continuity as seams
from tconnectsync.eventlog.compression import Harmed, pack, unpack, unpack_head
from tconnectsync.eventlog.framing import (
    FORMAT,
    RECORD_AT,
    DamagedRange,
    Line,
    SegmentHeader,
    holds,
    read_header,
    walk,
    written_crc,
)
from tconnectsync.filesystem import TEMPORARY, Files

PLAIN = ".jsonl"
PACKED = ".jsonl.gz"

_NAME = re.compile(r"(\d{12})\.jsonl(?:\.gz)?")
_MARGIN = 64 << 10
_CACHED = 2
_HEADER_BYTES = 4096
_BLOCK = 4096
HARM = frozenset({errno.EIO, errno.EISDIR, errno.EUCLEAN, errno.EBADMSG})
"""What a disk says of a file that it cannot give back. Anything else (no permission, no memory) is no harm to the file."""

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Segment:
    """One file of the log: its first position, and where it is."""

    first: int
    path: Path

    @property
    def packed(self) -> bool:
        """Whether it is compressed."""
        return self.path.name.endswith(PACKED)


@attrs.frozen(kw_only=True)
class Damage:
    """A place where the log is not what was written: ``line`` is from 1, ``position`` the first that is missing."""

    path: str
    line: int
    position: int | None
    what: str
    last_position: int | None = None

    def error(self) -> LogCorrupt:
        """The error to raise where this is needed."""
        where = f"position {self.position}" if self.position is not None else "a position unknown"
        return LogCorrupt(
            f"The event log is damaged: {self.path}, line {self.line} ({where}): {self.what}. "
            "What stands there cannot be used; everything else can.",
            path=self.path,
            line=self.line,
            position=self.position,
        )


class IndexMismatch(LogCorrupt):
    """The log is as it was written; what it was asked for is not there."""


class Segments:
    """The segments in ``folder``, oldest first; reading keeps the last two decompressed ones.

    ``follow``: another process writes there, so that new segments may appear at any time.
    """

    def __init__(self, folder: Path, files: Files, *, follow: bool = False) -> None:
        self.folder = folder
        self.files = files
        self._follow = follow
        self._list: list[Segment] = []
        self._firsts: list[int] = []
        self._texts: dict[int, bytes] = {}
        self._known: set[int] = set()
        self.log_id = ""
        """The log that these are of, once it is known; a segment of another one counts as damage."""
        self.refresh()

    def refresh(self) -> None:
        """Look at the folder again."""
        found: dict[int, Segment] = {}
        for name in self.files.names(self.folder):
            match = _NAME.fullmatch(name)
            # a crash while compressing may leave both: the plain one is whole
            if match and (int(match[1]) not in found or name.endswith(PLAIN)):
                found[int(match[1])] = Segment(first=int(match[1]), path=self.folder / name)
        self._list = [found[first] for first in sorted(found)]
        self._firsts = sorted(found)
        self._texts = {first: text for first, text in self._texts.items() if first in found and found[first].packed}

    def all(self) -> Sequence[Segment]:
        """Every segment, oldest first."""
        if self._follow:
            self.refresh()
        return tuple(self._list)

    def total_bytes(self) -> int:
        """What they take on disk."""
        return sum(map(self.size, self._list))

    def size(self, segment: Segment) -> int:
        """What one takes on disk."""
        return self._retry(segment, lambda found: self.files.size(found.path))

    def path_for(self, first: int, ending: str = PLAIN) -> Path:
        """Where the segment that starts at ``first`` goes."""
        return self.folder / f"{first:012d}{ending}"

    def holding(self, position: int) -> Segment:
        """The segment that holds ``position``, or would."""
        if self._follow and (not self._list or position > self._firsts[-1]):
            self.refresh()
        if not self._list:
            raise FileNotFoundError(self.folder)
        return self._list[max(0, bisect.bisect_right(self._firsts, position) - 1)]

    def text(self, segment: Segment) -> bytes:
        """All that ``segment`` says, decompressed. Harmed when its file cannot be read whole."""
        return self._retry(segment, self._text)

    def forget_texts(self) -> None:
        """Keep no decompressed segment: a megabyte each, which otherwise stays until another one is read."""
        self._texts.clear()

    def _text(self, segment: Segment) -> bytes:
        if not segment.packed:
            return self._content(segment)
        text = self._texts.pop(segment.first, None)
        if text is None:
            text = unpack(self._content(segment))
        self._texts[segment.first] = text
        while len(self._texts) > _CACHED:
            del self._texts[next(iter(self._texts))]
        return text

    def _content(self, segment: Segment) -> bytes:
        """The bytes of the file. Harmed, with zeros for what the disk does not give back."""
        try:
            return self.files.read(segment.path)
        except OSError as error:
            if error.errno not in HARM:
                raise
            what = f"the disk does not give this file back ({error.strerror})"
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
            except Harmed as error:
                text = error.text
        raise Harmed(text, what)

    def header(self, segment: Segment) -> SegmentHeader | None:
        """What the header says; None when it is not what was written."""
        found = self._retry(segment, self._header)
        return found[0] if found else None

    def _header(self, segment: Segment) -> tuple[SegmentHeader, int, int] | None:
        try:
            head = self.files.read(segment.path, 0, _HEADER_BYTES)
        except OSError as error:
            if error.errno not in HARM:
                raise
            return None
        return read_header(unpack_head(head, _HEADER_BYTES) if segment.packed else head, segment.first)

    def owner(self) -> str:
        """The id of the log that these are of: what most of them say, of as many the oldest. Empty: none can be read."""
        if not self._list:
            return ""
        ends = [self.header(segment) for segment in {self._list[0], self._list[-1]}]
        ids = {header.log for header in ends if header is not None}
        if len(ids) == 1 and None not in ends:
            return ids.pop()
        every = [self.header(segment) for segment in self._list]
        count = Counter(header.log for header in every if header is not None)
        return max(count, key=lambda log_id: count[log_id], default="")

    def newer(self) -> Segment | None:
        """A segment that a later release wrote, where the first or the last is one."""
        for segment in (*self._list[:1], *self._list[-1:]):
            header = self.header(segment)
            if header is not None and header.format > FORMAT:
                return segment
        return None

    def walk(self, segment: Segment) -> Iterator[Line | DamagedRange]:
        """Every record of ``segment`` and every damage in it, and at its seams to the segments around it.

        Damage that reaches to the end of the log has no ``last_position``.
        """
        try:
            text, harm = self.text(segment), ""
        except Harmed as error:
            text, harm = error.text, error.what
        header = read_header(text, segment.first)
        strange = seams.stranger(header[0], self.log_id, FORMAT) if header else None
        if segment.first == self._firsts[0] and segment.first != 1:
            yield seams.missing_before(segment.first, int(header[0].chain, 16) if header and not strange else None)
        last: Line | None = None
        found = False
        tail: DamagedRange | None = seams.whole(text, segment.first, strange) if strange else None
        for item in walk(text, segment.first) if not strange else ():
            if isinstance(item, DamagedRange):
                if item.last_position is None:
                    tail = attrs.evolve(item, what=harm) if harm and not last else item
                    break
                found = True
            else:
                last = item
            yield item
        following = self._following(segment)
        if tail is None and harm and (following is None or not found):
            tail = seams.cut_short(text, segment.first, last, harm)
        if following is not None:
            next_chain = self._chain_of(following)
            if tail is None:
                tail = seams.between(text, segment.first, last, following.first, next_chain)
            else:
                tail = seams.bounded(tail, following.first, next_chain)
        if tail is not None:
            yield tail

    def _following(self, segment: Segment) -> Segment | None:
        at = bisect.bisect_right(self._firsts, segment.first)
        return self._list[at] if at < len(self._list) else None

    def _chain_of(self, segment: Segment) -> int | None:
        """What the segment's header says that it follows; None when it is harmed, or not of this log."""
        header = self.header(segment)
        if header is None or seams.stranger(header, self.log_id, FORMAT):
            return None
        return int(header.chain, 16)

    def records(self, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        """The records at (position, offset), in that order, each verified. LogCorrupt where one is not what was written."""
        found: dict[tuple[int, int], bytes] = {}
        by_segment: dict[int, list[tuple[int, int]]] = {}
        for position, offset in wanted:
            by_segment.setdefault(self.holding(position).first, []).append((position, offset))
        for places in by_segment.values():
            places.sort(key=lambda place: place[1])
            segment = self.holding(places[0][0])
            found.update(self._retry(segment, lambda segment, places=places: self._read(segment, places)))  # type: ignore[misc]  # bound now
        return [found[place] for place in wanted]

    def readable(self, wanted: Iterable[tuple[int, int, bytes]]) -> list[bytes]:
        """The records at (position, offset, …) that are what was written; the others are left out."""
        found = []
        for position, offset, _ in wanted:
            with contextlib.suppress(LogCorrupt):
                found += self.records([(position, offset)])
        return found

    def line_crc(self, place: tuple[int, int]) -> int:
        """The checksum of the line at (position, offset). LogCorrupt when it is not what was written."""
        self.records([place])
        segment = self.holding(place[0])
        text = self.text(segment)[place[1] : place[1] + RECORD_AT] if segment.packed else b""
        text = text or self.files.read(segment.path, place[1], RECORD_AT)
        return written_crc(text) or 0

    def _read(self, segment: Segment, places: list[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        self._refuse_stranger(segment, places[0])
        start = 0
        try:
            if segment.packed:
                text = self._text(segment)
            else:
                start = max(0, places[0][1] - _MARGIN)
                text = self.files.read(segment.path, start, places[-1][1] - start + _MARGIN)
        except Harmed as error:
            text = error.text
        except OSError as error:
            if error.errno not in HARM:
                raise
            return {place: self._with_care(segment, place) for place in places}
        found: dict[tuple[int, int], bytes] = {}
        crc_end, crc = -1, 0
        for place in places:
            at = place[1] - start
            end = text.find(b"\n", at) + 1
            before = text[text.rfind(b"\n", 0, max(at - 1, 0)) + 1 : at]
            chain = crc if crc_end == at else written_crc(before)
            line = text[at:end]
            if (
                not end
                or chain is None
                or not holds(line, chain)
                or not line.startswith(b'{"pos":%d,' % place[0], RECORD_AT)
            ):
                found[place] = self._with_care(segment, place)
                continue
            crc_end, crc = end, int(line[8:16], 16)
            found[place] = line[RECORD_AT:-2]
        return found

    def _refuse_stranger(self, segment: Segment, place: tuple[int, int]) -> None:
        """A file that was put in a segment's place is not believed, however well its lines hold."""
        if segment.first in self._known:
            return
        header = self._header(segment)
        if header is not None and seams.stranger(header[0], self.log_id, FORMAT):
            raise self._diagnose(segment, place)
        self._known.add(segment.first)

    def _with_care(self, segment: Segment, place: tuple[int, int]) -> bytes:
        """The record at ``place`` by reading the whole segment: a neighbour may be harmed and this line good."""
        for item in self.walk(segment):
            if isinstance(item, Line) and item.offset == place[1] and item.position == place[0]:
                return item.record
        raise self._diagnose(segment, place)

    def _diagnose(self, segment: Segment, place: tuple[int, int]) -> LogCorrupt:
        """What is wrong at ``place``; Misplaced where all of the segment is as it was written."""
        harmed = list(damages(segment, self.walk(segment)))
        for damage in harmed:
            if damage.position is not None and damage.position <= place[0]:
                last = damage.last_position
                if last is None or place[0] <= last:
                    return damage.error()
        what = "it is not where the index says"
        error = Damage(path=str(segment.path), line=1, position=place[0], what=what).error()
        return error if harmed else IndexMismatch(error.message, path=error.path, line=1, position=place[0])

    def _retry(self, segment: Segment, read: Callable[[Segment], T]) -> T:
        """Read; once more when another process compressed the file in between."""
        try:
            return read(segment)
        except FileNotFoundError:
            self.refresh()
            return read(self.holding(segment.first))

    def pack(self, segment: Segment) -> None:
        """Compress a sealed segment; at every moment one whole copy is on disk."""
        try:
            text = self.files.read(segment.path)
        except FileNotFoundError:  # it was done; looking at the folder failed then
            self.refresh()
            return
        target = self.path_for(segment.first, PACKED)
        temporary = target.with_name(target.name + TEMPORARY)
        self.files.write(temporary, pack(text))
        try:
            same = unpack(self.files.read(temporary)) == text
        except Harmed:
            same = False
        if not same:
            raise OSError(errno.EIO, "it does not read back as it was written", str(temporary))
        self.files.rename(temporary, target)
        self.files.sync_folder(self.folder)
        self.files.remove(segment.path)
        self.refresh()


def damages(segment: Segment, items: Iterator[Line | DamagedRange]) -> Iterator[Damage]:
    """What is damaged among ``items`` of ``segment``."""
    for item in items:
        if isinstance(item, DamagedRange):
            yield damage_of(segment, item)


def damage_of(segment: Segment, run: DamagedRange) -> Damage:
    """A run of harmed lines, as it is told."""
    return Damage(
        path=str(segment.path),
        line=run.line,
        position=run.first_position,
        last_position=run.last_position,
        what=run.what,
    )
