"""Rows of a month's file, to text and back."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from tconnectsync import Document, Retryable, events

LEADING = ("id", "time", "pump_time", "pump", "kind")
Row = dict[str, object]


def fields_of(kinds: Iterable[str]) -> tuple[str, ...]:
    """Column names after the leading ones: every field of the kinds' bodies, by name."""
    return tuple(sorted({name for kind in kinds for name in events.BODIES[kind].__struct_fields__}))


def utc_text(at: datetime) -> str:
    """ISO 8601 with milliseconds and Z."""
    return at.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_time(text: str) -> datetime:
    """The inverse of :func:`utc_text`."""
    at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if at.tzinfo is None:
        raise ValueError(text)
    return at


def row_of(document: Document, file_format: str) -> Row:
    """Return the row in the file's format; in CSV every cell is text."""
    row: Row = {"id": document.id, "time": utc_text(document.at), **document.content}
    return {name: _cell(value) for name, value in row.items()} if file_format == "csv" else row


def _cell(value: object) -> str:
    """Prefix a text that a spreadsheet would read as a formula with an apostrophe; numbers stay."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    text = value if isinstance(value, str) else json.dumps(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def written(rows: Mapping[str, Row], file_format: str, fields: Sequence[str]) -> bytes:
    """The file's content, by time."""
    ordered = sorted(rows.values(), key=lambda row: (str(row["time"]), str(row["id"])))
    if file_format == "jsonl":
        return "".join(json.dumps(row, allow_nan=False) + "\n" for row in ordered).encode()
    text = io.StringIO(newline="")
    columns = [*LEADING, *sorted({*fields, *(name for row in ordered for name in row)} - set(LEADING))]
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(ordered)
    return text.getvalue().encode()


def read(path: Path, file_format: str) -> dict[str, Row]:
    """Read the rows of a file by id; empty if there is no file. Raises Retryable if it was not written by this sink."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    line = 1
    try:
        rows: dict[str, Row] = {}
        for line, row in _csv(data) if file_format == "csv" else _jsonl(data):
            if not isinstance(row, dict) or not isinstance(row["id"], str):
                raise ValueError(line)
            utc_time(str(row["time"]))
            rows[row["id"]] = row
    except _DamagedLine as error:
        line = error.line
    except (ValueError, KeyError):
        pass
    else:
        return rows
    raise Retryable(
        f"{path} is corrupt or was not written by tconnectsync: line {line} cannot be read. The file was not changed",
        remedy=f"Move {path} elsewhere, then run `tconnectsync replay file` to write it again.",
    )


class _DamagedLine(Exception):
    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


def _jsonl(data: bytes) -> Iterable[tuple[int, object]]:
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            yield number, json.loads(line)
        except ValueError as error:
            raise _DamagedLine(number) from error


def _csv(data: bytes) -> Iterable[tuple[int, object]]:
    reader = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
    header: list[str] = []
    try:
        header = next(reader, [])
        if tuple(header[: len(LEADING)]) != LEADING or len(set(header)) != len(header):
            raise _DamagedLine(1)
        for cells in reader:
            if len(cells) != len(header):
                raise _DamagedLine(reader.line_num)
            yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise _DamagedLine(reader.line_num) from error
