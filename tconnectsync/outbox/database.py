"""The SQLite file of one outbox: its tables, how it is opened, and how an unusable one is moved aside."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from tconnectsync.disk_check import connect_to_read
from tconnectsync.filesystem import OsFiles
from tconnectsync.folder_owner import require_own_database
from tconnectsync.outbox.document_states import DeliveryState, DocumentState, OwnershipState

log = logging.getLogger("tconnectsync.sinks")
SCHEMA_VERSION = 4
# without these, sqlite3 searches an adapter for each such value of a statement, which takes longer than to bind it
sqlite3.register_adapter(bytes, bytearray)
sqlite3.register_adapter(type(None), lambda none: none)


def _one_of(column: str, states: type[Enum]) -> str:
    """Return the condition that a column has one of these states. ``IN`` takes longer than all else of an ``INSERT``."""
    return " OR ".join(f"{column} = '{state.value}'" for state in states)


_DOCUMENT_TABLE = f"""
CREATE TABLE IF NOT EXISTS document(
    id TEXT PRIMARY KEY NOT NULL, collection TEXT NOT NULL, unique_slot TEXT NOT NULL DEFAULT '',
    at_ms INTEGER NOT NULL, time_shift_ms INTEGER NOT NULL DEFAULT 0, ttl_s REAL,
    ownership_state TEXT NOT NULL CHECK ({_one_of("ownership_state", OwnershipState)}),
    fold TEXT, stream TEXT, interval INTEGER, found_pump TEXT, found_slot TEXT,
    content_state TEXT NOT NULL CHECK ({_one_of("content_state", DocumentState)}),
    desired_hash BLOB CHECK ((desired_hash IS NULL) = (content_state = 'unknown')), content BLOB,
    delivery_state TEXT NOT NULL DEFAULT 'never' CHECK ({_one_of("delivery_state", DeliveryState)}),
    delivered_hash BLOB CHECK ((delivered_hash IS NULL) = (delivery_state <> 'delivered')),
    receiver_key TEXT, in_doubt INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_ms INTEGER, postponed_at_ms INTEGER, dead_reason TEXT, given_up INTEGER NOT NULL DEFAULT 0,
    pending INTEGER AS (dead_reason IS NULL AND CASE ownership_state
        WHEN 'found' THEN 0
        WHEN 'withdrawn' THEN delivery_state <> 'never'
        ELSE desired_hash IS NULL OR desired_hash IS NOT delivered_hash END) VIRTUAL
)
"""
"""Rows are stored in the order of insertion. In the order of their random ids, each transaction would write the whole table."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS stored_value(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS invalidated(stream TEXT, interval INTEGER, fold TEXT, PRIMARY KEY(stream, interval, fold)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checkpoint(fold TEXT, stream TEXT, interval INTEGER, state BLOB NOT NULL,
    PRIMARY KEY(fold, stream, interval)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS out_of_range(fold TEXT, stream TEXT, interval INTEGER, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL,
    PRIMARY KEY(fold, stream, interval)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS document_origin ON document(fold, stream, interval);
CREATE INDEX IF NOT EXISTS document_slot ON document(collection, unique_slot, at_ms);
CREATE INDEX IF NOT EXISTS document_pending ON document(at_ms) WHERE pending;
CREATE INDEX IF NOT EXISTS document_withdrawn ON document(fold, stream) WHERE ownership_state = 'withdrawn';
CREATE INDEX IF NOT EXISTS document_unclaimed ON document(fold, stream) WHERE ownership_state = 'unclaimed';
CREATE INDEX IF NOT EXISTS document_dead ON document(at_ms) WHERE dead_reason IS NOT NULL;
CREATE INDEX IF NOT EXISTS document_ttl ON document(at_ms) WHERE ttl_s IS NOT NULL;
"""
_REPLACING_INDEX = (
    "CREATE INDEX IF NOT EXISTS document_replacing ON document(receiver_key) WHERE pending AND receiver_key IS NOT NULL"
)
"""Not in the schema: earlier files of this version lack it."""


class OtherVersion(sqlite3.DatabaseError):
    """The file has the tables of another release."""

    def __init__(self, version: int) -> None:
        super().__init__(f"its tables are of another release (version {version}, this one writes {SCHEMA_VERSION})")
        self.version = version


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open the file at ``path``, or create it. Raises OtherVersion, sqlite3.Error."""
    require_own_database(path)
    OsFiles().make_folder(path.parent)
    db = sqlite3.connect(path, isolation_level=None)
    try:
        version = _require_version(db, 0, 2, 3)
        if version == 2:
            _convert_version_2(db)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA cache_size=-500")  # kilobytes; more was not faster, and the daemon keeps them for years
        db.execute("PRAGMA journal_size_limit=1048576")
        if version != SCHEMA_VERSION:
            _create_tables(db, version)
        db.execute(_REPLACING_INDEX)
    except BaseException:
        db.close()
        raise
    return db


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open the file for reading, while a daemon may write it. Raises OtherVersion, sqlite3.Error."""
    require_own_database(path)
    db = connect_to_read(path)
    try:
        if _require_version(db, 2, 3) != SCHEMA_VERSION:
            db.execute("CREATE TEMP VIEW stored_value AS SELECT * FROM fact")
    except BaseException:
        db.close()
        raise
    return db


def _require_version(db: sqlite3.Connection, *others: int) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    if version not in (SCHEMA_VERSION, *others):
        raise OtherVersion(version)
    return version


@contextlib.contextmanager
def _conversion_to(db: sqlite3.Connection, version: int) -> Iterator[None]:
    """Change the tables and their version in one transaction, or nothing at all."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute(f"PRAGMA user_version={version}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # if the disk is full, SQLite has rolled back already
            db.execute("ROLLBACK")
        raise


def _convert_version_2(db: sqlite3.Connection) -> None:
    """Store the documents in another order: version 2 had the same columns, in the order of their ids."""
    indexes = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'document' AND sql IS NOT NULL"
    with _conversion_to(db, 3):
        for (name,) in db.execute(indexes).fetchall():
            db.execute(f"DROP INDEX {name}")
        db.execute("ALTER TABLE document RENAME TO document_of_version_2")
        db.execute(_DOCUMENT_TABLE)
        columns = ", ".join(row[1] for row in db.execute("PRAGMA table_info(document)"))  # without the computed one
        db.execute(f"INSERT INTO document({columns}) SELECT {columns} FROM document_of_version_2 ORDER BY at_ms")
        db.execute("DROP TABLE document_of_version_2")


def _create_tables(db: sqlite3.Connection, version: int) -> None:
    """Create what is missing, in one transaction: one for each table would wait for the disk each time.

    In versions 2 and 3 the table of stored values was ``fact``.
    """
    with _conversion_to(db, SCHEMA_VERSION):
        if version in (2, 3):
            db.execute("ALTER TABLE fact RENAME TO stored_value")
        for statement in (_DOCUMENT_TABLE, *_SCHEMA.split(";")):
            db.execute(statement)


def move_aside(path: Path, error: sqlite3.Error) -> dict[str, str]:
    """Keep an unusable file as ``<name>.damaged``, or as ``<name>.v1`` if an older release wrote it.

    Return the stored values that cannot be rebuilt: the user's decisions and the address.
    """
    ending, kept = "damaged", dict[str, str]()
    if isinstance(error, OtherVersion):
        ending = f"v{error.version}"
        kept = _values_of_version_1(path) if error.version == 1 else {}
        log.warning('outbox_of_other_release path=%s version=%d kept="%s.%s" it is rebuilt from the log and the receiver',
                    path, error.version, path.name, ending)  # fmt: skip
    else:
        log.error('outbox_damaged path=%s reason="%s" it is rebuilt from the log and the receiver', path, error)
    for part in ("", "-wal", "-shm"):
        old = path.with_name(path.name + part)
        if old.exists():
            old.replace(path.with_name(f"{path.name}.{ending}{part}"))
    return kept


def _values_of_version_1(path: Path) -> dict[str, str]:
    db = sqlite3.connect(path, isolation_level=None)
    try:
        known = dict(db.execute("SELECT key, value FROM meta"))
    except sqlite3.Error:  # corrupt as well: nothing can be kept
        return {}
    finally:
        db.close()
    found = {"address": known.get("address", "")}
    if allowed := known.get("adopted"):
        found["others_allowed"] = json.dumps("once" if allowed == "once" else "always")
    if delivered := known.get("last_delivered"):
        found["last_delivered"] = json.dumps(f"{delivered[:19]}+00:00")
    return {name: text for name, text in found.items() if text}
