"""Read the tables of an export: one CSV text with up to four of them, blank lines between, and a preamble."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

import attrs

from tconnectsync import FileUnreadable
from tconnectsync_tconnect.rows.bad_row import BadRow
from tconnectsync_tconnect.rows.csv_text import TextRow, text_rows

TIME = "EventDateTime"
"""Only headers of tables contain this column."""
TITLE = "t:connect Therapy Timeline"
BOLUS, BASAL, IOB, DEVICE = "Bolus", "Basal", "IOB", "device"
PUMP = "pump"
"""A table without times: it only gives the pump's serial number."""
SERIAL = "SerialNumber"
READINGS = ("Readings (CGM / BGM)", "BG")
"""The glucose of a device row is in one of these; older exports have the second."""
REQUIRED: Mapping[str, Sequence[str]] = {
    BOLUS: ("BolusRequestID", "InsulinDelivered", "CompletionDateTime", "BolusIsComplete"),
    BASAL: ("BasalRate",),
    IOB: ("IOB",),
    DEVICE: (SERIAL, "Description"),
    PUMP: (),
}
"""Required columns of each table; any other may be missing."""
_TAILS: Mapping[str, frozenset[str]] = {
    BOLUS: frozenset({"EventHistoryReportEventDesc", "EventHistoryReportDetails", "NoteID", "IndexID", "Note"}),
    DEVICE: frozenset({"Note"}),
}
"""Columns at the end that are irrelevant for doses. Rows may have more cells there than the header has names."""
_NOTE_IDS = 2
"""At least this many columns come before NoteID, IndexID and Note."""
_PREAMBLE = re.compile(r"(Tandem|t:connect|Patient|Report|DOB|Name)\b", re.IGNORECASE)
_DIGITS = re.compile(r"[\d.,]+", re.ASCII)


@attrs.frozen(kw_only=True)
class CsvRow:
    """One row of one table. ``line``: its first line in the file, from 1; ``cells``: unchanged, by column.

    ``misfit``: why the cells may be in the wrong columns, or "". ``rest``: unchanged, cells of no certain column.
    """

    table: str
    line: int
    cells: Mapping[str, str]
    misfit: str = ""
    rest: Sequence[str] = ()
    ends_file: bool = False
    """Whether the file ends within this row."""


@attrs.frozen(kw_only=True)
class Damaged:
    """A row that is unreadable."""

    table: str
    line: int
    problem: BadRow
    rest: Sequence[str] = ()
    ends_file: bool = False


