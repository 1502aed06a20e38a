"""The outbox's queue and sender against a receiver: batches, halving, dead letters, withdrawals, expiry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import attrs
import msgspec
import pytest

from tconnectsync import Delivery, Document, Outcome, Retryable, document_id
from tconnectsync.clock import milliseconds
from tconnectsync.outbox import RUNNING, Outbox
from tconnectsync.outbox.sender import HALT_AFTER, Sender
from tests.support.engine.fakes import START, FakeReceiver

NOW = START + timedelta(days=1)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """An empty outbox."""
    outbox = Outbox(tmp_path / "sink.sqlite")
    yield outbox
    outbox.close()


def document(number: int, *, at: datetime | None = None, **changes: object) -> Document:
    known = Document(
        id=document_id("test", number),
        collection="things",
        at=START + timedelta(minutes=number) if at is None else at,
        content={"number": number},
    )
    return msgspec.structs.replace(known, **changes)


def want(outbox: Outbox, *documents: Document) -> None:
    with outbox.transaction():
        for known in documents:
            outbox.documents.upsert(known, "fold", "1:0", 0)


def drain(sender: Sender, now: datetime = NOW) -> None:
    for _ in range(1000):
        if not sender.send_next(now):
            return
    raise AssertionError("delivery does not end")


def test_equal_document_sent_once(outbox: Outbox) -> None:
    """Equal documents are sent once."""
    receiver = FakeReceiver()
    sender = Sender(outbox, receiver)
    want(outbox, document(1), document(2))
    drain(sender)
    calls = receiver.calls
    want(outbox, document(1), document(2))
    drain(sender)
    assert receiver.calls == calls
    assert len(receiver.there) == 2


def test_changed_document_replaces(outbox: Outbox) -> None:
    """A changed document replaces the old one."""
    receiver = FakeReceiver()
    sender = Sender(outbox, receiver)
    want(outbox, document(1))
    drain(sender)
    want(outbox, document(1, content={"number": 11}))
    drain(sender)
    assert [known.content for known in receiver.there.values()] == [{"number": 11}]


def test_changed_while_it_was_sent(outbox: Outbox) -> None:
    """The receiver has what was sent, not what is desired by now: the change is sent, and a change back is not."""
    want(outbox, document(1))
    sent = outbox.queue.pending(NOW, 10)
    want(outbox, document(1, content={"number": 11}))
    outbox.queue.mark_delivered((delivery, "key") for delivery in sent)
    [again] = outbox.queue.pending(NOW, 10)
    assert again.document is not None
    assert again.document.content == {"number": 11}
    want(outbox, document(1))
    assert not outbox.queue.pending(NOW, 10)


def test_folded_is_on_disk_before_it_is_sent(outbox: Outbox, tmp_path: Path) -> None:
    """Folding does not wait for the disk, so each attempt does, also if all its documents were in doubt already."""
    written = tmp_path / "sink.sqlite-wal"

    @attrs.define
    class LookingReceiver(FakeReceiver):
        sizes: list[int] = attrs.field(factory=list)

        def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
            self.sizes.append(written.stat().st_size)
            return list(super().deliver(batch))

    receiver = LookingReceiver()
    want(outbox, document(1))
    with outbox.transaction():
        outbox.queue.set_in_doubt(outbox.queue.pending(NOW, 1), True)
    with outbox.transaction(durable=False):
        outbox.documents.upsert(document(1, content={"number": 11}), "fold", "1:0", 0)
    before = written.stat().st_size
    Sender(outbox, receiver).send_next(NOW)
    assert receiver.sizes
    assert receiver.sizes[0] > before


def test_change_back_after_unknown_result(outbox: Outbox) -> None:
    """A document that changes back after an attempt without an answer is sent again.

    The receiver may have the other content by now. That it once took this content does not prove that it is there.
    """
    receiver = FakeReceiver()
    sender = Sender(outbox, receiver)
    want(outbox, document(1))
    drain(sender)
    want(outbox, document(1, content={"number": 11}))
    with outbox.transaction():
        outbox.queue.set_in_doubt(outbox.queue.pending(NOW, 1), True)
    receiver.deliver(outbox.queue.pending(NOW, 1))  # and the process dies
    want(outbox, document(1))
    drain(sender)
    assert [known.content for known in receiver.there.values()] == [{"number": 1}]


class ClearingReceiver(FakeReceiver):
    """Takes the old copy of a document away before it looks at the new one."""

    def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        if any(delivery.document_id in self.poison for delivery in batch):
            for delivery in batch:
                self.there.pop(delivery.document_id, None)
        return super().deliver(batch)


def test_change_back_after_refusal(outbox: Outbox) -> None:
    """A document that changes back after a refusal is sent again.

    A site that keeps documents by their time has lost the old copy of one that moved when it refuses the new one.
    """
    receiver = ClearingReceiver()
    sender = Sender(outbox, receiver)
    want(outbox, document(1))
    drain(sender)
    receiver.poison = frozenset({document(1).id})
    want(outbox, document(1, content={"number": 11}))
    drain(sender)
    receiver.poison = frozenset()
    want(outbox, document(1))
    drain(sender)
    assert [known.content for known in receiver.there.values()] == [{"number": 1}]


def test_backlog_newest_first(outbox: Outbox) -> None:
    """The newest documents of a backlog go first."""
    receiver = FakeReceiver(batch_size=3)
    want(outbox, *(document(number) for number in range(10)))
    Sender(outbox, receiver).send_next(NOW)
    assert sorted(known.content["number"] for known in receiver.there.values()) == [7, 8, 9]


def test_refused_batch_isolates_culprit(outbox: Outbox) -> None:
    """A refused batch is halved until the culprit is alone; the rest is delivered."""
    culprit = document(5)
    receiver = FakeReceiver(batch_size=16, poison=frozenset({culprit.id}))
    want(outbox, *(document(number) for number in range(16)))
    drain(Sender(outbox, receiver))
    assert len(receiver.there) == 15
    assert [(letter.id, letter.reason) for letter in outbox.dead_letters.all()] == [(culprit.id, "poison")]


def test_refuses_everything_halts(outbox: Outbox) -> None:
    """A receiver that refuses everything halts the sink, so that the log is not set aside document by document."""
    documents = [document(number) for number in range(100)]
    receiver = FakeReceiver(batch_size=50, poison=frozenset(known.id for known in documents))
    want(outbox, *documents)
    sender = Sender(outbox, receiver)
    while not sender.is_halted():
        assert sender.send_next(NOW)
    assert outbox.dead_letters.counts().dead == HALT_AFTER
    assert outbox.dead_letters.counts().pending == 100 - HALT_AFTER


def test_dead_letters_retry_and_drop(outbox: Outbox) -> None:
    """Dead letters are tried again or dropped on the user's command."""
    culprit, other = document(1), document(2)
    receiver = FakeReceiver(poison=frozenset({culprit.id, other.id}))
    sender = Sender(outbox, receiver)
    want(outbox, culprit, other)
    drain(sender)
    assert outbox.dead_letters.retry([culprit.id]) == 1
    receiver.poison = frozenset({other.id})
    drain(sender)
    assert list(receiver.there) == [culprit.id]
    assert outbox.dead_letters.drop(None) == 1
    drain(sender)
    assert list(receiver.there) == [culprit.id]
    assert outbox.dead_letters.counts().dead == 0


