"""Outboxes that are older copies: from a time on, the receivers may have what they do not know."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

from tconnectsync.errors import MachineTrouble
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.stored_values import DOUBTED_FROM


def doubt_outboxes(folder: Path, since: datetime) -> None:
    """Prepare the outboxes in ``folder``, if everything that was delivered later was from ``since`` (UTC) on.

    Before the next delivery, these documents are compared with the receiver's, as after the loss of a whole outbox. What is
    older counts as known. A corrupt outbox is moved aside, and everything is compared. Errors: MachineTrouble.
    """
    for path in sorted(folder.glob("*.sqlite")):
        try:
            with closing(Outbox.opened(path)) as outbox, outbox.transaction():
                outbox.queue.doubt(since)
                outbox.values.put(DOUBTED_FROM, min(since, outbox.values.get(DOUBTED_FROM) or since))
        except (OSError, sqlite3.Error) as error:
            raise MachineTrouble(f"{path} cannot be written ({error})", remedy="Make room on the disk.") from error
