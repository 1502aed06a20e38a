"""The tables of the index, in one SQLite file.

- ``event``: every record of a pump. ``best`` marks the revision to read.
- ``fact``: the records about the data.
- ``also``: the other kinds of an event whose revisions have different kinds.
- ``jump``: where the clock of a numbered stream went back without a record.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

VERSION = 1
"""Version of the tables below. A file with another version is rebuilt."""

FREQUENT = ("basal.delivered", "basal.rate_changed", "glucose.reading", "pump.noted", "unknown")
"""The kinds of most records. The SQL index ``event_rare`` has only the others."""

RARE_FROM = 16
"""Smallest number of a rare kind."""

SCHEMA = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE kind (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
CREATE TABLE stream (id INTEGER PRIMARY KEY, pump TEXT NOT NULL, grp INTEGER, source TEXT NOT NULL, numbered INTEGER NOT NULL);
CREATE TABLE event (
  stream INTEGER, key INTEGER, tie INTEGER, pos INTEGER, kind INTEGER, digest BLOB, pump_us INTEGER, offset INTEGER,
  best INTEGER, PRIMARY KEY (stream, key, tie, pos)) WITHOUT ROWID;
CREATE INDEX event_pos ON event (pos, kind);
CREATE INDEX event_rare ON event (stream, kind, key) WHERE kind >= {RARE_FROM} AND best = 1;
CREATE TABLE span (stream INTEGER, kind INTEGER, first INTEGER, last INTEGER, PRIMARY KEY (stream, kind)) WITHOUT ROWID;
CREATE TABLE also (pos INTEGER, stream INTEGER, key INTEGER, kind INTEGER, PRIMARY KEY (pos, kind)) WITHOUT ROWID;
CREATE TABLE jump (stream INTEGER, key INTEGER, before_us INTEGER, after_us INTEGER, PRIMARY KEY (stream, key)) WITHOUT ROWID;
CREATE TABLE fact (pos INTEGER PRIMARY KEY, kind INTEGER, source TEXT, pump TEXT, tie INTEGER, digest BLOB, offset INTEGER);
CREATE INDEX fact_kind ON fact (kind, pos);
CREATE INDEX fact_tie ON fact (tie);
CREATE TABLE decoder (source TEXT, tag INTEGER, read_as INTEGER, PRIMARY KEY (source, tag)) WITHOUT ROWID;
CREATE TABLE verified (segment INTEGER PRIMARY KEY, at TEXT NOT NULL);
CREATE TABLE damage (
  path TEXT, line INTEGER, position INTEGER, last INTEGER, what TEXT, stream INTEGER, first_key INTEGER, last_key INTEGER);
"""

_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, 1)"
_COLUMNS = 8
_ROWS_AT_ONCE = 100
"""Rows of one INSERT. One call of SQLite for each row would take twice as long."""

_INSERT_ROW = f"INSERT INTO event VALUES {_ROW}"
_INSERT_ROWS = f"INSERT INTO event VALUES {', '.join([_ROW] * _ROWS_AT_ONCE)}"


def insert_events(database: sqlite3.Connection, values: Sequence[object]) -> None:
    """Insert rows of ``event``, each as the best revision of its event. ``values``: all columns but ``best``, row after row."""
    size = _COLUMNS * _ROWS_AT_ONCE
    many = len(values) - len(values) % size
    database.executemany(_INSERT_ROWS, (values[at : at + size] for at in range(0, many, size)))
    database.executemany(_INSERT_ROW, (values[at : at + _COLUMNS] for at in range(many, len(values), _COLUMNS)))
