"""What an outbox that is an older copy doubts, and what it keeps."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import msgspec
import pytest

from tconnectsync import Document, StoredDocument
from tconnectsync.errors import MachineTrouble
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.older_copy import mark_older, open_outbox
from tconnectsync.outbox.stored_values import StoredValues

SINCE = datetime(2026, 6, 16, tzinfo=timezone.utc)
NOW = SINCE + timedelta(days=3)
DOSE = Document(
    id="dose", collection="things", unique_slot="rate", at=SINCE + timedelta(hours=1), content={"rate": 1.0}
)
KEPT = StoredDocument(document_id="dose", collection="things", at=DOSE.at, receiver_key="there")


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """An outbox whose only document was delivered."""
    found = Outbox.opened(tmp_path / "shelf.sqlite")
    make(found, DOSE)
    deliver(found)
    yield found
    found.close()


def make(outbox: Outbox, document: Document) -> None:
    """Fold something that makes this document."""
    with outbox.transaction():
        outbox.documents.upsert(document, "rates", "1:0", 4)


def deliver(outbox: Outbox) -> None:
    with outbox.transaction():
        outbox.queue.mark_delivered([(each, "here") for each in outbox.queue.pending(NOW, 10)])


def withdraw(outbox: Outbox) -> None:
    """Fold something that no longer makes it."""
    with outbox.transaction():
        outbox.documents.mark_unclaimed(["dose"])
        outbox.documents.retire_unclaimed("rates", "1:0")


def older(outbox: Outbox, *folds: str) -> Outbox:
    """The same outbox, opened as an older copy."""
    mark_older(outbox.path.parent, SINCE)
    return open_outbox(Outbox, outbox.path, folds or ("rates",))


@pytest.mark.parametrize(("words", "way_out"), [("database or disk is full", "df -h"), ("database is locked", "lsof")])
def test_copy_that_cannot_be_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, way_out: str) -> None:
    """The remedy fits the reason."""
    folder = tmp_path / "outbox"
    Outbox.opened(folder / "shelf.sqlite").close()

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError(words)

    monkeypatch.setattr(StoredValues, "put", fail)
    with pytest.raises(MachineTrouble, match=words) as told:
        mark_older(folder, SINCE)
    assert way_out in (told.value.remedy or "")


def test_delivered_document_is_made_and_looked_for(outbox: Outbox) -> None:
    """What was delivered is folded again, and looked for before it is sent. If the read-back has found it, it is not in doubt."""
    copy = older(outbox)
    make(copy, DOSE)
    (delivery,) = copy.queue.pending(NOW, 10)
    assert (delivery.in_doubt, delivery.receiver_key) == (True, None)
    copy.found.record(KEPT)
    (delivery,) = copy.queue.pending(NOW, 10)
    assert (delivery.in_doubt, delivery.receiver_key) == (False, "there")
    copy.close()


def test_document_before_that_time(tmp_path: Path, outbox: Outbox) -> None:
    """What is older stays as it is."""
    make(outbox, msgspec.structs.replace(DOSE, id="early", at=SINCE - timedelta(seconds=1)))
    deliver(outbox)
    copy = older(outbox)
    make(copy, DOSE)
    assert [each.document_id for each in copy.queue.pending(NOW, 10)] == ["dose"]
    copy.close()


def test_fold_that_is_switched_off(outbox: Outbox) -> None:
    """Nothing folds its documents again, so they do not wait for it."""
    copy = older(outbox, "another fold")
    assert copy.queue.waiting(NOW) == 0
    copy.close()


def test_withdrawn_document_that_is_made_again(outbox: Outbox) -> None:
    """The lost worker may have deleted it. If it is made again as it was, it is sent."""
    withdraw(outbox)
    copy = older(outbox)
    assert [each.document for each in copy.queue.pending(NOW, 10)] == [None]
    make(copy, DOSE)
    assert [each.document_id for each in copy.queue.pending(NOW, 10)] == ["dose"]
    copy.close()


def test_key_of_a_document_that_moved(outbox: Outbox) -> None:
    """A newer content waits, also as a dead letter: the copy may be at another time, so its key stays."""
    make(outbox, msgspec.structs.replace(DOSE, content={"rate": 2.0}))
    (delivery,) = outbox.queue.pending(NOW, 10)
    with outbox.transaction():
        outbox.queue.dead_letter(delivery, "no")
    copy = older(outbox)
    make(copy, DOSE)
    assert [each.receiver_key for each in copy.queue.pending(NOW, 10)] == ["here"]
    copy.close()


def test_dropped_dead_letter_stays_dropped(outbox: Outbox) -> None:
    """What the user gave up is not sent again."""
    make(outbox, msgspec.structs.replace(DOSE, content={"rate": 2.0}))
    (delivery,) = outbox.queue.pending(NOW, 10)
    with outbox.transaction():
        outbox.queue.dead_letter(delivery, "no")
        outbox.dead_letters.drop(["dose"])
    copy = older(outbox)
    assert copy.queue.waiting(NOW) == 0
    copy.close()


def test_it_is_doubted_once(outbox: Outbox) -> None:
    """The next time that it is opened, what was delivered since is not doubted again."""
    copy = older(outbox)
    make(copy, DOSE)
    deliver(copy)
    copy.close()
    again = open_outbox(Outbox, outbox.path, ["rates"])
    assert again.queue.waiting(NOW) == 0
    again.close()


def test_waiting_content_is_not_the_oldest(outbox: Outbox) -> None:
    """Only what can be sent counts as the oldest document."""
    copy = older(outbox)
    assert copy.queue.waiting(NOW) == 1
    assert copy.queue.oldest() is None
    make(copy, DOSE)
    assert copy.queue.oldest() == DOSE.at
    copy.close()
