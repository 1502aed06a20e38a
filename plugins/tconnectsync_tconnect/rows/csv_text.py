"""Split CSV text into rows of cells. A stray quote affects its own row only.

Real exports contain what people typed: quotes within a name, notes over several lines. A row of valid CSV is read as
such. Any other row is split at quotes next to a comma or the line's end.
"""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Iterable, Iterator

import attrs

_MOST_LINES = 64
"""No row has more lines than this; a quote that is open for longer was never closed."""
_BEGINS_A_ROW = re.compile(r'"?(?:Bolus|Basal|IOB|Type|DeviceType|[^",]*Pump)"?,(?:[^,]*,){2}')


@attrs.frozen(kw_only=True)
class TextRow:
    """A row. ``line``: its first line in the file, from 1. ``proper``: it is valid CSV. ``cut``: its last cell was
    never closed.

    ``last``: it is cut, and the text ends with it.
    """

    line: int
    cells: list[str]
    proper: bool = True
    cut: bool = False
    last: bool = False


def text_rows(text: Iterable[str]) -> Iterator[TextRow]:
    """Yield every row of the text. ``text`` gives lines with their ends."""
    source = iter(text)
    waiting: deque[str] = deque()
    line = 1
    while waiting or _more(source, waiting, 1):
        lines, row = _next(source, waiting, line)
        line += lines
        yield row


def _more(source: Iterator[str], waiting: deque[str], count: int) -> bool:
    """Whether ``count`` lines are waiting, after reading enough."""
    while len(waiting) < count:
        found = next(source, None)
        if found is None:
            return False
        waiting.append(found)
    return True


def _next(source: Iterator[str], waiting: deque[str], line: int) -> tuple[int, TextRow]:
    """Return the next row and its number of lines, which are removed from ``waiting``."""
    text, count = waiting[0], 1
    cells, is_open = _proper(text)
    while is_open and count < _MOST_LINES and _more(source, waiting, count + 1):
        if _BEGINS_A_ROW.match(waiting[count]):
            break
        text, count = text + waiting[count], count + 1
        cells, is_open = _proper(text)
    if cells is not None:
        return _taken(waiting, count), TextRow(line=line, cells=cells)
    text, count = waiting[0], 1
    found, closed = split(text)
    while not closed and count < _MOST_LINES and _more(source, waiting, count + 1):
        if _ends_a_row(waiting[count]):
            break
        text, count = text + waiting[count], count + 1
        found, closed = split(text)
    if not closed:
        count = 1
        found, closed = split(waiting[0])
    last = not closed and not _more(source, waiting, count + 1)
    return _taken(waiting, count), TextRow(line=line, cells=found, proper=False, cut=not closed, last=last)


def _taken(waiting: deque[str], count: int) -> int:
    for _ in range(count):
        waiting.popleft()
    return count


def _ends_a_row(following: str) -> bool:
    return not following.strip(" ,\r\n") or _BEGINS_A_ROW.match(following) is not None


def _proper(text: str) -> tuple[list[str] | None, bool]:
    """Return the cells if ``text`` is one row of CSV, else whether only the end of a quoted cell is missing."""
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        return None, "unexpected end" in str(error)
    return (rows[0] if rows else [], False) if len(rows) < 2 else (None, False)


def split(text: str) -> tuple[list[str], bool]:
    """Return the cells of an invalid row, and whether the last is closed. A quote ends a cell only before a comma or the end."""
    body = text.rstrip("\r\n")
    cells: list[str] = []
    at = 0
    while True:
        if body.startswith('"', at):
            end = _closing(body, at + 1)
            if end is None:
                return [*cells, body[at + 1 :].replace('""', '"')], False
            cells.append(body[at + 1 : end].replace('""', '"'))
            at = end + 1
        else:
            end = body.find(",", at)
            cells.append(body[at:] if end < 0 else body[at:end])
            at = len(body) if end < 0 else end
        if at >= len(body):
            return cells, True
        at += 1  # the comma


def _closing(body: str, at: int) -> int | None:
    while (at := body.find('"', at)) >= 0:
        following = body[at + 1 : at + 2]
        if following in ("", ","):
            return at
        if following == '"' and body[at + 2 : at + 3] in ("", ","):
            return at + 1  # a stray quote is the last letter of the cell
        at += 2 if following == '"' else 1
    return None
