"""Check which pump the responses are from: doses have no serial number, but readings and features have one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from tconnectsync import SourceChanged
from tconnectsync_tconnect.api.transport import CHANGED_WAIT_S
from tconnectsync_tconnect.rows.csv_rows import serial_of
from tconnectsync_tconnect.rows.csv_tables import DEVICE, PUMP, CsvRow
from tconnectsync_tconnect.rows.merge import WindowResponses
from tconnectsync_tconnect.rows.serial_numbers import is_rounded
from tconnectsync_tconnect.rows.therapy_events import cell

CORRECT_THE_LIST = "Correct the list (the serial number is on the back of the pump), then `tconnectsync check`. Its data was not stored."


class OtherPump(SourceChanged):
    """Data of a pump that the options do not name."""


def serials_of(features: Sequence[Any]) -> frozenset[str]:
    """The serial numbers in the features; empty if there are none."""
    return frozenset(_serials(features))


def serials_in(answers: WindowResponses) -> frozenset[str]:
    """The serial numbers in the readings of some days."""
    serials = set(_serials(one for one in answers.therapy if isinstance(one, Mapping) and one.get("type") == "CGM"))
    rows = (row for row in answers.csv if isinstance(row, CsvRow) and row.table in (DEVICE, PUMP))
    serials |= {serial for row in rows if (serial := serial_of(row)) is not None}
    return frozenset(serial for serial in serials if not is_rounded(serial))


def other_pump(what: str, serials: Collection[str], pump: str) -> OtherPump:
    """The error for data of a pump that the options do not name. Stored under ``pump``, it would count twice."""
    return OtherPump(
        f"{what} of pump {', '.join(sorted(serials))}, but sources.tconnect.pumps names {pump}",
        after_s=CHANGED_WAIT_S,
        remedy=CORRECT_THE_LIST,
    )


def _serials(rows: Any) -> Iterator[str]:
    for row in rows:
        serial = cell(row.get("serialNumber")).strip() if isinstance(row, Mapping) else ""
        if serial.strip("0-"):
            yield serial
