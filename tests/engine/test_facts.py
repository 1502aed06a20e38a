"""Typed facts of an outbox: what is stored is read back with its type."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from tconnectsync.outbox import Outbox, facts
from tconnectsync.outbox.batch_size import BatchSize
from tconnectsync.outbox.suspect_documents import Suspect, Suspects

AT = datetime(2026, 6, 1, 12, 0, 0, 5000, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        (facts.CURSOR, 7),
        (facts.ADDRESS, 'site://a "quoted"'),
        (facts.HAND_OVERS.of("1:0"), [(5, AT, "wear.began")]),
        (facts.GAPS.of("1:0"), [(1, 2)]),
        (facts.ADMITTED_FROM, AT),
        (facts.ADMITTED_FOLDS, ["boluses"]),
        (facts.FOREIGN_ALLOWED, facts.ForeignAllowed.ONCE),
        (facts.READ_BACK, facts.ReadBack(since=AT)),
        (facts.BATCH_SIZE, BatchSize(limit=5, failures=1, probing=True)),
        (facts.SUSPECTS, Suspects({"a": Suspect(strikes=2, tries=3, others_passed=True, reason="HTTP 500")})),
        (facts.REWRITES_ALLOWED, True),
    ],
)
def test_facts_stored_and_read(tmp_path: Path, fact: facts.Fact[Any], value: object) -> None:
    """A value survives the file; forgotten or unreadable, the default counts."""
    outbox = Outbox(tmp_path / "sink.sqlite")
    outbox.facts.put(fact, value)
    outbox.close()
    again = Outbox(tmp_path / "sink.sqlite")
    assert again.facts.get(fact) == value
    again.facts.forget(fact)
    assert again.facts.get(fact) == fact.default
    if fact.type is not str:
        again.facts.put_text(fact.name, '{"x": [')
        assert again.facts.get(fact) == fact.default
    again.close()