def test_dead_letters_after_outage(outbox: Outbox) -> None:
    """What was refused while everything was refused is tried again once the receiver takes something.

    A site answered every write with 400 for an hour: the doses of that hour must arrive.
    """
    hour, later = [document(number) for number in range(7)], document(8)
    receiver = FakeReceiver(poison=frozenset(known.id for known in hour))
    want(outbox, *hour)
    drain(Sender(outbox, receiver))
    assert outbox.dead_letters.counts().dead == 7
    receiver.poison = frozenset()
    want(outbox, later)
    drain(Sender(outbox, receiver))  # another process
    assert len(receiver.there) == 8
    assert outbox.dead_letters.counts().dead == 0


def test_dead_letter_refused_twice(outbox: Outbox) -> None:
    """A document that is refused a second time stays set aside."""
    culprit = document(5)
    receiver = FakeReceiver(batch_size=4, poison=frozenset({culprit.id}))
    sender = Sender(outbox, receiver)
    for begin in range(0, 40, 10):
        want(outbox, *(document(number) for number in range(begin, begin + 10)))
        drain(sender)
    assert len(receiver.there) == 39
    assert [(letter.id, letter.attempts) for letter in outbox.dead_letters.all()] == [(culprit.id, 1)]
    asked = receiver.calls
    want(outbox, document(40))
    drain(sender)
    assert receiver.calls == asked + 1


