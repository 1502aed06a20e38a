"""Documents of ours that no fold makes are deleted once everything was read again."""

from __future__ import annotations

from collections.abc import Iterator

from tconnectsync import Batch, History, Retryable, document_id
from tconnectsync.outbox.stored_values import ADMITTED_FROM, READ_BACK, ReadBack
from tests.reconcile.harness import DAY, HOUR, at_hour, run_engine_for, stale_of
from tests.support.engine.fakes import ReadableFakeReceiver
from tests.support.engine.harness import BEGIN, EngineHarness, FakePumpSource


def test_unclaimed_after_full_fetch(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """Unclaimed documents are deleted only after everything was fetched once more.

    Another machine may have delivered what this one has not read yet.
    """
    stale = stale_of(receiver)
    harness.clock.sleep(600)
    harness.pump.trouble = Retryable("the cloud is away")
    result = harness.ask("verify", sink="shelf")
    assert result.status == 5
    assert result.lines[-1] == "24 documents are as they should be; 1 waiting"
    assert receiver.beside == [stale]
    harness.pump.trouble = None
    harness.clock.sleep(3600)
    assert harness.ask("sync").status == 0
    assert receiver.beside == []


class SlowPumpSource(FakePumpSource):
    """Its first answer brings nothing yet."""

    def poll(self, history: History) -> Iterator[Batch]:
        yield Batch()
        yield from super().poll(history)


def found_now(harness: EngineHarness) -> None:
    """The result of a repair, without the poll that it asks for afterwards."""
    harness.clock.still = True
    for part in harness.runner.verifier(harness.engine.streams).run():
        harness.runner.repair(part.found)
    assert harness.runner.outbox.values.get(READ_BACK) == ReadBack(since=harness.clock.now())
    harness.clock.still = False


def test_unclaimed_found_during_read(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """A read that began before an unclaimed document was found does not judge it.

    Its first answers may be older than what another machine has delivered meanwhile.
    """
    harness.pump = SlowPumpSource(harness.clock)
    harness.reopen()
    harness.engine.run_once(polling=False)
    harness.clock.sleep(7200)
    harness.engine.run_once()
    assert harness.engine.pollers["pump"].running
    stale = stale_of(receiver)
    harness.clock.sleep(5)
    found_now(harness)
    harness.clock.sleep(5)
    while harness.engine.run_once():
        pass
    assert receiver.beside == [stale]
    harness.reopen()
    while harness.engine.run_once(polling=False):
        pass
    assert receiver.beside == [stale], "it is remembered between runs when the read began"
    harness.clock.sleep(3600)
    assert harness.ask("sync").status == 0
    assert receiver.beside == []


def test_unclaimed_found_before_backfill(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """A backfill's read-back does not hurry earlier findings.

    Days that are opened later are read back too, but a finding of a comparison still waits for a complete read.
    """
    stale = stale_of(receiver)
    harness.clock.sleep(60)
    found_now(harness)
    harness.runner.outbox.values.put(ADMITTED_FROM, BEGIN + DAY)
    harness.ask("replay", sink="shelf")
    assert harness.runner.outbox.values.get(ADMITTED_FROM) < BEGIN, "the place was looked over again"
    assert receiver.beside == [stale]
    harness.clock.sleep(3600)
    assert harness.ask("sync").status == 0
    assert receiver.beside == []


def test_unclaimed_found_by_wrong_clock(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """What was found while the clock was years ahead does not wait for that year."""
    stale = receiver.copy_of(at_hour(receiver, 3), document_id=document_id("stale"), at=BEGIN + 3.5 * HOUR)
    outbox = harness.runner.outbox
    with outbox.transaction():
        outbox.found.record(stale)
        outbox.values.put(READ_BACK, ReadBack(since=BEGIN + 1000 * DAY))
    run_engine_for(harness, 2 * DAY)
    assert outbox.values.get(READ_BACK) is None
    assert receiver.surveys >= 1
