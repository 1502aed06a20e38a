"""The file: its tables, its transactions, and small texts."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from tconnectsync.disk_check import connect_to_read
from tconnectsync.filesystem import OsFiles
from tconnectsync.folder_owner import require_own_database

log = logging.getLogger("tconnectsync.sinks")
S = TypeVar("S", bound="Store")
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS marked(stream TEXT, interval INTEGER, fold TEXT, PRIMARY KEY(stream, interval, fold)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checkpoint(fold TEXT, stream TEXT, interval INTEGER, state BLOB NOT NULL,
    PRIMARY KEY(fold, stream, interval)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS beyond(fold TEXT, stream TEXT, interval INTEGER, first INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY(fold, stream, interval)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS document(
    id TEXT PRIMARY KEY, collection TEXT NOT NULL, slot TEXT NOT NULL, at INTEGER NOT NULL, shift INTEGER NOT NULL DEFAULT 0,
    fold TEXT, stream TEXT, interval INTEGER, limbo INTEGER NOT NULL DEFAULT 0,
    want TEXT, content BLOB, worth_s REAL, dead TEXT,
    sent TEXT, stored TEXT, unsure INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0, next_try INTEGER,
    postponed_at INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS document_origin ON document(fold, stream, interval);
CREATE INDEX IF NOT EXISTS document_slot ON document(collection, slot, at);
CREATE INDEX IF NOT EXISTS document_pending ON document(at) WHERE want IS NOT sent AND dead IS NULL;
CREATE INDEX IF NOT EXISTS document_leaving ON document(fold, stream) WHERE want IS NULL;
CREATE INDEX IF NOT EXISTS document_dead ON document(at) WHERE dead IS NOT NULL;
CREATE INDEX IF NOT EXISTS document_worth ON document(at) WHERE worth_s IS NOT NULL;
CREATE INDEX IF NOT EXISTS document_limbo ON document(fold, stream) WHERE limbo = 1;
"""
RUNNING = -1
"""The interval of documents that are still going on."""


class Store:
    """One sink's file. ``writable=False`` reads it beside a running daemon."""

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        require_own_database(path)
        if writable:
            OsFiles().make_folder(path.parent)
            self._db = sqlite3.connect(path, isolation_level=None)
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.execute("PRAGMA cache_size=-500")  # kilobytes, which stay for years; more was no quicker
                self._db.execute("PRAGMA journal_size_limit=1048576")
                (version,) = self._db.execute("PRAGMA user_version").fetchone()
                if version not in (0, _SCHEMA_VERSION):
                    raise sqlite3.DatabaseError(f"it is of another release (version {version})")
                self._db.executescript(_SCHEMA)
                self._add_new_columns()
                self._db.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
            except sqlite3.Error:
                self._db.close()
                raise
        else:
            self._db = connect_to_read(path)
        self.path = path

    def _add_new_columns(self) -> None:
        """An outbox of an older release of the same version lacks these."""
        there = {row[1] for row in self._db.execute("PRAGMA table_info(document)")}
        if "postponed_at" not in there:
            self._db.execute("ALTER TABLE document ADD COLUMN postponed_at INTEGER")

    @classmethod
    def opened(cls: type[S], path: Path) -> S:
        """The outbox at ``path``. One that is no database any more is put aside: all that it said can be found out again."""
        try:
            return cls(path)
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError:  # a full disk, or a locked file: what is in it is not harmed
                raise
            return cls.renewed(path, error)

    @classmethod
    def renewed(cls: type[S], path: Path, error: sqlite3.Error) -> S:
        """An empty one at ``path``; what was there is kept as ``<name>.damaged``."""
        log.error('outbox_damaged path=%s reason="%s" it is made anew from the log and the receiver', path, error)
        for ending in ("", "-wal", "-shm"):
            old = path.with_name(path.name + ending)
            if old.exists():
                old.replace(path.with_name(f"{path.name}.damaged{ending}"))
        return cls(path)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def copy_to(self, path: Path) -> None:
        """Copy it as it is now, also beside a writer."""
        with closing(sqlite3.connect(path)) as target:
            self._db.backup(target)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing of what is done inside."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # where the disk is full, SQLite has rolled back by itself
                self._db.execute("ROLLBACK")
            raise

    # --- small facts ------------------------------------------------------------------------------------------------

    def get(self, key: str, default: str = "") -> str:
        """A remembered text."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return default if row is None else str(row[0])

    def put(self, key: str, value: str) -> None:
        """Remember a text."""
        self._db.execute(
            "INSERT INTO meta VALUES(?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value", (key, value)
        )

    def forget(self, prefix: str) -> None:
        """Forget all texts whose key begins so."""
        self._db.execute("DELETE FROM meta WHERE substr(key, 1, ?) = ?", (len(prefix), prefix))

    @property
    def cursor(self) -> int:
        """The log position up to which events have been marked for folding."""
        return int(self.get("cursor", "0"))
