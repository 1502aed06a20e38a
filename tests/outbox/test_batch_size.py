"""Receivers that accept only small batches, are full for a while, or do not show what they accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tconnectsync import Delivery, Outcome, Postponed, Refused, Rejected, Retryable
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.batch_size import GROW_AFTER, BatchSize
from tconnectsync.outbox.sender import UNCONFIRMED_ROUNDS, Sender
from tconnectsync.outbox.suspect_documents import STRIKES
from tests.outbox.test_sender import NOW, document, want
from tests.support.engine.fakes import FakeReceiver
from tests.support.engine.harness import EngineHarness

MOST = 64


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """An empty outbox."""
    outbox = Outbox(tmp_path / "sink.sqlite")
    yield outbox
    outbox.close()


@attrs.define
class NarrowReceiver(FakeReceiver):
    """Takes no batch of more than ``most``. ``error`` is what it answers then; ``sizes`` are those that it was asked for."""

    batch_size: int = MOST
    most: int = 10
    error: Callable[[], Exception] = lambda: Retryable("HTTP 503", narrow=True, in_doubt=True)
    bad: frozenset[str] = frozenset()
    sizes: list[int] = attrs.field(factory=list)

    def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        self.sizes.append(len(batch))
        if len(batch) > self.most or any(delivery.document_id in self.bad for delivery in batch):
            raise self.error()
        return super().deliver(batch)


def backed_off(sender: Sender, now: datetime) -> bool:
    """Whether a daemon would wait after it has sent what there is to send."""
    try:
        while sender.send_next(now):
            pass
    except Retryable:
        return True
    return False


def drain(
    outbox: Outbox, receiver: FakeReceiver, *, now: datetime = NOW, restart: bool = True, rounds: int = 300
) -> int:
    """Act as a daemon does, minute by minute, with another process each time; return the number of minutes."""
    sender = Sender(outbox, receiver)
    for minute in range(rounds):
        at = now + timedelta(minutes=minute)
        sender = Sender(outbox, receiver) if restart else sender
        if not backed_off(sender, at) and not outbox.queue.waiting(at):
            return minute
    raise AssertionError(f"{outbox.queue.waiting(at)} still wait")


@pytest.mark.parametrize("most", [1, 3, 31, 40])
def test_batch_halved_after_two_failures(outbox: Outbox, most: int) -> None:
    """A batch that fails twice is halved, and the size that works is remembered."""
    want(outbox, *(document(number) for number in range(200)))
    receiver = NarrowReceiver(most=most)
    minutes = drain(outbox, receiver)
    assert len(receiver.there) == 200
    assert receiver.sizes[:3] == [MOST, MOST, MOST // 2]
    assert minutes <= 20
    receiver.sizes.clear()
    want(outbox, *(document(number) for number in range(200, 200 + MOST)))
    drain(outbox, receiver)
    assert len(receiver.there) == 200 + MOST
    assert sum(size > most for size in receiver.sizes) <= 2


def test_batch_size_after_one_failure(outbox: Outbox) -> None:
    """One failure alone makes no batch smaller."""
    want(outbox, *(document(number) for number in range(MOST)))
    receiver = NarrowReceiver(most=0)
    with pytest.raises(Retryable):
        Sender(outbox, receiver).send_next(NOW)
    receiver.most = MOST
    assert Sender(outbox, receiver).send_next(NOW) == MOST


def test_batch_refused_for_size(outbox: Outbox) -> None:
    """A batch that is refused for its size is halved at once, and the size is remembered."""
    want(outbox, *(document(number) for number in range(3 * MOST)))
    receiver = NarrowReceiver(most=20, error=lambda: Rejected("HTTP 413", narrow=True))
    assert drain(outbox, receiver, restart=False) == 0
    assert len(receiver.there) == 3 * MOST
    assert sum(size > 20 for size in receiver.sizes) <= 5


def test_batch_size_after_outage(outbox: Outbox) -> None:
    """After an outage, batches are soon as large as before."""
    want(outbox, *(document(number) for number in range(600)))
    receiver = NarrowReceiver(most=0)
    for minute in range(40):
        with pytest.raises(Retryable):
            Sender(outbox, receiver).send_next(NOW + timedelta(minutes=minute))
    receiver.most, receiver.sizes = 1000, []
    drain(outbox, receiver)
    assert len(receiver.there) == 600
    assert len(receiver.sizes) <= 32
    assert outbox.dead_letters.counts().dead == 0


@given(st.lists(st.tuples(st.integers(1, 200), st.booleans()), max_size=60))
@settings(max_examples=60, deadline=None)
def test_batch_size_bounds(
    events: list[tuple[int, bool]],
) -> None:
    """Whatever happens, a batch has at least one document and at most what the receiver takes."""
    size = BatchSize()
    for count, good in events:
        asked = min(count, size.current_limit(MOST))
        size = size.after_success(asked, MOST) if good else size.after_failure(asked)
        assert 1 <= size.current_limit(MOST) <= MOST


def test_batch_growth_slows_down() -> None:
    """A receiver that takes 20 at most: the more often more failed, the longer nothing greater is tried."""
    size, failed = BatchSize(), 0
    for _ in range(400):
        asked = size.current_limit(MOST)
        failed += asked > 20
        size = size.after_failure(asked) if asked > 20 else size.after_success(asked, MOST)
    assert failed <= 12
    assert 10 <= size.current_limit(20) <= 20


# --- whose fault ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [lambda: Rejected("HTTP 500", receiver_fault=True), lambda: Retryable("HTTP 503", narrow=True, in_doubt=True)],
    ids=["500 with a working read", "503"],
)
def test_receiver_full_for_hours(outbox: Outbox, error: Callable[[], Exception]) -> None:
    """A receiver that has no room for hours loses nothing and needs no user."""
    receiver = NarrowReceiver(most=0, error=error)
    for hour in range(48):
        want(outbox, document(hour), document(100 + hour))
        assert backed_off(Sender(outbox, receiver), NOW + timedelta(hours=hour))
        assert not Sender(outbox, receiver).is_halted()
    assert outbox.dead_letters.counts().dead == 0
    receiver.most = MOST
    drain(outbox, receiver, now=NOW + timedelta(hours=48))
    assert len(receiver.there) == 96
    assert outbox.dead_letters.counts().dead == 0


@pytest.mark.parametrize(
    "error",
    [lambda: Rejected("HTTP 500", receiver_fault=True), lambda: Retryable("HTTP 403", narrow=True)],
    ids=["500 with a working read", "403"],
)
def test_suspect_document_alone(outbox: Outbox, error: Callable[[], Exception]) -> None:
    """One document that fails each time does not block the others, and is set aside in the end.

    A firewall may dislike a word in a note. This document is the newest, so it goes first.
    """
    culprit = document(30)
    receiver = NarrowReceiver(most=MOST, error=error, bad=frozenset({culprit.id}))
    want(outbox, *(document(number) for number in range(31)))
    sender = Sender(outbox, receiver)
    for minute in range(10):
        backed_off(sender, NOW + timedelta(minutes=minute))
    assert len(receiver.there) == 30
    assert outbox.dead_letters.counts().dead == 0
    hour = 0
    while not outbox.dead_letters.counts().dead:
        hour += 1
        assert hour < 12
        want(outbox, document(100 + hour))
        sender = Sender(outbox, receiver)
        assert not backed_off(sender, NOW + timedelta(hours=hour))
        assert len(receiver.there) == 30 + hour
        assert "HTTP" in sender.waiting_reason() or outbox.dead_letters.counts().dead
    assert [letter.id for letter in outbox.dead_letters.all()] == [culprit.id]
    assert receiver.calls - 30 < 40 + STRIKES


def test_suspect_document_in_batch(outbox: Outbox) -> None:
    """A document that fails while others of its batch pass does not block them.

    For example, a receiver that takes one document a request.
    """

    class OneByOneReceiver(FakeReceiver):
        def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
            answers = {each.document_id: outcome for each, outcome in zip(batch, super().deliver(batch), strict=True)}
            answers |= {
                id_: Refused(reason="HTTP 500", receiver_fault=True) for id_ in answers if id_ == document(3).id
            }
            return list(answers.values())

    want(outbox, *(document(number) for number in range(5)))
    sender = Sender(outbox, OneByOneReceiver())
    assert sender.send_next(NOW) == 5
    assert outbox.queue.waiting(NOW) == 1
    assert outbox.dead_letters.counts().dead == 0
    assert "HTTP 500" in sender.waiting_reason()
    with outbox.transaction():
        outbox.documents.mark_unclaimed([document(3).id])
        outbox.documents.retire_unclaimed("f", "s")
    sender.receiver = FakeReceiver()
    assert sender.send_next(NOW + timedelta(hours=1)) == 1
    assert sender.waiting_reason() == "", "the document is gone"


def test_sync_names_waiting_reason(harness: EngineHarness) -> None:
    """One document that meets HTTP 500 each time: the others are delivered, and the site's reason is shown."""

    class PickyReceiver(FakeReceiver):
        def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
            if any(delivery.document_id == disliked for delivery in batch):
                raise Rejected("HTTP 500: over quota", receiver_fault=True)
            return super().deliver(batch)

    harness.ask("sync")
    *_, disliked = harness.receiver.there
    receiver = harness.receiver = harness.runner.sender.receiver = PickyReceiver()
    result = harness.ask("replay", sink="shelf")
    assert result.status == 5
    assert len(receiver.there) > 10
    assert disliked not in receiver.there
    assert "1 document is waiting" in " ".join(result.lines)
    assert "over quota" in " ".join(result.lines)