def looks_like_export(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is such an export: by its title, or by the header of a table."""
    text = head.decode("utf-8-sig", "replace")
    if TITLE in text:
        return True
    names = ({name.strip().strip('"') for name in line.split(",")} for line in text.splitlines())
    return any(
        TIME in found and any(found.issuperset(columns) for columns in REQUIRED.values() if columns)
        for found in names
        if "Type" in found or "DeviceType" in found
    )


def read_rows(stream: BinaryIO) -> Iterator[CsvRow | Damaged]:
    """Yield the rows of all tables, in the file's order; other text is skipped. ``stream`` stays open.

    Raises FileUnreadable if a table lacks a column or a row belongs to no table, since it may contain a dose.
    """
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    try:
        header: list[str] | None = None
        header_line, table = 0, None
        for row in text_rows(text):
            if not any(cell.strip() for cell in row.cells):
                header, table = None, None
            elif _is_header(names := [cell.strip() for cell in row.cells]):
                header, header_line, table = _header(names, row.line), row.line, None
            elif header is None or _ends_devices(table, header, row.cells):
                header, table = None, None
                _must_be_preamble(row.cells, row.line)
            else:
                if table is None:
                    table = _table(row.cells, header, header_line)
                found = _row(table, header, row)
                yield attrs.evolve(found, ends_file=True) if row.last else found
    except UnicodeDecodeError as error:
        raise FileUnreadable(
            f"The file is not UTF-8 text (byte {error.start} of a part of it), so it is not an original t:connect export.",
            remedy="Use the file as it was downloaded, not one that a spreadsheet program saved again.",
        ) from None
    finally:
        text.detach()


def _is_header(names: Sequence[str]) -> bool:
    return TIME in names or SERIAL in names[1:]


def _ends_devices(table: str | None, header: Sequence[str], cells: Sequence[str]) -> bool:
    """Whether the preamble continues here without a blank line after the device table, as in older exports."""
    return table in (None, DEVICE, PUMP) and SERIAL in header and _PREAMBLE.match(cells[0].strip()) is not None


def _header(names: list[str], line: int) -> list[str]:
    while names and not names[-1]:
        names.pop()
    for name in names:
        if names.count(name) > 1:
            raise FileUnreadable(
                f'Line {line}: the column "{name}" is there twice; it is unclear which one counts.',
                remedy="Use the file as it was downloaded.",
            )
    return names


def _table(cells: Sequence[str], header: Sequence[str], header_line: int) -> str:
    """Which table it is, by its first data row."""
    first = cells[0].strip()
    table = first if first in (BOLUS, BASAL, IOB) else DEVICE if SERIAL in header else None
    if table == DEVICE and TIME not in header:
        table = PUMP
    if table is None:
        raise FileUnreadable(
            f'Line {header_line}: a table of "{first}" rows is unknown to this release.',
            remedy="Remove the table from the file and import it again, or report this as a bug.",
        )
    for column in (*REQUIRED[table], *(READINGS[:1] if table == DEVICE and READINGS[1] not in header else ())):
        if column not in header:
            raise FileUnreadable(
                f'Line {header_line}: the {table} table has no column "{column}", without which it cannot be read.',
                remedy="Use the file as it was downloaded.",
            )
    return table


def _row(table: str, header: Sequence[str], row: TextRow) -> CsvRow | Damaged:
    cells = row.cells
    if table not in (DEVICE, PUMP) and cells[0].strip() != table:
        return Damaged(table=table, line=row.line, problem=BadRow(f"is not a row of the {table} table"), rest=cells)
    if row.cut:
        whole = cells[:-1]  # the last cell may be incomplete: 13. of 13.53
        rest, cells = cells[len(whole) :], whole
        misfit = "is cut off within a cell"
    elif len(cells) < len(header):
        rest = []
        misfit = f'is cut off: it has fewer cells than its header, "{header[len(cells)]}" is the first one missing'
    elif len(cells) > len(header):
        rest, misfit = cells[len(header) :], "has more cells than its header"
    else:
        rest, misfit = [], "" if row.proper else "has a quote within a cell"
    known = dict(zip(header, cells, strict=False))
    if len(cells) <= len(header):
        return CsvRow(table=table, line=row.line, cells=known, misfit=misfit, rest=rest)
    if not row.cut and not any(cell.strip() for cell in rest) and _has_ids(table, known):
        return CsvRow(table=table, line=row.line, cells=known)
    tail = _tail(table, header)
    if tail < len(header):
        known = {**dict(zip(header[:tail], cells, strict=False)), **_note(table, cells[tail:])}
        return CsvRow(table=table, line=row.line, cells=known, misfit=misfit, rest=cells[tail:])
    if _DIGITS.fullmatch(rest[0].strip()):  # 0,8 as a spreadsheet writes 0.8
        return Damaged(table=table, line=row.line, problem=BadRow(misfit), rest=row.cells)
    return CsvRow(table=table, line=row.line, cells=known, misfit=misfit, rest=rest)


def _has_ids(table: str, cells: Mapping[str, str]) -> bool:
    """Whether a bolus's note columns have valid contents, so that no cell before them is surplus."""
    return table != BOLUS or all(cells.get(column, "").strip().isdecimal() for column in ("NoteID", "IndexID"))


def _tail(table: str, header: Sequence[str]) -> int:
    """The first of the columns in which rows may have surplus cells."""
    tail = len(header)
    while tail and header[tail - 1] in _TAILS.get(table, ()):
        tail -= 1
    return tail


def _note(table: str, tail: Sequence[str]) -> dict[str, str]:
    """The user's note of a bolus: it follows two numbers at the row's end and may contain commas."""
    if table != BOLUS:
        return {}
    for index in range(_NOTE_IDS, len(tail) - 2):
        if all(cell.strip().isdecimal() for cell in tail[index : index + 2]):
            return {"Note": ",".join(tail[index + 2 :]).strip().rstrip(",")}
    return {}


def _must_be_preamble(cells: Sequence[str], line: int) -> None:
    first = cells[0].strip()
    if len(cells) >= 4 and (first in (BOLUS, BASAL, IOB) or first.endswith("Insulin Pump")):
        raise FileUnreadable(
            f"Line {line}: a {first} row has no header, so its values are unknown.",
            remedy="Correct the blank line or the header before it, and import the file again.",
        )
