"""An outbox of schema 2 or 3 is converted as it is, and many documents are stored at once as they would be one by one."""

from __future__ import annotations

import itertools
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tconnectsync import Document
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.database import _DOCUMENT_TABLE, SCHEMA_VERSION, open_to_read, open_to_write
from tconnectsync.outbox.encoded_document import EncodedDocument
from tconnectsync.outbox.stored_values import ADDRESS

NOW = datetime(2026, 6, 16, 18, 30, tzinfo=timezone.utc)
TABLES = ("document", "invalidated", "checkpoint", "out_of_range", "stored_value")


def contents(db: sqlite3.Connection, tables: Sequence[str] = TABLES) -> dict[str, list[Any]]:
    return {table: sorted(db.execute(f"SELECT * FROM {table}"), key=repr) for table in tables}


def indexes(db: sqlite3.Connection) -> set[tuple[str, str]]:
    return set(db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"))


@pytest.fixture
def version_2(tmp_path: Path) -> Path:
    """An outbox with documents in several states, with the tables of schema 2."""
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox.opened(path)
    documents = [
        Document(id=f"{(7 * i) % 20:02}", collection="things", unique_slot="s" * (i % 2), at=NOW + timedelta(minutes=i), content={"n": i},
                 ttl_s=60.0 if i == 3 else None, problem="impossible" if i == 4 else None)
        for i in range(20)
    ]  # fmt: skip
    with outbox.transaction():
        outbox.documents.upsert_all([(4, EncodedDocument.of(document)) for document in documents], "fold", "1:0")
        pending = outbox.queue.pending(NOW + timedelta(days=1), 100)
        outbox.queue.mark_delivered((delivery, "key") for delivery in pending[:5])
        outbox.queue.dead_letter(pending[6], "refused")
        outbox.queue.set_in_doubt([pending[7]], True)
        outbox.documents.mark_unclaimed(["05"])
        outbox.documents.retire_unclaimed("fold", "1:0")
        outbox.checkpoints.invalidate([("1:0", 5, "fold")])
        outbox.values.put(ADDRESS, "https://site.example")
    outbox.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        columns = ", ".join(row[1] for row in db.execute("PRAGMA table_info(document)"))
        db.execute("ALTER TABLE document RENAME TO newer")
        db.execute(_DOCUMENT_TABLE.rstrip() + " WITHOUT ROWID")
        db.execute(f"INSERT INTO document({columns}) SELECT {columns} FROM newer")
        made = [sql for _, sql in indexes(db)]
        db.execute("DROP TABLE newer")
        for sql in made:
            db.execute(sql.replace('"newer"', "document"))
        db.execute("ALTER TABLE stored_value RENAME TO fact")
        db.execute("PRAGMA user_version=2")
    return path


@pytest.fixture
def version_3(version_2: Path) -> Path:
    """The same with the tables of schema 3."""
    open_to_write(version_2).close()
    with closing(sqlite3.connect(version_2, isolation_level=None)) as db:
        db.execute("ALTER TABLE stored_value RENAME TO fact")
        db.execute("PRAGMA user_version=3")
    return version_2


def test_an_outbox_of_version_2_is_converted(version_2: Path) -> None:
    """Every row, column and index is the same afterwards, and the rows are in the order of their times."""
    with closing(open_to_read(version_2)) as db:
        before, before_indexes = contents(db), {name for name, _ in indexes(db)}
    assert len(before["document"]) == 20
    with closing(open_to_write(version_2)) as db:
        assert contents(db) == before
        assert {name for name, _ in indexes(db)} == before_indexes
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        times = [at for (at,) in db.execute("SELECT at_ms FROM document ORDER BY rowid")]
        assert times == sorted(times)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert sorted(path.name for path in version_2.parent.iterdir()) == ["outbox.sqlite"]


def test_an_outbox_of_version_3_is_converted(version_3: Path) -> None:
    """Its table of stored values gets its name; before that it can be read."""
    with closing(open_to_read(version_3)) as db:
        before = contents(db)
    assert before["stored_value"]
    with closing(open_to_write(version_3)) as db:
        assert contents(db) == before
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'fact'").fetchall()
    outbox = Outbox.opened(version_3)
    assert outbox.values.get(ADDRESS) == "https://site.example"
    outbox.close()


def test_an_interrupted_renaming_changes_nothing(version_3: Path) -> None:
    """The next start does it."""
    with closing(sqlite3.connect(version_3, isolation_level=None)) as db:
        db.execute("CREATE TABLE stored_value(id)")
    with pytest.raises(sqlite3.OperationalError):
        open_to_write(version_3)
    with closing(sqlite3.connect(version_3, isolation_level=None)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (3,)
        db.execute("DROP TABLE stored_value")
    with closing(open_to_write(version_3)) as db:
        assert contents(db)["stored_value"]


def test_an_interrupted_conversion_changes_nothing(version_2: Path) -> None:
    """If it fails on the way, the file is what it was, and the next start converts it."""
    old = (*TABLES[:-1], "fact")
    with closing(sqlite3.connect(version_2, isolation_level=None)) as db:
        before = contents(db, old)
        db.execute("CREATE TABLE document_of_version_2(id)")
    with pytest.raises(sqlite3.OperationalError):
        open_to_write(version_2)
    with closing(sqlite3.connect(version_2, isolation_level=None)) as db:
        assert contents(db, old) == before
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
        db.execute("DROP TABLE document_of_version_2")
    with closing(open_to_write(version_2)) as db:
        assert list(contents(db).values()) == list(before.values())


def test_opening_again_writes_nothing(version_2: Path) -> None:
    """Each turn opens the outbox and stores what is usual there: only a change may wait for the disk."""
    Outbox.opened(version_2).close()
    before = version_2.read_bytes()
    outbox = Outbox.opened(version_2)
    outbox.values.put(ADDRESS, "https://site.example")
    outbox.close()
    assert version_2.read_bytes() == before


@pytest.mark.parametrize("column", ["ownership_state", "content_state", "delivery_state"])
def test_states_that_do_not_exist_are_refused(version_2: Path, column: str) -> None:
    """The tables themselves refuse a row in a state that no part of the program knows."""
    with closing(open_to_write(version_2)) as db, pytest.raises(sqlite3.IntegrityError, match=column):
        db.execute(f"UPDATE document SET {column} = 'lost'")


SOME_DOCUMENTS = st.lists(
    st.builds(
        Document,
        id=st.sampled_from("abcde"),
        collection=st.sampled_from(["one", "two"]),
        unique_slot=st.sampled_from(["", "rate"]),
        at=st.sampled_from([NOW, NOW + timedelta(minutes=5)]),
        content=st.fixed_dictionaries({"n": st.integers(0, 1)}),
        problem=st.sampled_from([None, None, None, "impossible"]),
    ),
    max_size=5,
    unique_by=lambda document: document.id,
)
PAIRS = st.tuples(st.sampled_from("pq"), st.sampled_from("abc"))
AFTERWARDS = st.sampled_from(["", "delivered", "in doubt", "replayed"])
ROUNDS = st.lists(
    st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=3), SOME_DOCUMENTS, AFTERWARDS), max_size=6
)