def test_refusals_counted_over_restart(outbox: Outbox) -> None:
    """Refusals in a row are counted over restarts."""
    documents = [document(number) for number in range(HALT_AFTER)]
    receiver = FakeReceiver(batch_size=50, poison=frozenset(known.id for known in documents))
    for known in documents:
        want(outbox, known)
        sender = Sender(outbox, receiver)
        drain(sender)
    assert sender.is_halted()


def test_refusals_counted_per_document(outbox: Outbox) -> None:
    """A document that is refused in every version counts once among refusals in a row."""
    growing = document(1)
    receiver = FakeReceiver(poison=frozenset({growing.id}))
    for number in range(HALT_AFTER + 5):
        want(outbox, document(1, content={"number": number}))
        sender = Sender(outbox, receiver)
        drain(sender)
        assert not sender.is_halted()
    assert sender.refused == [growing.id]


def test_dead_letter_with_new_content(outbox: Outbox) -> None:
    """A dead letter whose content changes is tried again without a command."""
    receiver = FakeReceiver(poison=frozenset({document(1).id}))
    sender = Sender(outbox, receiver)
    want(outbox, document(1))
    drain(sender)
    receiver.poison = frozenset()
    want(outbox, document(1, content={"number": 2}))
    drain(sender)
    assert len(receiver.there) == 1
    assert outbox.dead_letters.counts().dead == 0


def test_impossible_value(outbox: Outbox) -> None:
    """An impossible value is set aside and never sent."""
    receiver = FakeReceiver()
    want(outbox, document(1, problem="99 U is more than a pump can give"))
    drain(Sender(outbox, receiver))
    assert receiver.there == {}
    assert [letter.reason for letter in outbox.dead_letters.all()] == ["99 U is more than a pump can give"]
    assert outbox.dead_letters.retry(None) == 0


def test_future_document_waits(outbox: Outbox) -> None:
    """Documents of the future wait."""
    receiver = FakeReceiver()
    sender = Sender(outbox, receiver)
    want(outbox, document(1, at=NOW + timedelta(minutes=6)), document(2, at=NOW + timedelta(minutes=4)))
    drain(sender)
    assert list(receiver.there) == [document(2).id]
    assert outbox.queue.waiting(NOW) == 0
    drain(sender, NOW + timedelta(minutes=2))
    assert len(receiver.there) == 2


def test_document_lapses(outbox: Outbox) -> None:
    """A short-lived document expires when it is not worth sending any more."""
    receiver = FakeReceiver()
    want(outbox, document(1, ttl_s=600.0))
    assert outbox.queue.expire(START + timedelta(minutes=11, seconds=1)) == 1
    drain(Sender(outbox, receiver))
    assert receiver.there == {}


def test_withdrawals_in_own_batch(outbox: Outbox) -> None:
    """Withdrawals never share a batch with documents that may take their place."""
    receiver = FakeReceiver()
    sender = Sender(outbox, receiver)
    want(outbox, document(1), document(2))
    drain(sender)
    with outbox.transaction():
        outbox.documents.mark_unclaimed([document(1).id])
        outbox.documents.upsert(document(3), "fold", "1:0", 0)
        outbox.documents.retire_unclaimed("fold", "1:0")
    batch = sender._next_batch(NOW)
    assert [(delivery.document_id, delivery.document, delivery.receiver_key) for delivery in batch] == [
        (document(1).id, None, "here")
    ]
    drain(sender)
    assert set(receiver.there) == {document(2).id, document(3).id}


def test_gap_forbids_withdrawals(outbox: Outbox) -> None:
    """A gap of a repaired log forbids withdrawals in its days."""
    sender = Sender(outbox, FakeReceiver())
    want(outbox, document(1), document(100))
    drain(sender)
    with outbox.transaction():
        outbox.documents.mark_unclaimed([document(1).id, document(100).id])
        gap = (milliseconds(START), milliseconds(START + timedelta(minutes=50)))
        assert outbox.documents.retire_unclaimed("fold", "1:0", keep=[gap]) == 1
    drain(sender)
    assert list(sender.receiver.there) == [document(1).id]  # type: ignore[attr-defined]


def test_in_doubt_after_no_answer(outbox: Outbox) -> None:
    """After an attempt without an answer, the next one is marked in doubt."""

    class SilentReceiver(FakeReceiver):
        def deliver(self, batch):  # type: ignore[no-untyped-def]
            raise Retryable("no answer", in_doubt=True)

    want(outbox, document(1))
    with pytest.raises(Retryable):
        Sender(outbox, SilentReceiver()).send_next(NOW)
    assert [delivery.in_doubt for delivery in outbox.queue.pending(NOW, 10)] == [True]


