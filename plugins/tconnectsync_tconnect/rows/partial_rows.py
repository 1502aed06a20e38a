"""Read what is readable of an invalid row: the dose and its time first; the rest is stored as it is.

A dose is read only if nothing contradicts it. In a row with too many or too few cells, every relevant column must have
valid contents; a number of the next column is never used as a dose.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from tconnectsync_tconnect.rows import cells as values
from tconnectsync_tconnect.rows.bad_row import BadRow
from tconnectsync_tconnect.rows.csv_tables import BASAL, BOLUS, DEVICE, IOB, TIME, CsvRow

Cells = Mapping[str, str]
_Check = Callable[[Cells, str], Any]

_DOSES: Mapping[str, _Check] = {
    "BolusRequestID": values.identity,
    "CompletionDateTime": values.time,
    "InsulinDelivered": values.number,
    "FoodDelivered": values.number,
    "CorrectionDelivered": values.number,
    "CompletionStatusID": values.number,
    "BolusIsComplete": values.flag,
    "BolexSize": values.number,
    "BolexStartDateTime": values.time,
    "BolexCompletionDateTime": values.time,
    "BolexInsulinDelivered": values.number,
    "ExtendedBolusIsComplete": values.flag,
    TIME: values.time,
    "RequestDateTime": values.time,
}
"""Columns of a bolus with amount and time of delivery, or between those."""
_BESIDE: Mapping[str, _Check] = {
    "BG": values.number,
    "IOB": values.number,
    "StandardPercent": values.number,
    "Duration": values.number,
    "CarbSize": values.number,
    "UserOverride": values.flag,
    "TargetBG": values.number,
    "CorrectionFactor": values.number,
    "FoodBolusSize": values.number,
    "CorrectionBolusSize": values.number,
    "ActualTotalBolusRequested": values.number,
    "IsQuickBolus": values.flag,
}
"""Columns that do not change the dose."""
_READ = frozenset(_BESIDE) - {"IOB", "UserOverride", "TargetBG", "CorrectionFactor", "IsQuickBolus"}
"""Those of them whose contents are used."""
_MATTERS: Mapping[str, Mapping[str, _Check]] = {
    BOLUS: _DOSES,
    BASAL: {TIME: values.time, "BasalRate": values.number},
    IOB: {TIME: values.time, "IOB": values.number},
    DEVICE: {TIME: values.time},
}
_TYPE = re.compile(r'(?:^|")\s*(?:Bolus|Basal|IOB|[^"]*Pump)\s*$')
"""A cell that begins a row, perhaps behind the last cell of the row before it."""
_EXTENDED_END = ("BolexCompletionDateTime", "BolexInsulinDelivered")
_END = ("CompletionDateTime", "InsulinDelivered")


@attrs.frozen(kw_only=True)
class Readable:
    """The readable part of a row.

    ``cells``: reliable cells. ``around``: the rest, unchanged, for the log. ``reasons``: empty for a valid row.
    """

    cells: Cells
    around: Mapping[str, Any] = attrs.field(factory=dict)
    reasons: Sequence[str] = ()
    no_amount: bool = False
    """A dose was delivered, but the row has no amount."""
    damage: BadRow | None = None
    """A dose, or a row in the same line, that is unreadable while the rest is readable."""


def readable(row: CsvRow) -> Readable:
    """Return the reliable cells. Raises BadRow if the cells may be in the wrong columns."""
    if row.misfit:
        _must_fit(row)
    checks = _BESIDE if row.table == BOLUS else {"IOB": values.number} if row.table == DEVICE else {}
    cells, unread = dict(row.cells), {}
    reasons = [row.misfit] if row.misfit else []
    doubtful = [column for column, check in checks.items() if not _fits(cells, column, check)]
    if doubtful and row.misfit:
        doubtful = [column for column in checks if column in cells]
    for column in doubtful:
        if column in _READ:
            reasons.append(f"{column} cannot be read")
        unread[column] = cells.pop(column)
    problem = _without_unknown_ends(cells, unread) if row.table == BOLUS else None
    if problem is not None:
        reasons.append(f"{problem.column} {problem.reason}")
    damage = None if problem is None or problem.empty else problem
    if _holds_another_row(row.rest):
        damage = BadRow("is followed by another row in the same line")
    return Readable(
        cells=cells,
        around={**({"unread": unread} if unread else {}), **({"rest": list(row.rest)} if row.rest else {})},
        reasons=reasons,
        no_amount=problem is not None,
        damage=damage,
    )


def _holds_another_row(rest: Sequence[str]) -> bool:
    """Whether the rest of a line is another row, because the line's end is missing: its type, and later a time."""
    begun = next((index for index, cell in enumerate(rest) if _TYPE.search(cell)), len(rest))
    return time_among(rest[begun:]) is not None


def _must_fit(row: CsvRow) -> None:
    for column, check in _MATTERS.get(row.table, {}).items():
        if not _fits(row.cells, column, check):
            raise BadRow(f"{row.misfit}, and the value here belongs to another column", column=column)
    if row.table == BOLUS and "BolusIsComplete" not in row.cells:
        raise BadRow(row.misfit)


def _fits(cells: Cells, column: str, check: _Check) -> bool:
    try:
        check(cells, column)
    except BadRow:
        return False
    return True


def _without_unknown_ends(cells: dict[str, str], unread: dict[str, str]) -> BadRow | None:
    """Remove ends without amount or time: then the delivered amount is unknown, never 0."""
    found = None
    if _is_set(cells, "ExtendedBolusIsComplete") and (found := _extended_problem(cells)) is not None:
        _take_out(cells, unread, (*_EXTENDED_END, "ExtendedBolusIsComplete"))
    if _is_set(cells, "BolusIsComplete"):
        if not any(values.text(cells, column) for column in (_END[0], TIME)):
            found = found or BadRow("is empty", column=_END[0], empty=True)
        elif not values.text(cells, _END[1]):
            found = found or BadRow("is empty", column=_END[1], empty=True)
        else:
            return found
        _take_out(cells, unread, (*_END, "BolusIsComplete"))
    return found


def _extended_problem(cells: Cells) -> BadRow | None:
    try:
        end = values.needed_time(cells, _EXTENDED_END[0])
        values.needed_number(cells, _EXTENDED_END[1])
        begin = values.time(cells, "BolexStartDateTime")
        if begin is not None and begin > end:
            raise BadRow("is before the extended part's start", column=_EXTENDED_END[0])
    except BadRow as problem:
        return problem
    return None


def _is_set(cells: Cells, column: str) -> bool:
    try:
        return values.flag(cells, column)
    except BadRow:
        return False  # reported where the facts are made


def _take_out(cells: dict[str, str], unread: dict[str, str], columns: Sequence[str]) -> None:
    unread.update({column: cells.pop(column) for column in columns if column in cells})


def time_among(cells: Sequence[str]) -> datetime | None:
    """The first of these cells that is a time, for a row that fits no header."""
    named = {str(index): cell for index, cell in enumerate(cells)}
    return time_of(named, *named) if named else None


def time_of(cells: Cells, *columns: str) -> datetime | None:
    """The first readable time in these columns."""
    for column in columns or (TIME, "RequestDateTime", "CompletionDateTime"):
        if _fits(cells, column, values.needed_time):
            return values.time(cells, column)
    return None
