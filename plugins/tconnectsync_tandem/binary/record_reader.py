"""A file of history-log records taken apart. Records have no checksum: damage shows in their headers and their length."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

import attrs

from tconnectsync import FileUnreadable
from tconnectsync_tandem.binary.base64_text import TextPart, decoded, plain
from tconnectsync_tandem.binary.record import HEADER_BYTES, SIZE, header_of, trouble_of

_ENOUGH = 1 << 16
_CHAIN = 8
"""So many records in a row, their numbers rising, are not met by chance."""
_LONGEST_GAP = 100_000
_HELD_BACK = 3
"""So many records before missing bytes may be made of what follows them."""
_ANY_TIME = 2**32 - 1
_ANY_PLACE = 2**63
_RECORDS_LOOKED_AT = 40


def holds_records(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is one of history-log records, as bytes or as base64 text."""
    return _begins(head) or is_text(head)


def is_text(head: bytes) -> bool:
    """Whether the records are written as base64 text."""
    content = b""
    for piece in decoded([head]):
        content += piece.content
        if len(content) >= _RECORDS_LOOKED_AT * SIZE or (piece.trouble and piece.position < len(head)):
            break
    return _begins(content)


def _begins(content: bytes) -> bool:
    """The first record is one, or not far on there is a row of them."""
    if len(content) >= SIZE and trouble_of(content, _ANY_TIME) is None:
        return True
    return any(_is_chain(content, at, _CHAIN, _ANY_TIME) for at in range(0, _RECORDS_LOOKED_AT * SIZE, SIZE))


def _is_chain(content: bytes, at: int, count: int, latest_s: int) -> bool:
    """Whether ``count`` records begin there, one after the other."""
    if at + count * SIZE > len(content):
        return False
    before = None
    for start in range(at, at + count * SIZE, SIZE):
        if trouble_of(content, latest_s, start) is not None:
            return False
        seq = header_of(content, start).seq
        if before is not None and not 0 < seq - before <= _LONGEST_GAP:
            return False
        before = seq
    return True


