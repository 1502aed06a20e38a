"""The log's folder: segments by name, plain or compressed, and the reading of lines from them.

A segment is ``<first position, 12 digits>.jsonl``; all but the last are sealed and may be compressed to ``.jsonl.gz``.
Anything else in the folder (side files of repairs, torn tails) is left alone.
"""

from __future__ import annotations

import bisect
import contextlib
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import attrs

from tconnectsync.errors import LogDamaged
from tconnectsync.eventlog.files import Files
from tconnectsync.eventlog.lines import RECORD_AT, Line, Run, holds, walk, written_crc

PLAIN = ".jsonl"
PACKED = ".jsonl.gz"
TEMPORARY = ".tmp"

_NAME = re.compile(r"(\d{12})\.jsonl(?:\.gz)?")
_MARGIN = 64 << 10
_CACHED = 2

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

    def error(self) -> LogDamaged:
        """The error to raise where this is needed."""
        where = f"position {self.position}" if self.position is not None else "a position unknown"
        return LogDamaged(
            f"The event log is damaged: {self.path}, line {self.line} ({where}): {self.what}. "
            "What stands there cannot be used; everything else can.",
            path=self.path,
            line=self.line,
            position=self.position,
        )


class PackedDamage(Exception):
    """A compressed segment that does not decompress whole. ``text`` is what did."""

    def __init__(self, text: bytes) -> None:
        super().__init__()
        self.text = text


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
        return sum(self._retry(segment, lambda found: self.files.size(found.path)) for segment in self._list)

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
        """All that ``segment`` says, decompressed. PackedDamage when that fails, and then no more is known."""
        return self._retry(segment, self._text)

    def _text(self, segment: Segment) -> bytes:
        if not segment.packed:
            return self.files.read(segment.path)
        text = self._texts.pop(segment.first, None)
        if text is None:
            text = unpack(self.files.read(segment.path))
        self._texts[segment.first] = text
        while len(self._texts) > _CACHED:
            del self._texts[next(iter(self._texts))]
        return text

    def walk(self, segment: Segment) -> Iterator[Line | Run]:
        """Every record of ``segment`` and every damage in it."""
        try:
            text = self.text(segment)
        except PackedDamage as error:
            text = error.text
            last, run = segment.first - 1, None
            for item in walk(text, segment.first):
                if isinstance(item, Run) and item.last_position is None:
                    run = item
                    break
                yield item
                last = item.position if isinstance(item, Line) else item.last_position or last
            yield run or Run(
                line=text.count(b"\n") + 1,
                lines=0,
                offset=len(text),
                end=len(text),
                first_position=last + 1,
                last_position=None,
                next_chain=None,
                what="the compressed file is harmed from here on",
            )
            return
        yield from walk(text, segment.first)

    def records(self, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        """The records at (position, offset), in that order, each verified. LogDamaged where one is not what was written."""
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
            with contextlib.suppress(LogDamaged):
                found += self.records([(position, offset)])
        return found

    def line_crc(self, place: tuple[int, int]) -> int:
        """The checksum of the line at (position, offset). LogDamaged when it is not what was written."""
        self.records([place])
        segment = self.holding(place[0])
        text = self.text(segment)[place[1] : place[1] + RECORD_AT] if segment.packed else b""
        text = text or self.files.read(segment.path, place[1], RECORD_AT)
        return written_crc(text) or 0

    def _read(self, segment: Segment, places: list[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        try:
            if segment.packed:
                start, text = 0, self.text(segment)
            else:
                start = max(0, places[0][1] - _MARGIN)
                text = self.files.read(segment.path, start, places[-1][1] - start + _MARGIN)
        except PackedDamage:
            raise self._diagnose(segment, places[0]) from None
        found: dict[tuple[int, int], bytes] = {}
        crc_end, crc = -1, 0
        for place in places:
            at = place[1] - start
            end = text.find(b"\n", at) + 1
            before = text[text.rfind(b"\n", 0, max(at - 1, 0)) + 1 : at]
            chain = crc if crc_end == at else written_crc(before)
            line = text[at:end]
            if not end or chain is None or not holds(line, chain):
                found[place] = self._with_care(segment, place)
                continue
            crc_end, crc = end, int(line[8:16], 16)
            found[place] = line[RECORD_AT:-2]
        return found

    def _with_care(self, segment: Segment, place: tuple[int, int]) -> bytes:
        """The record at ``place`` by reading the whole segment: a neighbour may be harmed and this line good."""
        for item in self.walk(segment):
            if isinstance(item, Line) and item.offset == place[1] and item.position == place[0]:
                return item.record
        raise self._diagnose(segment, place)

    def _diagnose(self, segment: Segment, place: tuple[int, int]) -> LogDamaged:
        for damage in damages(segment, self.walk(segment)):
            if damage.position is not None and damage.position <= place[0]:
                last = damage.last_position
                if last is None or place[0] <= last:
                    return damage.error()
        what = "it is not where the index says"
        return Damage(path=str(segment.path), line=1, position=place[0], what=what).error()

    def _retry(self, segment: Segment, read: Callable[[Segment], T]) -> T:
        """Read; once more when another process compressed the file in between."""
        try:
            return read(segment)
        except FileNotFoundError:
            self.refresh()
            return read(self.holding(segment.first))

    def pack(self, segment: Segment) -> None:
        """Compress a sealed segment; at every moment one whole copy is on disk."""
        text = self.files.read(segment.path)
        packer = zlib.compressobj(6, zlib.DEFLATED, 31)
        data = packer.compress(text) + packer.flush()
        target = self.path_for(segment.first, PACKED)
        temporary = target.with_name(target.name + TEMPORARY)
        self.files.write(temporary, data)
        if unpack(self.files.read(temporary)) != text:
            raise OSError(f"{temporary} does not read back as it was written")
        self.files.rename(temporary, target)
        self.files.sync_folder(self.folder)
        self.files.remove(segment.path)
        self.refresh()


def unpack(data: bytes) -> bytes:
    """The text of a compressed segment. PackedDamage when it is not whole."""
    unpacker = zlib.decompressobj(31)
    parts = []
    try:
        # in pieces, so that what comes before the damage is kept
        for start in range(0, len(data), 4096):
            parts.append(unpacker.decompress(data[start : start + 4096]))  # noqa: PERF401 - parts outlive the error
    except zlib.error:
        raise PackedDamage(b"".join(parts)) from None
    text = b"".join(parts)
    if not unpacker.eof or unpacker.unused_data:
        raise PackedDamage(text)
    return text


def damages(segment: Segment, items: Iterator[Line | Run]) -> Iterator[Damage]:
    """What is damaged among ``items`` of ``segment``."""
    for item in items:
        if isinstance(item, Run):
            yield damage_of(segment, item)


def damage_of(segment: Segment, run: Run) -> Damage:
    """A run of harmed lines, as it is told."""
    return Damage(
        path=str(segment.path),
        line=run.line,
        position=run.first_position,
        last_position=run.last_position,
        what=run.what,
    )
