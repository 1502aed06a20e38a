"""A comparison of an engine's receiver with its log, and what happens at that receiver."""

from __future__ import annotations

from datetime import datetime, timedelta

from tconnectsync import Document, StoredDocument, document_id
from tconnectsync.reconcile.report import ComparisonReport
from tests.support.engine.fakes import FakeReceiver, ReadableFakeReceiver
from tests.support.engine.harness import BEGIN, EngineHarness

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def compared(harness: EngineHarness, first: datetime | None = None, last: datetime | None = None) -> ComparisonReport:
    tally = ComparisonReport()
    for part in harness.runner.verifier(harness.engine.streams).run(first, last):
        tally.add(part)
    return tally


def verdicts(harness: EngineHarness) -> dict[str, int]:
    return {name: count for name, count in compared(harness).counts.items() if count}


def at_hour(receiver: FakeReceiver, hour: int) -> Document:
    return next(document for document in receiver.there.values() if document.at == BEGIN + hour * HOUR)


def run_engine_for(harness: EngineHarness, stretch: timedelta, step: timedelta = HOUR) -> None:
    """The daemon's loop."""
    end = harness.clock.now() + stretch
    while harness.clock.now() < end:
        while harness.engine.run_once():
            pass
        harness.clock.sleep(step.total_seconds())
    while harness.engine.run_once(polling=False):
        pass


def stale_of(receiver: ReadableFakeReceiver) -> StoredDocument:
    """A document under our name that no fold makes, left at the receiver; another machine may have delivered it."""
    stale = receiver.copy_of(at_hour(receiver, 3), document_id=document_id("stale"), at=BEGIN + 3.5 * HOUR)
    receiver.beside.append(stale)
    return stale