@attrs.define
class RecordReader:
    """The records of every answer in a file that is read in ``chunks``, in the file's order.

    ``latest_s`` is the latest time, in seconds since 2008, that a record can have. Errors: FileUnreadable, with the byte's position.
    With ``skip_bad`` what cannot be read is left out up to the next records that can; ``skipped`` are the positions. A record is
    then right only where its number follows on the one before, or where a row of records begins: with bytes missing, others
    look like a header. The records beside such a place are left out too: the damage may begin or end in them.
    """

    chunks: Iterable[bytes]
    text: bool
    latest_s: int
    skip_bad: bool
    skipped: list[int] = attrs.field(factory=list)
    _left: bytes = b""
    """What is not read yet."""
    _begin: int = 0
    """How many bytes of records stood before it."""
    _places: list[tuple[int, int]] = attrs.field(factory=list)
    """Number of a byte among those of the records, and where in the file it stands."""
    _held: list[bytes] = attrs.field(factory=list)
    """Records that are told when what follows them is known to be right."""
    _before: int | None = None
    """The number of the last record that was right, in this answer."""
    _lost: int | None = None
    """How many bytes were passed since a record could not be read."""
    _spoiled: list[int] = attrs.field(factory=list)
    """Numbers of bytes that are not what was written."""

    def records(self) -> Iterator[bytes]:
        """Every record once, 26 bytes each."""
        waiting: list[bytes] = []
        size = 0
        for piece in decoded(self.chunks) if self.text else plain(self.chunks):
            self._note_place(piece, self._begin + len(self._left) + size)
            waiting.append(piece.content)
            size += len(piece.content)
            if piece.ends or size >= _ENOUGH:
                yield from self._take(b"".join(waiting), last=piece.ends)
                waiting, size = [], 0
        yield from self._take(b"".join(waiting), last=True)

    def _note_place(self, piece: TextPart, number: int) -> None:
        if piece.trouble is not None:
            self._bad(piece.position, piece.trouble)
            self._spoiled += () if piece.ends else range(number, number + 3)
        if piece.content:
            self._places.append((number, piece.position))

    def _take(self, more: bytes, *, last: bool) -> Iterator[bytes]:
        """The records of what is there; the end is waited for unless it is the ``last`` of an answer."""
        content = self._left + more
        at = 0
        while True:
            if self._lost is not None:
                found = self._find(content, at, last=last)
                at, self._lost = found, self._lost + found - at
                if not self._is_right(content, at, last=last):
                    break
                aligned = self._lost % SIZE == 0
                yield from self._release(but=1 if aligned else _HELD_BACK)
                self._lost = self._before = None
                at += SIZE
                continue
            if len(content) - at < (SIZE if last or not self.skip_bad else _CHAIN * SIZE):
                break
            trouble = trouble_of(content, self.latest_s, at) or self._stray(content, at, last=last)
            if trouble is not None or self._is_spoiled(at):
                if trouble is not None:
                    self._bad(self._position(at), trouble)
                self._lost, at = 1, at + 1
                continue
            self._held.append(content[at : at + SIZE])
            if len(self._held) > _HELD_BACK:
                yield self._held.pop(0)
            self._before = header_of(content, at).seq
            at += SIZE
        if last:
            yield from self._finish(content[at:], at)
            at = len(content)
        self._left = content[at:]
        self._begin += at
        del self._places[: max(0, bisect_right(self._places, (self._begin, _ANY_PLACE)) - 1)]
        del self._spoiled[: bisect_left(self._spoiled, self._begin)]

    def _finish(self, rest: bytes, at: int) -> Iterator[bytes]:
        """The end of an answer: nothing may be left of it."""
        but = 0
        if self._lost is not None:
            but = _HELD_BACK if (self._lost + len(rest)) % SIZE else 1
        elif rest:
            self._bad(self._position(at), "the record that begins there is cut")
            if len(rest) < HEADER_BYTES or trouble_of(rest, self.latest_s) is not None:
                but = _HELD_BACK
        yield from self._release(but=but)
        self._lost = self._before = None

    def _stray(self, content: bytes, at: int, *, last: bool) -> str | None:
        """What is wrong about a number that does not follow on the one before, with no row of records to begin there."""
        seq = header_of(content, at).seq
        if not self.skip_bad or self._before is None or 0 < seq - self._before <= _LONGEST_GAP:
            return None
        return None if self._is_right(content, at, last=last) else f"number {seq:,} behind {self._before:,}"

    def _release(self, *, but: int) -> Iterator[bytes]:
        """What was held back, without the last few."""
        yield from self._held[: len(self._held) - but] if but < len(self._held) else ()
        self._held.clear()

    def _find(self, content: bytes, at: int, *, last: bool) -> int:
        """Where the next records begin; where none do, as far as was looked."""
        end = len(content) if last else max(at, len(content) - _CHAIN * SIZE + 1)
        return next((start for start in range(at, end) if self._is_right(content, start, last=last)), end)

    def _is_right(self, content: bytes, at: int, *, last: bool) -> bool:
        count, over = divmod(len(content) - at, SIZE)
        if count >= _CHAIN:
            count = _CHAIN
        elif not last or over or not count:
            return False
        return not self._is_spoiled(at) and _is_chain(content, at, count, self.latest_s)

    def _is_spoiled(self, at: int) -> bool:
        if not self._spoiled:
            return False
        number = bisect_left(self._spoiled, self._begin + at)
        return number < len(self._spoiled) and self._spoiled[number] < self._begin + at + SIZE

    def _position(self, at: int) -> int:
        """Where in the file the byte stands; in text, its group of letters."""
        number = self._begin + at
        place = bisect_right(self._places, (number, _ANY_PLACE)) - 1
        if place < 0:
            return 0
        first, position = self._places[place]
        return position + ((number - first) // 3 * 4 if self.text else number - first)

    def _bad(self, position: int, what: str) -> None:
        if not self.skip_bad:
            raise FileUnreadable(f"Byte {position:,}: {what}. Nothing of the file was taken.")
        self.skipped.append(position)
