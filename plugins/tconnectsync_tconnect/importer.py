"""Import an export. The file is scanned first, so that nothing of a corrupt file is imported, then read in batches.

Of an incomplete row, the readable part is used: commas in a note do not cost a dose. Missing values are unknown.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice, pairwise
from typing import BinaryIO, cast

import attrs

from tconnectsync import Batch, Event, FileUnreadable, ImportOptions, counted
from tconnectsync_tconnect.rows.bad_row import BadRow
from tconnectsync_tconnect.rows.csv_rows import BasalStart, basal_fact, basal_start, facts_of, serial_of
from tconnectsync_tconnect.rows.csv_tables import (
    BASAL,
    BOLUS,
    DEVICE,
    PUMP,
    CsvRow,
    Damaged,
    looks_like_export,
    read_rows,
)
from tconnectsync_tconnect.rows.decoder import CSV, CSV_BASAL
from tconnectsync_tconnect.rows.partial_rows import Readable, readable, time_among, time_of
from tconnectsync_tconnect.rows.provenance import ProvenancedRow, unknown_with_row, with_row
from tconnectsync_tconnect.rows.row_event import RowEvent
from tconnectsync_tconnect.rows.serial_numbers import can_be, is_rounded, plain_serial
from tconnectsync_tconnect.rows.signs_of_life import SignsOfLife
from tconnectsync_tconnect.source_events import event_of

AT_ONCE = 1000
"""Events in one batch."""
_LINES_SHOWN = 5

recognises = looks_like_export


@attrs.define
class _Scan:
    """The result of the first scan. Rows that were not read completely: lines by table."""

    serials: list[str] = attrs.field(factory=list)
    rows: int = 0
    skipped: list[int] = attrs.field(factory=list)
    partial: dict[str, list[int]] = attrs.field(factory=lambda: defaultdict(list))
    no_value: dict[str, list[int]] = attrs.field(factory=lambda: defaultdict(list))


def read(stream: BinaryIO, options: ImportOptions) -> Iterator[Batch]:
    """Yield the export's events in the file's order, basal last. Equal files give equal events at any time.

    Raises FileUnreadable before the first batch, so that nothing of a refused file is imported. With ``skip_bad``,
    corrupt rows are skipped. The first batch's note names the rows that were not read completely.
    """
    with _seekable(stream) as again:
        start = again.tell()
        looked = _Scan()
        total = sum(1 for _ in _facts(again, looked, skip_bad=options.skip_bad))
        if looked.rows == 0:
            raise FileUnreadable(
                "The file has no row of any table of a t:connect export.",
                remedy="Use the file as it was downloaded. An export of days without data has nothing to import.",
            )
        pump = _pump(looked.serials, options.pump)
        again.seek(start)
        facts = _facts(again, _Scan(), skip_bad=options.skip_bad)
        enough = AT_ONCE if options.check_only else None  # all errors were found in the first scan
        events = (event_of(row, pump, options.received_at) for row in islice(facts, enough))
        yield from _batches(events, total, _note(pump, looked))


def _facts(stream: BinaryIO, looked: _Scan, *, skip_bad: bool) -> Iterator[ProvenancedRow]:
    """Yield every fact of the file; basal last, since the next row gives a row's length.

    The last basal row gives no fact, since the file does not say how long it lasted. Nor does one whose end is
    unreadable. A rate ends where all tables are silent for more than a day.
    """
    alive = SignsOfLife()
    basal: list[tuple[BasalStart, CsvRow]] = []
    gaps: set[int] = set()
    names: dict[str, RowEvent] = {}
    for row in read_rows(stream):
        looked.rows += row.table != PUMP
        try:
            if isinstance(row, Damaged):
                raise row.problem
            _note_serial(row, looked)
            if row.table == PUMP:
                continue
            if row.ends_file and not skip_bad:
                raise BadRow("is cut off, so the file is not complete")
            found = readable(row)
            if found.damage is not None and not skip_bad:
                raise found.damage
            facts, start = _read(row, found)
            _named_once(names, facts)
        except BadRow as problem:
            if not skip_bad and not (problem.empty and row.table != BOLUS):
                raise _refused(row.line, row.table, problem) from None
            (looked.no_value[row.table] if problem.empty else looked.skipped).append(row.line)
            at = _time_in(row)
            if row.table == BASAL and at is None:
                gaps.add(len(basal))
            elif row.table == BASAL and at is not None:
                known = row if isinstance(row, CsvRow) else CsvRow(table=BASAL, line=row.line, cells={})
                basal.append((BasalStart(at=at, rate_u_per_h=None), known))
            if at is not None:
                alive.add(at)
                yield _unknown_event(row, problem, at)
            continue
        if found.no_amount:
            looked.no_value[row.table].append(row.line)
        elif found.reasons:
            looked.partial[row.table].append(row.line)
        if start is not None:
            basal.append((start, attrs.evolve(row, cells=found.cells)))
            if found.damage is not None:  # the row behind it would have ended it
                gaps.add(len(basal))
        for fact in facts:
            alive.add_fact(fact)
        yield from with_row(CSV, found.cells, facts, **found.around)
    yield from _basal(basal, gaps, alive)


def _note_serial(row: CsvRow, looked: _Scan) -> None:
    if row.table in (DEVICE, PUMP):
        serial = serial_of(row)
        if serial is not None and serial not in looked.serials:
            looked.serials.append(serial)


def _read(row: CsvRow, found: Readable) -> tuple[list[RowEvent], BasalStart | None]:
    """Return what a row says; for a basal row its rate and start. Raises BadRow."""
    row = attrs.evolve(row, cells=found.cells)
    return ([], basal_start(row)) if row.table == BASAL else (facts_of(row), None)


def _time_in(row: CsvRow | Damaged) -> datetime | None:
    """The time of an unreadable row."""
    return time_of(row.cells) if isinstance(row, CsvRow) else time_among(row.rest)


def _unknown_event(row: CsvRow | Damaged, problem: BadRow, at: datetime) -> ProvenancedRow:
    """Keep the row as it is, so that a newer release can read it."""
    if isinstance(row, Damaged):
        return unknown_with_row(CSV, {"table": row.table, "cells": list(row.rest)}, problem.reason, at)
    around = {"rest": list(row.rest)} if row.rest else {}
    return unknown_with_row(CSV_BASAL if row.table == BASAL else CSV, row.cells, problem.reason, at, **around)


def _basal(
    basal: Sequence[tuple[BasalStart, CsvRow]], gaps: Collection[int], alive: SignsOfLife
) -> Iterator[ProvenancedRow]:
    """End each basal row. ``gaps``: positions of rows without a time; the rate before a gap has an unknown end."""
    unknown = _endless(basal, gaps)
    by_time = sorted(enumerate(basal), key=lambda each: each[1][0].at)
    for (index, (start, row)), (_, (following, _)) in pairwise(by_time):
        end = alive.end_of(start.at, following.at)
        if end > start.at and start.rate_u_per_h is not None and index not in unknown:
            around = {"at": start.at.isoformat(), "span_s": round((end - start.at).total_seconds())}
            yield from with_row(CSV_BASAL, row.cells, [basal_fact(start, end)], **around)


def _endless(basal: Sequence[tuple[BasalStart, CsvRow]], gaps: Collection[int]) -> set[int]:
    """The rows that a row without a time may have ended: those next to it, in either order of the file."""
    times = [start.at for start, _ in basal]
    forward = all(one <= other for one, other in pairwise(times))
    backward = all(one >= other for one, other in pairwise(times))
    steps = {(True, False): (-1,), (False, True): (0,)}.get((forward, backward), (-1, 0))
    return {gap + step for gap in gaps for step in steps}


def _named_once(names: dict[str, RowEvent], facts: Iterable[RowEvent]) -> None:
    """Refuse two boluses with one id: they would become one in the log, and a dose would be lost."""
    for fact in facts:
        if fact.kind.startswith("bolus.") and names.setdefault(fact.name, fact) != fact:
            raise BadRow("contradicts another row about the same bolus", column="BolusRequestID")


def _refused(line: int, table: str, problem: BadRow) -> FileUnreadable:
    where = f'column "{problem.column}": the value' if problem.column else "the row"
    return FileUnreadable(
        f"Line {line}, {table} table, {where} {problem.reason}. Nothing was imported.",
        remedy="Correct the line or download the file again; `--skip-bad` skips such rows; their data is then missing.",
    )


def _pump(found: list[str], requested: str | None) -> str:
    requested = plain_serial(requested) if requested else None
    serials = [serial for serial in found if not is_rounded(serial)]
    rounded = [serial for serial in found if is_rounded(serial)]
    if len(serials) > 1:
        raise FileUnreadable(
            f"The file has data of {counted(len(serials), 'pump')}, and its boluses do not name their pump.",
            remedy="Export the days of each pump separately, and import those files.",
        )
    if serials and requested and requested != serials[0]:
        raise FileUnreadable(
            f"The file is from pump {serials[0]}, not from pump {requested}.",
            remedy="Omit `--pump`, or import the file of the other pump.",
        )
    pump = serials[0] if serials else requested
    if pump is None:
        raise FileUnreadable(
            f"The file shows the pump's serial number as {rounded[0]}: a spreadsheet program rounded it."
            if rounded
            else "The file does not contain the pump's serial number.",
            remedy="Give the serial number on the back of the pump: `tconnectsync import FILE --pump SERIAL`.",
        )
    if is_rounded(pump):
        raise FileUnreadable(
            f"{pump} is a rounded number, not a serial number.",
            remedy="Give all digits, as on the back of the pump: `tconnectsync import FILE --pump SERIAL`.",
        )
    for shown in rounded:
        if not can_be(shown, pump):
            raise FileUnreadable(
                f"The file shows the pump's serial number as {shown}, which cannot be {pump}.",
                remedy="Compare it with the number on the back of the pump, and import the file of the right one.",
            )
    return pump


def _batches(events: Iterator[Event], total: int, note: str) -> Iterator[Batch]:
    done = 0
    while chunk := tuple(islice(events, AT_ONCE)):
        done += len(chunk)
        yield Batch(events=chunk, note=note, done=done, total=total)
    if done == 0:
        yield Batch(note=note)


def _note(pump: str, looked: _Scan) -> str:
    parts = [f"pump {pump}, {counted(looked.rows, 'row')} of a t:connect export"]
    parts += [
        f"{_rows(f'{table} row', lines)} read in part: dose or value, and time ({_lines(lines)}; the log keeps the rest unchanged)"
        for table, lines in sorted(looked.partial.items())
    ]
    parts += [
        f"{_rows(f'{table} row', lines)} without {_WITHOUT.get(table, 'a value')} ({_lines(lines)})"
        for table, lines in sorted(looked.no_value.items())
    ]
    if looked.skipped:
        parts.append(f"{_rows('corrupt row', looked.skipped)} skipped ({_lines(looked.skipped)})")
    return "; ".join(parts)


_WITHOUT = {
    BASAL: "a rate: the basal is unknown from there to the next row",
    BOLUS: "the delivered amount: that dose is missing",
}


def _rows(what: str, lines: Sequence[int]) -> str:
    return counted(len(lines), what)


def _lines(lines: Sequence[int]) -> str:
    more = len(lines) - _LINES_SHOWN
    return f"line {', '.join(map(str, lines[:_LINES_SHOWN]))}{f' and {more} more' if more > 0 else ''}"


@contextmanager
def _seekable(stream: BinaryIO) -> Iterator[BinaryIO]:
    """Return the stream itself if it can be read twice, else a temporary copy of it."""
    if stream.seekable():
        yield stream
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream, copy)
        copy.seek(0)
        yield cast(BinaryIO, copy)
