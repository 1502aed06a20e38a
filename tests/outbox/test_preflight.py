"""An interrupted preflight starts again and never counts as done."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tconnectsync.errors import CredentialsRefused, Retryable
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.preflight import READ_BACK_AT_ONCE, DeliveryBlock, Preflight
from tconnectsync.outbox.sender import Sender
from tconnectsync.outbox.stored_values import CONFIRMED, LOOKED_AT, READ_BACK
from tconnectsync.plugin.fold import Document
from tconnectsync.plugin.receiver import FieldDiff, StoredDocument

NOW = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)


def test_read_back_after_refusal(tmp_path: Path) -> None:
    """Reading back starts again from the beginning after the secret was refused in the middle.

    A generator that raised is exhausted: documents that it has not given yet would be sent as if they were not there.
    """
    trouble = [CredentialsRefused("refused", remedy="")]

    def read_back(*_: Any) -> Iterator[StoredDocument]:
        if trouble:
            raise trouble.pop()
        yield StoredDocument(document_id="a", collection="c", at=NOW, receiver_key="there", unique_slot="s", content={})

    receiver: Any = SimpleNamespace(address="site", inspect=lambda *_: None, read_back=read_back)
    clock: Any = SimpleNamespace(now=lambda: NOW)
    outbox = Outbox(tmp_path / "outbox.sqlite")
    with outbox.transaction():
        outbox.documents.upsert(
            Document(id="a", collection="c", unique_slot="s", at=NOW, content={}), "fold", "stream", 0
        )
    admission = Preflight(Sender(outbox, receiver), clock, "sink", ("fold",))
    with pytest.raises(CredentialsRefused):
        admission.step()
    assert admission.step() is True
    assert outbox.values.get(READ_BACK), "what is there was read"
    outbox.close()


class Shelf(SimpleNamespace):
    """A readable receiver with copies, newest first. ``different``: the ids of those that are not as they would be sent."""

    def inspect(self, *_: Any) -> None:
        return None

    def read_back(self, *_: Any) -> Iterator[StoredDocument]:
        for copy in self.copies:
            if copy is None:
                raise Retryable("the site is slow")
            yield copy

    def shows(self, _: str) -> bool:
        return True

    def survey(self, *_: Any) -> Iterator[StoredDocument]:
        return iter(())

    def compare(self, document: Document, _: StoredDocument) -> list[FieldDiff]:
        return [FieldDiff(field="x", ours=1, theirs=2)] if document.id in self.different else []


def copy_of(number: int, **changes: Any) -> StoredDocument:
    at = NOW - timedelta(minutes=number)
    values = {
        "document_id": f"d{number:04}",
        "collection": "c",
        "at": at,
        "receiver_key": f"k{number}",
        "unique_slot": "s",
    }
    return StoredDocument(**(values | changes))


def rebuilt(path: Path, count: int, copies: list[StoredDocument | None], **more: Any) -> tuple[Outbox, Preflight]:
    """An outbox that was lost and folded again, and what the receiver has."""
    outbox = Outbox(path / "outbox.sqlite")
    with outbox.transaction():
        for number in range(count):
            document = Document(id=f"d{number:04}", collection="c", unique_slot="s", at=copy_of(number).at, content={})
            outbox.documents.upsert(document, "fold", "stream", number)
    receiver: Any = Shelf(**({"address": "site", "copies": copies, "different": set(), "batch_size": 100} | more))
    clock: Any = SimpleNamespace(now=lambda: NOW)
    return outbox, Preflight(Sender(outbox, receiver), clock, "sink", ("fold",))


@pytest.mark.parametrize("equal", [True, False])
def test_a_new_address_gets_everything_or_waits(tmp_path: Path, equal: bool) -> None:
    """Part of the old site was read back. What it has, and its keys, must not count for another one."""
    copies: list[StoredDocument | None] = [copy_of(number) for number in range(READ_BACK_AT_ONCE)]
    different = set() if equal else {copy.document_id for copy in copies if copy is not None}
    outbox, preflight = rebuilt(tmp_path, READ_BACK_AT_ONCE + 300, [*copies, None], different=different)
    assert preflight.step() is False
    with pytest.raises(Retryable):
        preflight.step()
    assert outbox.queue.waiting(NOW) == 300 + len(different)
    receiver: Any = preflight.sender.receiver
    receiver.address = "another site"
    assert isinstance(preflight.step(), DeliveryBlock)
    outbox.close()


def test_a_full_last_page_is_not_the_end(tmp_path: Path) -> None:
    """If all that was pending is there, nobody asks for the next step: the documents behind it are read all the same."""
    orphan = copy_of(9000)
    outbox, preflight = rebuilt(
        tmp_path, READ_BACK_AT_ONCE, [*(copy_of(number) for number in range(READ_BACK_AT_ONCE)), orphan]
    )
    assert preflight.step() is True
    assert outbox.queue.first_to_put() is None
    assert outbox.values.get(LOOKED_AT) == NOW
    with outbox.transaction():
        assert outbox.found.resolve(lambda *_: True) == 1
    outbox.close()


@pytest.mark.parametrize("changes", [{"receiver_key": "stale"}, {"ephemeral": True}, {"at": NOW - timedelta(days=3)}])
def test_other_copies_are_sent_again(tmp_path: Path, changes: dict[str, Any]) -> None:
    """A second copy of a document, an announcement, and a copy at another time do not count as what would be sent."""
    copies: list[StoredDocument | None] = [copy_of(1, receiver_key="first"), copy_of(1, **changes)]
    outbox, preflight = rebuilt(
        tmp_path, 3, [copy_of(0), *copies[1 if "receiver_key" not in changes else 0 :], copy_of(2)]
    )
    cast(Any, preflight.sender.receiver).different = {"d0002"}
    assert preflight.step() is True
    assert [delivery.document_id for delivery in outbox.queue.pending(NOW, 10)] == ["d0001", "d0002"]
    assert outbox.values.get(CONFIRMED)
    outbox.close()


def test_a_page_that_was_not_stored_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk: otherwise what that page had would be sent as if it were not there."""
    outbox, preflight = rebuilt(tmp_path, 3, [copy_of(number) for number in range(3)])
    with monkeypatch.context() as full:
        full.setattr(
            Preflight, "_keep_equal", lambda *_: (_ for _ in ()).throw(sqlite3.OperationalError("disk is full"))
        )
        with pytest.raises(sqlite3.OperationalError):
            preflight.step()
    assert preflight.step() is True
    assert outbox.queue.first_to_put() is None, "all three are there"
    outbox.close()
