"""The tables of an export: one CSV text with up to four of them, blank lines between, and a preamble before."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

import attrs

from tconnectsync import BadFile
from tconnectsync_tconnect.asked import BadRow

TIME = "EventDateTime"
"""Every table has this column, and nothing else of the file does: it tells a header."""
TITLE = "t:connect Therapy Timeline"
BOLUS, BASAL, IOB, DEVICE = "Bolus", "Basal", "IOB", "device"
REQUIRED: Mapping[str, Sequence[str]] = {
    BOLUS: ("BolusRequestID", "InsulinDelivered", "CompletionDateTime", "BolusIsComplete"),
    BASAL: ("BasalRate",),
    IOB: ("IOB",),
    DEVICE: ("SerialNumber", "Description", "Readings (CGM / BGM)"),
}
"""Without one of these a table cannot be read; any other column may be missing."""


@attrs.frozen(kw_only=True)
class Row:
    """One row of one table. ``line`` is the file's line that it begins on, from 1; ``cells`` are verbatim, by column."""

    table: str
    line: int
    cells: Mapping[str, str]


@attrs.frozen(kw_only=True)
class Damaged:
    """A row whose cells do not fit its header."""

    table: str
    line: int
    problem: BadRow


def looks_like_export(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is such an export: by its title, or by a header of one of the tables."""
    text = head.decode("utf-8-sig", "replace")
    if TITLE in text:
        return True
    names = ({name.strip().strip('"') for name in line.split(",")} for line in text.splitlines())
    return any(
        TIME in found and any(found.issuperset(columns) for columns in REQUIRED.values())
        for found in names
        if "Type" in found or "DeviceType" in found
    )


def read_rows(stream: BinaryIO) -> Iterator[Row | Damaged]:
    """The rows of all tables, in the file's order; what is no table is passed over. ``stream`` stays open.

    Raises BadFile where the text is no CSV, a table lacks a column, or a row belongs to no table: a dose may be in it.
    """
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    try:
        header: list[str] | None = None
        header_line, table = 0, None
        for line, cells in _numbered(text):
            if not any(cell.strip() for cell in cells):
                header, table = None, None
            elif TIME in (names := [cell.strip() for cell in cells]):
                header, header_line, table = _header(names, line), line, None
            elif header is None:
                _must_be_preamble(cells, line)
            else:
                if table is None:
                    table = _table(cells, header, header_line)
                yield _row(table, line, header, cells)
    except UnicodeDecodeError as error:
        raise BadFile(
            f"The file is not UTF-8 text (byte {error.start} of a part of it), so it is no export as t:connect wrote it.",
            remedy="Use the file as it was downloaded, not one that a spreadsheet program saved again.",
        ) from None
    finally:
        text.detach()


def _numbered(text: io.TextIOWrapper) -> Iterator[tuple[int, list[str]]]:
    """Each row with the line that it begins on; quoted cells may hold line ends."""
    reader = csv.reader(text, strict=True)
    before = 0
    try:
        for cells in reader:
            yield before + 1, cells
            before = reader.line_num
    except csv.Error as error:
        raise BadFile(
            f"Line {before + 1}: the row that begins here is no CSV ({error}). The file is cut off or was changed.",
            remedy="Download it again, or mend that line, and import it again.",
        ) from None


def _header(names: list[str], line: int) -> list[str]:
    while names and not names[-1]:
        names.pop()
    for name in names:
        if names.count(name) > 1:
            raise BadFile(
                f'Line {line}: the column "{name}" is there twice, so that nobody knows which one counts.',
                remedy="Use the file as it was downloaded.",
            )
    return names


def _table(cells: Sequence[str], header: Sequence[str], header_line: int) -> str:
    """Which table it is, by its first data row."""
    first = cells[0].strip()
    table = first if first in (BOLUS, BASAL, IOB) else DEVICE if "SerialNumber" in header else None
    if table is None:
        raise BadFile(
            f'Line {header_line}: a table of "{first}" rows is none that this release knows.',
            remedy="Take the table out of the file and import it again, or report this as a bug.",
        )
    for column in REQUIRED[table]:
        if column not in header:
            raise BadFile(
                f'Line {header_line}: the {table} table has no column "{column}", without which it cannot be read.',
                remedy="Use the file as it was downloaded.",
            )
    return table


def _row(table: str, line: int, header: Sequence[str], cells: Sequence[str]) -> Row | Damaged:
    if len(cells) < len(header):
        missing = header[len(cells)]
        problem = BadRow(f'is cut off: it has fewer cells than its header, "{missing}" is the first one missing')
        return Damaged(table=table, line=line, problem=problem)
    if any(cell.strip() for cell in cells[len(header) :]):
        return Damaged(table=table, line=line, problem=BadRow("has more cells than its header"))
    row = dict(zip(header, cells, strict=False))
    if table != DEVICE and cells[0].strip() != table:
        return Damaged(table=table, line=line, problem=BadRow(f"is no {table} row"))
    return Row(table=table, line=line, cells=row)


def _must_be_preamble(cells: Sequence[str], line: int) -> None:
    first = cells[0].strip()
    if len(cells) >= 4 and (first in (BOLUS, BASAL, IOB) or first.endswith("Insulin Pump")):
        raise BadFile(
            f"Line {line}: a {first} row stands under no header, so that nobody knows what its values are.",
            remedy="Put the blank line or the header before it right, and import the file again.",
        )
