"""Stored values of an outbox: what is stored is read back with its type."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from tconnectsync.outbox import Outbox, stored_values
from tconnectsync.outbox.batch_size import BatchSize
from tconnectsync.outbox.suspect_documents import Suspect, Suspects

AT = datetime(2026, 6, 1, 12, 0, 0, 5000, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("stored", "value"),
    [
        (stored_values.CURSOR, 7),
        (stored_values.ADDRESS, 'site://a "quoted"'),
        (stored_values.HAND_OVERS.of("1:0"), [(5, AT, "wear.began")]),
        (stored_values.GAPS.of("1:0"), [(1, 2)]),
        (stored_values.ADMITTED_FROM, AT),
        (stored_values.ADMITTED_FOLDS, ["boluses"]),
        (stored_values.FOREIGN_ALLOWED, stored_values.ForeignAllowed.ONCE),
        (stored_values.READ_BACK, stored_values.ReadBack(since=AT)),
        (stored_values.BATCH_SIZE, BatchSize(limit=5, failures=1, probing=True)),
        (stored_values.SUSPECTS, Suspects({"a": Suspect(strikes=2, tries=3, others_passed=True, reason="HTTP 500")})),
        (stored_values.REWRITES_ALLOWED, True),
    ],
)
def test_stored_and_read(tmp_path: Path, stored: stored_values.StoredValue[Any], value: object) -> None:
    """A value survives the file; forgotten or unreadable, the default counts."""
    outbox = Outbox(tmp_path / "sink.sqlite")
    outbox.values.put(stored, value)
    outbox.close()
    again = Outbox(tmp_path / "sink.sqlite")
    assert again.values.get(stored) == value
    again.values.forget(stored)
    assert again.values.get(stored) == stored.default
    if stored.type is not str:
        again.values.put_text(stored.name, '{"x": [')
        assert again.values.get(stored) == stored.default
    again.close()