def test_in_doubt_after_kill(outbox: Outbox) -> None:
    """A process that dies while sending leaves the attempt in doubt."""

    class KilledReceiver(FakeReceiver):
        def deliver(self, batch):  # type: ignore[no-untyped-def]
            raise KeyboardInterrupt

    want(outbox, document(1))
    with pytest.raises(KeyboardInterrupt):
        Sender(outbox, KilledReceiver()).send_next(NOW)
    assert [delivery.in_doubt for delivery in outbox.queue.pending(NOW, 10)] == [True]


def test_not_in_doubt_if_unreached(outbox: Outbox) -> None:
    """An attempt that did not reach the receiver is not in doubt."""

    class UnreachableReceiver(FakeReceiver):
        def deliver(self, batch):  # type: ignore[no-untyped-def]
            raise Retryable("connection refused", in_doubt=False)

    want(outbox, document(1))
    with pytest.raises(Retryable):
        Sender(outbox, UnreachableReceiver()).send_next(NOW)
    assert [delivery.in_doubt for delivery in outbox.queue.pending(NOW, 10)] == [False]


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_same_key_moves_a_millisecond(outbox: Outbox, order: tuple[int, int]) -> None:
    """Of two documents with one key, always the same one moves by a millisecond."""
    receiver = FakeReceiver()
    sender = Sender(outbox, receiver)
    outbox.checkpoints.save_states("fold", "1:0", {0: b"{}"})
    twins = {number: document(number, at=START, unique_slot="Bolus") for number in order}
    want(outbox, twins[order[0]])
    drain(sender)
    want(outbox, twins[order[1]])
    want(outbox, twins[order[0]])  # its interval was marked, and is folded again
    drain(sender)
    first, second = sorted(twins.values(), key=lambda known: known.id)
    assert (receiver.there[first.id].at, receiver.there[second.id].at) == (START, START + timedelta(milliseconds=1))


def test_replay_to_new_site(outbox: Outbox) -> None:
    """A new site gets everything and no old deletions."""
    sender = Sender(outbox, FakeReceiver())
    want(outbox, document(1), document(2))
    drain(sender)
    with outbox.transaction():
        outbox.documents.mark_unclaimed([document(2).id])
        outbox.documents.retire_unclaimed("fold", "1:0")
        outbox.queue.forget_receiver()
        outbox.queue.replay(["fold"])
    want(outbox, document(1))
    other = FakeReceiver(address="shelf://two")
    drain(Sender(outbox, other))
    assert list(other.there) == [document(1).id]
    assert outbox.dead_letters.counts().pending == 0


def test_outbox_commits_are_synced(outbox: Outbox) -> None:
    """A commit of the outbox is synced to the disk.

    In WAL mode a lower level loses the last commits in a power cut: a document would be sent again as if it had never
    been sent.
    """
    assert outbox._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_replay_skips_short_lived(outbox: Outbox) -> None:
    """A replay sends no documents that were short-lived."""
    receiver = FakeReceiver()
    sender = Sender(outbox, receiver)
    outbox.checkpoints.save_states("fold", "1:0", {0: b"{}"})
    want(outbox, document(1), document(2, ttl_s=1e6))
    drain(sender)
    receiver.there.clear()
    assert outbox.queue.replay(["fold"]) == 1
    want(outbox, document(1), document(2, ttl_s=1e6))  # the interval was marked, and is folded again
    drain(sender)
    assert list(receiver.there) == [document(1).id]


def test_replay_sends_current_short_lived(outbox: Outbox) -> None:
    """A replay sends the present status again until it expires.

    The receiver lost a status of ten minutes ago. An expired status and an announcement that was made are not sent
    again.
    """
    receiver = FakeReceiver()
    sender = Sender(outbox, receiver)
    short_lived = {"ttl_s": 1800.0}
    status, old, call = (document(n, at=NOW - timedelta(minutes=n), **short_lived) for n in (10, 31, 5))
    with outbox.transaction():
        for each, fold in ((status, "status"), (old, "status"), (call, "calls")):
            outbox.checkpoints.save_states(fold, "1:0", {0: b"{}"})
            outbox.documents.upsert(each, fold, "1:0", RUNNING)
    drain(sender)
    receiver.there.clear()
    assert outbox.queue.replay(["status", "calls"], current_value_folds=["status"], now=NOW) == 1
    with outbox.transaction():
        outbox.documents.upsert(status, "status", "1:0", RUNNING)
    drain(sender)
    assert list(receiver.there) == [status.id]
