"""Split a file into history-log records. Records have no checksum: only headers and length show corruption."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

import attrs

from tconnectsync import FileUnreadable
from tconnectsync_tandem.files.binary.base64_text import TextPart, decoded, plain
from tconnectsync_tandem.files.binary.record import HEADER_BYTES, SIZE, header_error, header_of

_ENOUGH = 1 << 16
_CHAIN = 8
"""This many records in a row with rising numbers are not a coincidence."""
_LONGEST_GAP = 100_000
_HELD_BACK = 3
"""This many records before missing bytes may contain bytes of later records."""
_ANY_TIME = 2**32 - 1
_ANY_PLACE = 2**63
_RECORDS_LOOKED_AT = 40


def holds_records(head: bytes) -> bool:
    """Whether a file that begins with ``head`` has history-log records, as bytes or base64 text."""
    return _begins(head) or is_text(head)


def is_text(head: bytes) -> bool:
    """Whether the records are base64 text."""
    content = b""
    for piece in decoded([head]):
        content += piece.content
        if len(content) >= _RECORDS_LOOKED_AT * SIZE or (piece.error and piece.position < len(head)):
            break
    return _begins(content)


def _begins(content: bytes) -> bool:
    """Whether the first record is valid, or soon after it a row of valid records."""
    if len(content) >= SIZE and header_error(content, _ANY_TIME) is None:
        return True
    return any(_is_chain(content, at, _CHAIN, _ANY_TIME) for at in range(0, _RECORDS_LOOKED_AT * SIZE, SIZE))


def _is_chain(content: bytes, at: int, count: int, latest_s: int) -> bool:
    """Whether ``count`` consecutive records begin at ``at``."""
    if at + count * SIZE > len(content):
        return False
    before = None
    for start in range(at, at + count * SIZE, SIZE):
        if header_error(content, latest_s, start) is not None:
            return False
        seq = header_of(content, start).seq
        if before is not None and not 0 < seq - before <= _LONGEST_GAP:
            return False
        before = seq
    return True


@attrs.define
class RecordReader:
    """The records of every response in a file that is read in ``chunks``, in the file's order.

    ``latest_s`` is the latest possible time of a record, in seconds since 2008. Errors: FileUnreadable, with the
    byte's position. With ``skip_bad``, unreadable bytes are skipped up to the next valid records; ``skipped`` are the
    positions. A record then is valid only if its number follows the previous one, or if a row of records begins: after
    missing bytes, other bytes may look like a header. The records next to such a place are skipped too, since the
    corruption may reach into them.
    """

    chunks: Iterable[bytes]
    text: bool
    latest_s: int
    skip_bad: bool
    skipped: list[int] = attrs.field(factory=list)
    _buffer: bytes = b""
    """Bytes that are not read yet."""
    _begin: int = 0
    """How many bytes of records came before the buffer."""
    _positions: list[tuple[int, int]] = attrs.field(factory=list)
    """The number of a byte among the records' bytes, and its position in the file."""
    _held: list[bytes] = attrs.field(factory=list)
    """Records that are returned once the records after them are valid."""
    _previous_seq: int | None = None
    """The sequence number of the last valid record in this response."""
    _skipped_bytes: int | None = None
    """How many bytes were skipped since a record could not be read."""
    _corrupt: list[int] = attrs.field(factory=list)
    """Numbers of corrupt bytes."""

    def records(self) -> Iterator[bytes]:
        """Yield every record once, 26 bytes each."""
        waiting: list[bytes] = []
        size = 0
        for piece in decoded(self.chunks) if self.text else plain(self.chunks):
            self._note_position(piece, self._begin + len(self._buffer) + size)
            waiting.append(piece.content)
            size += len(piece.content)
            if piece.ends or size >= _ENOUGH:
                yield from self._take(b"".join(waiting), last=piece.ends)
                waiting, size = [], 0
        yield from self._take(b"".join(waiting), last=True)

    def _note_position(self, piece: TextPart, number: int) -> None:
        if piece.error is not None:
            self._report(piece.position, piece.error)
            self._corrupt += () if piece.ends else range(number, number + 3)
        if piece.content:
            self._positions.append((number, piece.position))

    def _take(self, more: bytes, *, last: bool) -> Iterator[bytes]:
        """Yield the records in the buffer.

        Unless it is the ``last`` part of a response, its end stays in the buffer.
        """
        content = self._buffer + more
        at = 0
        while True:
            if self._skipped_bytes is not None:
                found = self._find(content, at, last=last)
                at, self._skipped_bytes = found, self._skipped_bytes + found - at
                if not self._is_right(content, at, last=last):
                    break
                aligned = self._skipped_bytes % SIZE == 0
                yield from self._release(but=1 if aligned else _HELD_BACK)
                self._skipped_bytes = self._previous_seq = None
                at += SIZE
                continue
            if len(content) - at < (SIZE if last or not self.skip_bad else _CHAIN * SIZE):
                break
            trouble = header_error(content, self.latest_s, at) or self._sequence_error(content, at, last=last)
            if trouble is not None or self._is_corrupt(at):
                if trouble is not None:
                    self._report(self._position(at), trouble)
                self._skipped_bytes, at = 1, at + 1
                continue
            self._held.append(content[at : at + SIZE])
            if len(self._held) > _HELD_BACK:
                yield self._held.pop(0)
            self._previous_seq = header_of(content, at).seq
            at += SIZE
        if last:
            yield from self._finish(content[at:], at)
            at = len(content)
        self._buffer = content[at:]
        self._begin += at
        del self._positions[: max(0, bisect_right(self._positions, (self._begin, _ANY_PLACE)) - 1)]
        del self._corrupt[: bisect_left(self._corrupt, self._begin)]

    def _finish(self, rest: bytes, at: int) -> Iterator[bytes]:
        """Finish a response: no bytes may remain."""
        but = 0
        if self._skipped_bytes is not None:
            but = _HELD_BACK if (self._skipped_bytes + len(rest)) % SIZE else 1
        elif rest:
            self._report(self._position(at), "the record that begins there is truncated")
            if len(rest) < HEADER_BYTES or header_error(rest, self.latest_s) is not None:
                but = _HELD_BACK
        yield from self._release(but=but)
        self._skipped_bytes = self._previous_seq = None

    def _sequence_error(self, content: bytes, at: int, *, last: bool) -> str | None:
        """Return why a sequence number does not follow the previous one, unless a row of records begins there."""
        seq = header_of(content, at).seq
        if not self.skip_bad or self._previous_seq is None or 0 < seq - self._previous_seq <= _LONGEST_GAP:
            return None
        return None if self._is_right(content, at, last=last) else f"number {seq:,} after {self._previous_seq:,}"

    def _release(self, *, but: int) -> Iterator[bytes]:
        """Yield the records held back, but not the last few."""
        yield from self._held[: len(self._held) - but] if but < len(self._held) else ()
        self._held.clear()

    def _find(self, content: bytes, at: int, *, last: bool) -> int:
        """Return where the next records begin; if there are none, the end of the search."""
        end = len(content) if last else max(at, len(content) - _CHAIN * SIZE + 1)
        return next((start for start in range(at, end) if self._is_right(content, start, last=last)), end)

    def _is_right(self, content: bytes, at: int, *, last: bool) -> bool:
        count, over = divmod(len(content) - at, SIZE)
        if count >= _CHAIN:
            count = _CHAIN
        elif not last or over or not count:
            return False
        return not self._is_corrupt(at) and _is_chain(content, at, count, self.latest_s)

    def _is_corrupt(self, at: int) -> bool:
        if not self._corrupt:
            return False
        number = bisect_left(self._corrupt, self._begin + at)
        return number < len(self._corrupt) and self._corrupt[number] < self._begin + at + SIZE

    def _position(self, at: int) -> int:
        """Return the byte's position in the file; for text, that of its group of letters."""
        number = self._begin + at
        place = bisect_right(self._positions, (number, _ANY_PLACE)) - 1
        if place < 0:
            return 0
        first, position = self._positions[place]
        return position + ((number - first) // 3 * 4 if self.text else number - first)

    def _report(self, position: int, what: str) -> None:
        if not self.skip_bad:
            raise FileUnreadable(f"Byte {position:,}: {what}. Nothing was imported.")
        self.skipped.append(position)
