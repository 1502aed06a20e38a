"""Outboxes that are older copies: from a time on, the receivers may have what they do not know."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

from tconnectsync.errors import MachineTrouble
from tconnectsync.outbox import O, Outbox
from tconnectsync.outbox.stored_values import DOUBTED_FROM, OLDER_COPY_FROM
from tconnectsync.storage_errors import storage_error, storage_remedy


def mark_older(folder: Path, since: datetime) -> None:
    """Mark the outboxes in ``folder`` as copies, if everything that was delivered after them was from ``since`` (UTC) on.

    A corrupt one is moved aside: it is rebuilt, and everything is compared with the receiver. Errors: MachineTrouble.
    """
    for path in sorted(folder.glob("*.sqlite")):
        try:
            with closing(Outbox.opened(path)) as outbox:
                _mark(outbox, since)
        except (OSError, sqlite3.Error) as error:
            if type(error) is not sqlite3.DatabaseError:  # a full disk, for example: not corrupt
                found = storage_error(error, path)
                remedy = None if found is None else storage_remedy(found, folder.parent)
                raise MachineTrouble(f"{path} cannot be written ({error})", remedy=remedy) from error
            Outbox.rebuilt(path, error).close()


def _mark(outbox: Outbox, since: datetime) -> None:
    values = outbox.values
    with outbox.transaction():
        for stored in (OLDER_COPY_FROM, DOUBTED_FROM):
            values.put_earliest(stored, since)


def open_outbox(kind: type[O], path: Path, folds: Sequence[str]) -> O:
    """Open the outbox at ``path``, or rebuild it if it is corrupt. If it is an older copy, doubt what the receiver may have by now.

    Before the next delivery, these documents of the ``folds`` are compared with the receiver's, as after the loss of a whole
    outbox. What is older counts as known. Errors: OSError, sqlite3.OperationalError.
    """
    outbox = kind.opened(path)
    try:
        since = outbox.values.get(OLDER_COPY_FROM)
        if since is not None:
            with outbox.transaction():
                outbox.queue.doubt(since, folds)
                outbox.values.forget(OLDER_COPY_FROM)
    except sqlite3.Error as error:
        outbox.close()
        if type(error) is not sqlite3.DatabaseError:
            raise
        return kind.rebuilt(path, error)
    return outbox
