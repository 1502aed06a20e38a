"""An export read whole: looked through first, so that a damaged one hands nothing over, then told batch by batch."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice, pairwise
from typing import BinaryIO, cast

import attrs

from tconnectsync import BadFile, Batch, Event, ImportOptions
from tconnectsync_tconnect.asked import BadRow
from tconnectsync_tconnect.entry import CSV, CSV_BASAL, DECODER
from tconnectsync_tconnect.fact import Fact
from tconnectsync_tconnect.facts import BasalStart, basal_fact, basal_start, facts_of, serial_of
from tconnectsync_tconnect.kept import Kept, kept
from tconnectsync_tconnect.tables import BASAL, BOLUS, DEVICE, Damaged, Row, looks_like_export, read_rows

SOURCE = "tconnect"
AT_ONCE = 1000
"""Events in one batch."""
_LINES_SHOWN = 5

recognises = looks_like_export


@attrs.define
class _Looked:
    """What the first look at a file found."""

    serials: list[str] = attrs.field(factory=list)
    rows: int = 0
    skipped: list[int] = attrs.field(factory=list)


def read(stream: BinaryIO, options: ImportOptions) -> Iterator[Batch]:
    """The export's events, in the file's order and basal last; equal files give equal events, whenever they are read.

    Raises BadFile before the first batch, so that of a file that cannot be taken nothing is. With ``skip_bad`` damaged rows
    are left out, and the first batch's note says which.
    """
    with _seekable(stream) as again:
        start = again.tell()
        looked = _Looked()
        total = sum(1 for _ in _facts(again, looked, skip_bad=options.skip_bad))
        if looked.rows == 0:
            raise BadFile(
                "The file holds no row of any table of a t:connect export.",
                remedy="Use the file as it was downloaded; an export of days without data has nothing to import.",
            )
        pump = _pump(looked.serials, options.pump)
        again.seek(start)
        facts = _facts(again, _Looked(), skip_bad=options.skip_bad)
        enough = AT_ONCE if options.looking else None  # all that can be wrong was seen already
        events = (_event(told, pump, options.received_at) for told in islice(facts, enough))
        yield from _batches(events, total, _note(pump, looked))


def _facts(stream: BinaryIO, looked: _Looked, *, skip_bad: bool) -> Iterator[Kept]:
    """Every fact of the file; basal ones last, since a row's length is known by the next one only.

    The last basal row is no fact: the file does not say how long it held. Nor is one that a damaged row follows.
    """
    basal: list[tuple[BasalStart, Row]] = []
    gaps: set[int] = set()
    names: dict[str, Fact] = {}
    for row in read_rows(stream):
        looked.rows += 1
        try:
            if isinstance(row, Damaged):
                raise row.problem
            if row.table == BASAL:
                basal.append((basal_start(row), row))
                continue
            facts = facts_of(row)
            if row.table == BOLUS:
                _named_once(names, facts)
        except BadRow as problem:
            if not skip_bad:
                raise _refused(row.line, row.table, problem) from None
            looked.skipped.append(row.line)
            if row.table == BASAL:
                gaps.add(len(basal))
            continue
        if row.table == DEVICE:
            serial = serial_of(row)
            if serial is not None and serial not in looked.serials:
                looked.serials.append(serial)
        yield from kept(CSV, row.cells, facts)
    yield from _basal(basal, gaps)


def _basal(basal: Sequence[tuple[BasalStart, Row]], gaps: Collection[int]) -> Iterator[Kept]:
    """``gaps``: before which of these a damaged row stood; whichever way the file runs, both its neighbours may end there."""
    unknown = {index for gap in gaps for index in (gap - 1, gap)}
    by_time = sorted(enumerate(basal), key=lambda each: each[1][0].at)
    for (index, (start, row)), (_, (following, _)) in pairwise(by_time):
        if following.at > start.at and index not in unknown:
            around = {"at": start.at.isoformat(), "span_s": round((following.at - start.at).total_seconds())}
            yield from kept(CSV_BASAL, row.cells, [basal_fact(start, following.at)], **around)


def _named_once(names: dict[str, Fact], facts: Iterable[Fact]) -> None:
    """Two boluses of one name would become one in the log, and a dose would be lost."""
    for fact in facts:
        if names.setdefault(fact.name, fact) != fact:
            raise BadRow("names a bolus that another row tells otherwise", column="BolusRequestID")


def _refused(line: int, table: str, problem: BadRow) -> BadFile:
    where = f'column "{problem.column}": the value' if problem.column else "the row"
    return BadFile(
        f"Line {line}, {table} table, {where} {problem.reason}. Nothing of the file was taken.",
        remedy="Mend the line or download the file again; `--skip-bad` leaves such rows out, and what they say is then missing.",
    )


def _pump(serials: list[str], asked: str | None) -> str:
    if len(serials) > 1:
        raise BadFile(
            f"The file holds data of {len(serials)} pumps, and its boluses do not say of which one they are.",
            remedy="Export the days of each pump by themselves, and import those files.",
        )
    if not serials and not asked:
        raise BadFile(
            "The file does not say of which pump it is.",
            remedy="Give the serial number on the back of the pump: `tconnectsync import FILE --pump SERIAL`.",
        )
    if serials and asked and asked != serials[0]:
        raise BadFile(
            f"The file is of pump {serials[0]}, not of pump {asked}.",
            remedy="Leave `--pump` out, or import the file of the other pump.",
        )
    return serials[0] if serials else str(asked)


def _event(told: Kept, pump: str, received_at: datetime) -> Event:
    fact = told.fact
    return Event(
        id=f"{SOURCE}:{pump}:{fact.name}",
        kind=fact.kind,
        pump=pump,
        group=None,
        seq=None,
        pump_time=fact.at,
        source=SOURCE,
        received_at=received_at,
        body=fact.body,
        raw=told.raw,
        decoder=DECODER,
    )


def _batches(events: Iterator[Event], total: int, note: str) -> Iterator[Batch]:
    done = 0
    while chunk := tuple(islice(events, AT_ONCE)):
        done += len(chunk)
        yield Batch(events=chunk, note=note, done=done, total=total)
    if done == 0:
        yield Batch(note=note)


def _note(pump: str, looked: _Looked) -> str:
    note = f"pump {pump}, {looked.rows} rows of a t:connect export"
    if not looked.skipped:
        return note
    shown = ", ".join(map(str, looked.skipped[:_LINES_SHOWN]))
    more = len(looked.skipped) - _LINES_SHOWN
    count = f"{len(looked.skipped)} damaged row{'s' if len(looked.skipped) > 1 else ''} left out"
    return f"{note}; {count} (line {shown}{f' and {more} more' if more > 0 else ''})"


@contextmanager
def _seekable(stream: BinaryIO) -> Iterator[BinaryIO]:
    """The stream itself where it can be read twice, else a nameless copy of it."""
    if stream.seekable():
        yield stream
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream, copy)
        copy.seek(0)
        yield cast(BinaryIO, copy)
