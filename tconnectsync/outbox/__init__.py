"""The outbox of one sink: a SQLite file with its cursor, fold states, desired and delivered documents, and dead letters.

It can be deleted: it is rebuilt from the log, and from what the receiver already has. Changes that belong together are made
in one transaction: :meth:`Outbox.transaction`. The states of a document are in :mod:`tconnectsync.outbox.document_states`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from tconnectsync.outbox.checkpoints import Checkpoints
from tconnectsync.outbox.comparison_rows import DocumentRow, DocumentRows
from tconnectsync.outbox.database import OtherVersion, move_aside, open_to_read, open_to_write
from tconnectsync.outbox.dead_letters import Counts, DeadLetter, DeadLetters, set_aside_words
from tconnectsync.outbox.desired_documents import DesiredDocuments
from tconnectsync.outbox.document_states import RUNNING
from tconnectsync.outbox.found_documents import FoundDocuments
from tconnectsync.outbox.queue import DeliveryQueue
from tconnectsync.outbox.stored_values import StoredValues

__all__ = ["RUNNING", "Counts", "DeadLetter", "DocumentRow", "Outbox", "set_aside_words"]

O = TypeVar("O", bound="Outbox")  # noqa: E741


class Outbox:
    """One sink's file and the parts that read and write it. ``writable=False`` reads it while a daemon may write."""

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        self.path = path
        self._db = open_to_write(path) if writable else open_to_read(path)
        self.values = StoredValues(self._db)
        self.checkpoints = Checkpoints(self._db, self.values)
        self.documents = DesiredDocuments(self._db, self.checkpoints)
        self.queue = DeliveryQueue(self._db, self.checkpoints)
        self.found = FoundDocuments(self._db)
        self.dead_letters = DeadLetters(self._db)
        self.rows = DocumentRows(self._db, self.checkpoints)

    @classmethod
    def opened(cls: type[O], path: Path) -> O:
        """Open the outbox at ``path``. A corrupt one, or one of another release, is moved aside and rebuilt."""
        try:
            return cls(path)
        except sqlite3.DatabaseError as error:
            if type(error) not in (sqlite3.DatabaseError, OtherVersion):  # a full disk, or a locked file: not corrupt
                raise
            return cls.rebuilt(path, error)

    @classmethod
    def rebuilt(cls: type[O], path: Path, error: sqlite3.Error) -> O:
        """Return an empty outbox at ``path``. The old file is renamed."""
        kept = move_aside(path, error)
        fresh = cls(path)
        for name, text in kept.items():
            fresh.values.put_text(name, text)
        return fresh

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def copy_to(self, path: Path) -> None:
        """Copy it as it is now, also while a daemon writes."""
        with closing(sqlite3.connect(path)) as target:
            self._db.backup(target)

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """Run the block in one transaction: all of it is stored, or nothing.

        Not ``durable``: a power cut may undo it, until the next durable one is stored. A killed process undoes nothing.
        """
        if not durable:
            self._db.execute("PRAGMA synchronous=NORMAL")
        try:
            with self._transaction():
                yield
        finally:
            if not durable:
                self._db.execute("PRAGMA synchronous=FULL")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # if the disk is full, SQLite has rolled back already
                self._db.execute("ROLLBACK")
            raise
