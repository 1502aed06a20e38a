"""Documents to post, and how to compare what comes back."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from tests.support.simulated_nightscout.values import iso

NOW = datetime.now(timezone.utc).replace(microsecond=0)
LONG_AGO = "2019-05-06T07:08:09.123Z"
EVERYTHING = {"find[created_at][$gte]": "2000-01-01T00:00:00.000Z", "count": "1000"}


def ago(**amount: float) -> str:
    return iso(NOW - timedelta(**amount))


def note(**fields: Any) -> dict[str, Any]:
    return {"eventType": "Note", "created_at": ago(hours=1), **fields}


def without_id(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in document.items() if key != "_id"} for document in documents]
