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


def test_back_at_a_place_that_was_taken(tmp_path: Path) -> None:
    """A document returns to the place of its copy. Another one was stored there meanwhile, so it is sent again."""
    first = Document(id="a", collection="things", unique_slot="sgv", at=AT, content={"sgv": 100})
    second = msgspec.structs.replace(first, id="b", at=AT + timedelta(hours=6))
    outbox = Outbox.opened(tmp_path / "outbox.sqlite")
    put(outbox, first, second)
    deliver(outbox, "a", "b")
    put(outbox, *(msgspec.structs.replace(each, at=each.at - timedelta(hours=6)) for each in (first, second)))
    deliver(outbox, "b")
    put(outbox, first, second)
    assert times(outbox) == [first.at, second.at]
    deliver(outbox, "a", "b")
    put(outbox, first, second)
    assert times(outbox) == []
    outbox.close()


def test_withdrawn_and_back_at_its_place(tmp_path: Path) -> None:
    """The same for a document that was to be deleted."""
    first = Document(id="a", collection="things", unique_slot="sgv", at=AT, content={"sgv": 100})
    second = msgspec.structs.replace(first, id="b")
    outbox = Outbox.opened(tmp_path / "outbox.sqlite")
    put(outbox, first)
    deliver(outbox, "a")
    with outbox.transaction():
        outbox.documents.mark_unclaimed(["a"])
        outbox.documents.retire_unclaimed("readings", "1:0")
    put(outbox, second)
    deliver(outbox, "b")
    put(outbox, first, second)
    assert {AT, AT + timedelta(milliseconds=1)} == set(times(outbox))
    outbox.close()


def put(outbox: Outbox, *documents: Document) -> None:
    with outbox.transaction():
        for document in documents:
            outbox.documents.upsert(document, "readings", "1:0", 4)


def deliver(outbox: Outbox, *ids: str) -> None:
    """The receiver accepts these of the pending documents."""
    pending = [each for each in outbox.queue.pending(LATER, 10) if each.document is not None]
    accepted = [(each, each.document.at.isoformat()) for each in pending if each.document and each.document_id in ids]
    assert len(accepted) == len(ids)
    with outbox.transaction():
        outbox.queue.mark_delivered(accepted)
