"""Shared by all folds: the record that a point comes from, and the document of a point."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime

from tconnectsync import Document, document_id
from tconnectsync.events.limits import (
    BATTERY_MV,
    GLUCOSE_MG_DL,
    MAX_BOLUS_U,
    MAX_CARBS_G,
    MAX_IOB_U,
    MAX_RATE_U_PER_H,
    MAX_VOLUME_U,
    is_possible,
)
from tconnectsync.events.source_record import SourceRecord

LIMITS: Mapping[str, tuple[float, float]] = {
    "carbs_g": (0.0, MAX_CARBS_G),
    "duration_min": (0.0, 24 * 60.0),
    "extended_u": (0.0, MAX_BOLUS_U),
    "insulin_u": (0.0, MAX_BOLUS_U),
    "iob_u": (0.0, MAX_IOB_U),
    "mg_dl": GLUCOSE_MG_DL,
    "mv": BATTERY_MV,
    "percent": (0.0, 100.0),
    "rate_u_per_h": (0.0, MAX_RATE_U_PER_H),
    "requested_u": (0.0, MAX_BOLUS_U),
    "reservoir_u": (0.0, MAX_VOLUME_U),
    "volume_u": (0.0, MAX_VOLUME_U),
}
"""A value outside these is wrong: its document is set aside and not sent. Fields that are not here have no limits."""
_PLACES = 500_000
"""Times within one second: every second nanosecond of its first millisecond, so that no deletion can hit the next one."""


def point_document(
    measurement: str,
    record: SourceRecord,
    *,
    fields: Mapping[str, float | str | None],
    at: datetime | None = None,
    **tags: str | None,
) -> Document:
    """Return the document of a point at ``at`` (default: the record's time). Fields and tags that are None or "" are left out.

    There is one document for each record and measurement.
    """
    identity = document_id(
        record.pump, "-" if record.group is None else record.group, record.key, "influxdb", measurement
    )
    place = uuid.UUID(identity).int if record.seq is None else record.seq
    given = {name: value for name, value in fields.items() if value is not None and value != ""}
    wrong = [name for name, value in given.items() if not _fits(name, value)]
    return Document(
        id=identity,
        collection=measurement,
        at=(at or record.at).replace(microsecond=0),
        content={
            "tags": {"pump": record.pump, **{name: value for name, value in tags.items() if value}},
            "fields": {
                name: value if isinstance(value, str) else round(float(value), 4)
                for name, value in given.items()
                if name not in wrong
            },
            "offset_ns": 2 * (place % _PLACES),
        },
        problem=f"impossible value in record {record.key}: {', '.join(f'{name} {given[name]}' for name in wrong)}" if wrong else None,
    )  # fmt: skip


def _fits(name: str, value: float | str) -> bool:
    if isinstance(value, str):
        return True
    return is_possible(value, *LIMITS.get(name, (-1e12, 1e12)))