@given(rounds=ROUNDS)
def test_many_at_once_are_stored_as_one_by_one(rounds: list[tuple[list[int], list[Document], str]]) -> None:
    """The same rows, whatever was there, moved, collided, was delivered, tried or replayed before."""

    def one_by_one(outbox: Outbox, documents: Sequence[tuple[int, Document]]) -> None:
        for interval, document in documents:
            outbox.documents.upsert(document, "fold", "1:0", interval)

    def at_once(outbox: Outbox, documents: Sequence[tuple[int, Document]]) -> None:
        encoded = [(interval, EncodedDocument.of(document)) for interval, document in documents]
        outbox.documents.upsert_all(encoded, "fold", "1:0")

    with tempfile.TemporaryDirectory() as folder:
        found = [play(Path(folder) / store.__name__, rounds, store) for store in (one_by_one, at_once)]
    assert found[0] == found[1]


def play(
    path: Path,
    rounds: Sequence[tuple[list[int], Sequence[Document], str]],
    store: Callable[[Outbox, Sequence[tuple[int, Document]]], None],
) -> dict[str, list[Any]]:
    """Fold intervals again and again, as the fold runner does, with a delivery, an attempt or a replay after some; return all rows."""
    outbox = Outbox(path)
    for intervals, documents, afterwards in rounds:
        with outbox.transaction():
            gone = outbox.documents.desired_in("fold", "1:0", intervals) - {document.id for document in documents}
            outbox.documents.mark_unclaimed(sorted(gone))
            store(outbox, list(zip(itertools.cycle(sorted(intervals)), documents)))
            pending = outbox.queue.pending(NOW + timedelta(days=1), 3)
            if afterwards == "delivered":
                outbox.queue.mark_delivered((delivery, delivery.document_id) for delivery in pending)
            elif afterwards == "in doubt":
                outbox.queue.set_in_doubt(pending, True)
            elif afterwards == "replayed":
                outbox.queue.replay(["fold"])
    found = contents(outbox._db)
    outbox.close()
    return found


@given(st.lists(st.tuples(st.sampled_from("pq"), st.integers(0, 3), st.sampled_from("abc"))), st.sets(PAIRS))
def test_first_invalid_interval(rows: list[tuple[str, int, str]], blocked: set[tuple[str, str]]) -> None:
    """It is the first one of the first stream that has a fold that may run, with all of these folds."""
    allowed = sorted({row for row in rows if (row[0], row[2]) not in blocked})
    expected = None
    if allowed:
        stream, interval, _ = allowed[0]
        expected = (stream, interval, tuple(fold for *place, fold in allowed if place == [stream, interval]))
    with closing(Outbox(Path(":memory:"))) as outbox:
        outbox.checkpoints.invalidate(rows)
        assert outbox.checkpoints.first_invalid(except_for=blocked) == expected
