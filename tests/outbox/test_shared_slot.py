"""Two documents of one slot and time are a millisecond apart, whichever fold interval makes them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import msgspec

from tconnectsync import Document
from tconnectsync.outbox import Outbox

AT = datetime(2026, 6, 16, 18, 30, tzinfo=timezone.utc)
LATER = AT + timedelta(days=1)


def times(outbox: Outbox) -> list[datetime]:
    return sorted(each.document.at for each in outbox.queue.pending(LATER, 10) if each.document is not None)


def test_slot_claimed_again(tmp_path: Path) -> None:
    """A document that no interval made for a while still moves the other one when it comes back."""
    lesser = Document(id="a", collection="things", unique_slot="rate", at=AT, content={"rate": 1.0})
    greater = msgspec.structs.replace(lesser, id="b", content={"rate": 0.0})
    outbox = Outbox.opened(tmp_path / "outbox.sqlite")
    with outbox.transaction():
        outbox.documents.upsert(lesser, "rates", "1:0", 4)
        outbox.documents.mark_unclaimed(["a"])
        outbox.documents.upsert(greater, "rates", "1:0", 3)
        outbox.documents.upsert(lesser, "rates", "1:0", 3)
    assert len(set(times(outbox))) == len(times(outbox)), "one of them would replace the other"
    with outbox.transaction():
        outbox.documents.upsert(greater, "rates", "1:0", 3)
    assert times(outbox) == [AT, AT + timedelta(milliseconds=1)]
    outbox.close()
