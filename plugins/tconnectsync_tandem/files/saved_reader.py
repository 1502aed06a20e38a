"""Stream the entries of saved ``pump-logs`` responses, so that a year of them is never in memory at once."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from typing import Any, BinaryIO

import attrs
import msgspec

from tconnectsync import FileUnreadable
from tconnectsync_tandem.api.responses import has_long_number, value

ARRAYS = frozenset({"events", "clockChanges"})
_CHUNK = 1 << 20
_LONGEST_VALUE = 8 << 20
"""No entry is nearly as long; a longer one has lost its end."""
_LONGEST_WORD = len("-Infinity")
_BLANKS = re.compile(r"[ \t\r\n]*")
_ENTRY = re.compile(
    r'\{\s*"(?:deviceAssignmentId|eventCode|sequenceGroup|sequenceNumber|pumpDateTime|estimatedDateTime|eventProperties)"\s*:'
)
_LAST = re.compile(r"\}[ \t\r\n]*\]")
_NEXT = re.compile(r"\}[ \t\r\n]*,[ \t\r\n]*\{")
_NEAR_THE_END = 1 << 16
_BYTE_ORDER_MARK = "\xef\xbb\xbf"
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_FLAT_LEVELS = 4
_parse = msgspec.json.Decoder(list[dict[str, Any]]).decode
_scan = json.JSONDecoder(strict=False, parse_int=str, parse_float=str).raw_decode


@attrs.define
class EntryReader:
    """Read the entries of every response in ``stream``, in the file's order.

    Responses follow each other, or are in a JSON list. Errors: FileUnreadable, with the byte's position. With
    ``skip_bad``, unreadable parts are skipped up to the next entry; ``skipped`` are the positions.
    """

    stream: BinaryIO
    skip_bad: bool
    answers: int = 0
    skipped: list[int] = attrs.field(factory=list)
    _text: str = ""
    """A part of the file, one character per byte."""
    _at: int = 0
    _base: int = 0
    """Where in the file the part begins."""
    _ended: bool = False
    _one_by_one: int = 0
    """Up to this byte of the file, entries are read one by one."""
    _listed: bool = False
    """Whether it is inside a list of responses."""

    def entries(self) -> Iterator[object]:
        """Yield every entry once."""
        inside = False
        while True:
            try:
                yield from self._rest_of_array() if inside else ()
                yield from self._answers(inside_answer=inside)
                return
            except FileUnreadable:
                if not self.skip_bad:
                    raise
                self.skipped.append(self._base + self._at)
                if not self._find_entry():
                    return
                inside = True

    # --- the grammar ------------------------------------------------------------------------------------------------

    def _answers(self, *, inside_answer: bool) -> Iterator[object]:
        if inside_answer:
            yield from self._rest_of_answer(has_events=True)
        elif self._peek() == _BYTE_ORDER_MARK[0] and self._text.startswith(_BYTE_ORDER_MARK):
            self._at += len(_BYTE_ORDER_MARK)
        while True:
            mark = self._peek()
            if mark == "" and not self._listed:
                return
            if mark == ("]" if self._listed else "["):
                self._listed = not self._listed
                self._at += 1
                continue
            if mark == "," and self.answers:
                self._at += 1
            self._take("{", "a response")
            if self._peek() == "}":
                raise self._bad('a response without "events"')
            yield from self._members(has_events=False)

    def _members(self, *, has_events: bool) -> Iterator[object]:
        while True:
            if self._peek() != '"':
                raise self._bad("a name is missing")
            _, name = self._value()
            self._take(":", 'the ":" after a name')
            if name in ARRAYS and self._peek() == "[":
                has_events = has_events or name == "events"
                self._at += 1
                yield from self._rest_of_array(first=True)
            else:
                begin, found = self._value()
                if found is not None and name in ARRAYS:
                    self._at = begin
                    raise self._bad(f'"{name}" is not a list')
            if self._peek() != ",":
                break
            self._at += 1
            self._peek()
        yield from self._rest_of_answer(has_events=has_events)

    def _rest_of_answer(self, *, has_events: bool) -> Iterator[object]:
        if self._peek() == ",":
            self._at += 1
            self._peek()
            yield from self._members(has_events=has_events)
            return
        self._take("}", "the end of a response")
        if not has_events:
            self._at -= 1
            raise self._bad('a response without "events"')
        self.answers += 1

    def _rest_of_array(self, *, first: bool = False) -> Iterator[object]:
        """Yield the entries up to the end of their list; ``first``: the list has just begun."""
        if first and self._peek() == "]":
            self._at += 1
            return
        while True:
            taken = yield from self._many()
            if not taken:
                yield self._entry()
            if self._peek() == "]":
                self._at += 1
                return
            self._take(",", "the next entry")

    def _many(self) -> Generator[object, None, bool]:
        """Yield as many regular entries as the buffer has, at once. Returns False if there is none."""
        if self._peek() != "{" or self._base + self._at < self._one_by_one:
            return False
        end = self._end_of_many()
        self._one_by_one = self._base + end
        text = self._text[self._at : end].encode("latin-1")
        if has_long_number(text) or not _is_flat(text):
            return False
        try:
            text.decode()
            found = _parse(b"[" + text + b"]")
        except (ValueError, RecursionError):
            return False
        self._at = end
        yield from found
        return True

    def _end_of_many(self) -> int:
        """Return the end of an entry that is probably the last of its list, or of this part of the file."""
        last = _LAST.search(self._text, self._at)
        if last is not None:
            return last.start() + 1
        begin = max(self._at, len(self._text) - _NEAR_THE_END)
        ends = [found.start() for found in _NEXT.finditer(self._text, begin)]
        return (ends[-1] if ends else self._at) + 1

    def _entry(self) -> object:
        if self._peek() != "{":
            raise self._bad("an entry that is not an object")
        begin, _ = self._value()
        text = self._text[begin : self._at].encode("latin-1")
        try:
            text.decode()
        except UnicodeDecodeError as error:
            self._at = begin + error.start
            raise self._bad("not UTF-8 text") from None
        return value(msgspec.Raw(text), careful=True)

    # --- the text ---------------------------------------------------------------------------------------------------

    def _value(self) -> tuple[int, object]:
        """Skip the JSON value here; return its start and rough type. Errors: FileUnreadable."""
        self._peek()
        while True:
            try:
                found, end = _scan(self._text, self._at)
            except (ValueError, RecursionError) as error:
                longer = len(self._text) - self._at < _LONGEST_VALUE and not isinstance(error, RecursionError)
                if longer and self._read_on():
                    continue
                raise self._broken(error) from None
            if end == len(self._text) and self._read_on():  # a number may continue
                continue
            begin, self._at = self._at, end
            return begin, found

    def _peek(self) -> str:
        """Return the next character that is not blank; "" at the end."""
        while True:
            found = _BLANKS.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_on():
                return ""

    def _take(self, mark: str, what: str) -> None:
        if self._peek() != mark:
            raise self._bad(f"{what} is missing")
        self._at += 1

    def _read_on(self) -> bool:
        """Read more of the file and drop what was passed. Returns False at the file's end."""
        if self._ended:
            return False
        more = self.stream.read(max(_CHUNK, len(self._text) - self._at))
        if not more:
            self._ended = True
            return False
        self._text = self._text[self._at :] + more.decode("latin-1")
        self._base += self._at
        self._at = 0
        return True

    def _find_entry(self) -> bool:
        """Continue at the next text that looks like an entry."""
        self._at = min(self._at + 1, len(self._text))
        while True:
            found = _ENTRY.search(self._text, self._at)
            if found:
                self._at = found.start()
                return True
            self._at = max(self._at, len(self._text) - 200)
            if not self._read_on():
                return False

    def _broken(self, error: Exception) -> FileUnreadable:
        if not isinstance(error, json.JSONDecodeError):
            return self._bad("nested too deeply, or a number without an end")
        left = len(self._text) - error.pos
        self._at = error.pos
        if self._ended and (left < _LONGEST_WORD or error.msg.startswith("Unterminated string")):
            self._at = len(self._text)
        return self._bad("not JSON from here on")

    def _bad(self, what: str) -> FileUnreadable:
        at = self._base + self._at
        cut = self._at >= len(self._text) and not self._read_on()
        words = "the file ends there in the middle of a response" if cut else what
        return FileUnreadable(f"Byte {at:,}: {words}. Nothing was imported.")


def _is_flat(text: bytes) -> bool:
    """Whether nothing in it is nested more deeply than in an entry."""
    brackets = text.translate(None, _NO_BRACKETS)
    for _ in range(_FLAT_LEVELS):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return not brackets
