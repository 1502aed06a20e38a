"""Events as rows of a table, and as a pandas data frame if pandas is installed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from importlib import import_module
from typing import Any

from tconnectsync.events import BODIES, Event

COLUMNS = ("at", "kind", "pump", "seq", "pump_time", "source")
"""The first columns of every table; the fields of the events follow."""


def event_row(event: Event) -> Mapping[str, Any]:
    """Return the event's envelope and fields by name. A field that has the name of a column is left out."""
    row: dict[str, Any] = {name: getattr(event, name) for name in COLUMNS}
    body = event.body
    for name in body.__struct_fields__:
        row.setdefault(name, getattr(body, name))
    return row


def data_frame(events: Iterable[Event], kinds: Collection[str] = ()) -> Any:  # pandas need not be installed
    """Return a ``pandas.DataFrame`` with a row for each event, indexed by ``at``. Errors: ImportError without pandas.

    It has the columns of these ``kinds``, also if there is no event, and of all events.
    """
    try:
        pandas = import_module("pandas")
    except ModuleNotFoundError as error:
        if error.name != "pandas":
            raise
        raise ImportError(
            "Data frames need pandas, which is not installed here. Run `pip install pandas` in this environment.",
            name="pandas",
        ) from None
    rows = [event_row(event) for event in events]
    names = {name for kind in kinds for name in BODIES[kind].__struct_fields__} | {name for row in rows for name in row}
    columns = [*COLUMNS[1:], *sorted(names - set(COLUMNS))]
    index = pandas.DatetimeIndex([row["at"] for row in rows], tz="UTC", name="at")
    return pandas.DataFrame(rows, columns=columns, index=index)