# --- receivers that show nothing --------------------------------------------------------------------------------------


class MuteReceiver(FakeReceiver):
    """Takes everything, and names nothing of it."""

    def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        super().deliver(batch)
        return [Postponed(reason="its answer does not name it", unconfirmed=True) for _ in batch]


def test_unnamed_culprit_stops_sink(harness: EngineHarness) -> None:
    """A receiver that never says which document it refuses stops the sink after three rounds."""
    receiver = harness.receiver = harness.runner.sender.receiver = MuteReceiver(batch_size=10)
    for hour in range(12):
        result = harness.ask("sync")
        assert result.status == (5 if hour < UNCONFIRMED_ROUNDS - 1 else 6)
        harness.reopen()
        harness.clock.sleep(3600)
    assert receiver.calls == UNCONFIRMED_ROUNDS
    assert harness.runner.health.state == "halted"
    assert "does not name it" in " ".join(result.lines)
    assert "`tconnectsync resume shelf`" in " ".join(result.lines)
    harness.receiver = harness.runner.sender.receiver = FakeReceiver(batch_size=10)
    assert harness.ask("resume", sink="shelf").status == 0
    assert len(harness.receiver.there) > 24


def test_unnamed_single_culprit(outbox: Outbox) -> None:
    """One document that is refused without being named does not stop the sink."""

    class ForgetfulReceiver(FakeReceiver):
        def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
            odd = Postponed(reason="not named", unconfirmed=True)
            return [
                odd if each.document_id == document(0).id else outcome
                for each, outcome in zip(batch, super().deliver(batch), strict=True)
            ]

    receiver = ForgetfulReceiver()
    for hour in range(24):
        want(outbox, document(0), document(100 + hour))
        sender = Sender(outbox, receiver)
        assert not backed_off(sender, NOW + timedelta(hours=hour))
        assert not sender.is_unconfirmed()
    assert receiver.calls < 24 * 2 + 2
    assert outbox.dead_letters.counts().dead == 1


def test_receiver_facts_kept_until_move(outbox: Outbox) -> None:
    """What a receiver learned about its site survives a restart, but not a new address."""

    @attrs.define
    class LearningReceiver(FakeReceiver):
        learned: str = ""
        recalled: str | None = None

        def memory(self) -> str:
            return self.learned

        def recall(self, memory: str) -> None:
            self.recalled = memory

    want(outbox, document(1))
    Sender(outbox, LearningReceiver(learned="no gzip")).send_next(NOW)
    want(outbox, document(2))
    again = LearningReceiver(learned="no gzip")
    sender = Sender(outbox, again)
    sender.send_next(NOW)
    assert again.recalled == "no gzip"
    sender.forget_receiver()
    other = LearningReceiver()
    Sender(outbox, other).send_next(NOW)
    assert other.recalled == ""


def test_batch_growth_after_failure() -> None:
    """Batches grow slowly after a failure."""
    assert BatchSize(limit=8).after_success(8, MOST).current_limit(MOST) == 8
    size = BatchSize(limit=8)
    for _ in range(GROW_AFTER):
        size = size.after_success(8, MOST)
    assert size.current_limit(MOST) == 16
    assert size.after_failure(16).current_limit(MOST) == 8
