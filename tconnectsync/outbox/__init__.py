"""What one sink knows, in one SQLite file: cursor, checkpoints, documents wanted and delivered, dead letters.

Everything here can be deleted and is made anew from the log (and, for what is already delivered, from the receiver). All that
belongs together moves in one transaction: :meth:`Outbox.transaction`.

A document's row tells what is wanted (``want``, a content hash), what the receiver took (``sent``), and under which key
(``stored``). ``want`` and ``sent`` differ: something is to be sent. ``want`` is NULL: to be taken back, or nothing.
"""

from __future__ import annotations

from tconnectsync.clock import milliseconds, moment
from tconnectsync.outbox.dead_letters import Counts, DeadLetter, set_aside_words
from tconnectsync.outbox.rows import DocumentRow, DocumentRows
from tconnectsync.outbox.store import RUNNING

__all__ = ["RUNNING", "Counts", "DeadLetter", "DocumentRow", "Outbox", "milliseconds", "moment", "set_aside_words"]


class Outbox(DocumentRows):
    """One sink's file, in layers: the store, the intervals, what is wanted, what is sent, what was set aside, what is compared."""
