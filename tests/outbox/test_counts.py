"""The numbers of documents that `status` shows: they are found without a look at every document."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tconnectsync.outbox import Outbox


def test_counts_read_only_indexes(tmp_path: Path) -> None:
    """An outbox of some years has a million delivered documents."""
    asked: list[str] = []
    path = tmp_path / "sink.sqlite"
    with closing(Outbox(path)) as outbox:
        outbox._db.set_trace_callback(asked.append)
        counts = outbox.dead_letters.counts()
    assert (counts.pending, counts.dead) == (0, 0)
    assert len(asked) == 2
    with closing(sqlite3.connect(path)) as database:
        for statement in asked:
            [(*_, plan)] = database.execute(f"EXPLAIN QUERY PLAN {statement}")
            assert "INDEX document_" in plan
