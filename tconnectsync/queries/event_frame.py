"""Events as rows of a table, and as a pandas data frame if pandas is installed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

import attrs

from tconnectsync.events import Event

COLUMNS = ("at", "kind", "pump", "seq", "pump_time", "source")
"""The first columns of every table; the fields of the events follow."""


def event_row(event: Event) -> Mapping[str, Any]:
    """Return the event's envelope and fields by name. A field that has the name of a column is left out."""
    row: dict[str, Any] = {name: getattr(event, name) for name in COLUMNS}
    body = event.body
    for field in attrs.fields(type(body)):
        row.setdefault(field.name, getattr(body, field.name))
    return row


def data_frame(events: Iterable[Event]) -> Any:  # pandas has no types here, and need not be installed
    """Return a ``pandas.DataFrame`` with a row for each event, indexed by ``at``. Errors: ImportError without pandas."""
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
    columns = list(COLUMNS) + sorted({name for row in rows for name in row} - set(COLUMNS))
    return pandas.DataFrame(rows, columns=columns).set_index("at")
