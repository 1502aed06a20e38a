"""Once a day the last days are compared and corrected without a command."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tconnectsync import CredentialsRefused, ReceiverConflict, Retryable, SourceChanged
from tconnectsync.errors import IndexCorrupt
from tconnectsync.projection.fold_runner import FoldRunner
from tconnectsync.queries.status import status_of
from tconnectsync.reconcile.comparison_state import ComparisonState
from tconnectsync.reconcile.daily import DAYS_BACK, INTERVAL
from tconnectsync.retry.deadline import RememberedDeadline
from tests.reconcile.harness import DAY, HOUR, at_hour, run_engine_for, stale_of
from tests.support.engine.fakes import ReadableFakeReceiver
from tests.support.engine.harness import BEGIN, EngineHarness


def test_daily_comparison(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """Once a day the last days are compared and corrected without a command."""
    run_engine_for(harness, 5 * DAY, step=2 * HOUR)
    assert 4 <= receiver.surveys <= 5
    old, lost = at_hour(receiver, 3), at_hour(receiver, 24 * 4 + 1)
    for each in (old, lost):
        del receiver.there[each.id]
    run_engine_for(harness, INTERVAL)
    assert lost.id in receiver.there
    assert old.id not in receiver.there, "what is older is compared when the user asks"
    assert ComparisonState.load(harness.runner.outbox).counts["missing"] == 1
    status = status_of(
        harness.folder, sources={}, sinks={"shelf": True}, zones=harness.zones, clock=harness.clock
    )["sinks"]["shelf"]  # fmt: skip
    assert status["verified"]["missing"] == 1
    assert status["verified_at"] > "2026-06-06"
    assert old.at < harness.clock.now() - DAYS_BACK
    assert harness.ask("verify", sink="shelf").status == 0
    assert old.id in receiver.there


def message_after(harness: EngineHarness, receiver: ReadableFakeReceiver, days: int, *, changed: int) -> str:
    """The sink's message after days on which another program moved this number of our newest documents by an hour."""
    for _ in range(days):
        newest = sorted(receiver.there.values(), key=lambda each: each.at)[-changed:] if changed else []
        receiver.there |= {each.id: msgspec.structs.replace(each, at=each.at - HOUR) for each in newest}
        run_engine_for(harness, INTERVAL)
    sinks = status_of(harness.folder, sources={}, sinks={"shelf": True}, zones=harness.zones, clock=harness.clock)[
        "sinks"
    ]
    return str(sinks["shelf"]["message"])


def test_another_installation_is_reported(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """If another installation rewrites our documents every day, `status` says so, until it has stopped for a day."""
    run_engine_for(harness, 2 * DAY, step=2 * HOUR)
    assert message_after(harness, receiver, 1, changed=20) == "", "once may be a restored site"
    found = message_after(harness, receiver, 1, changed=20)
    assert "20 of 7" in found
    assert "2 days in a row" in found
    assert "Another installation of tconnectsync" in found
    assert message_after(harness, receiver, 1, changed=0) == ""


def test_edits_of_a_person_are_no_installation(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """Some documents a day are changed by people."""
    run_engine_for(harness, 2 * DAY, step=2 * HOUR)
    assert message_after(harness, receiver, 3, changed=9) == ""


def test_daily_comparison_by_cron(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """Runs by cron do the daily comparison too, and remember it."""
    for _ in range(11):
        harness.clock.sleep(7200)
        harness.reopen()
        assert harness.ask("sync").status == 0
    assert receiver.surveys == 0
    lost = at_hour(receiver, 30)
    del receiver.there[lost.id]
    for _ in range(3):
        harness.clock.sleep(7200)
        harness.reopen()
        assert harness.ask("sync").status == 0
    assert receiver.surveys == 1
    assert lost.id in receiver.there


def test_daily_comparison_waits(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """The daily comparison waits for fresh sources and for deliveries.

    With an old log it would undo deliveries of another machine that has newer data.
    """
    harness.pump.trouble = Retryable("the cloud is away")
    run_engine_for(harness, 3 * DAY, step=2 * HOUR)
    assert receiver.surveys == 0
    harness.pump.trouble = None
    run_engine_for(harness, 6 * HOUR)
    assert receiver.surveys == 1


def test_damaged_record_stops_no_comparison(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """While some records cannot be read, for a week, lost documents come back. What no record explains stays until all can be read."""
    harness.pump.trouble = SourceChanged("one dose is damaged", after_s=600, partial=True)
    run_engine_for(harness, INTERVAL)
    lost, stale = at_hour(receiver, 5), stale_of(receiver)
    del receiver.there[lost.id]
    run_engine_for(harness, INTERVAL)
    assert lost.id in receiver.there
    assert stale in receiver.beside, "the damaged record may belong to it"
    harness.pump.trouble = None
    run_engine_for(harness, INTERVAL + 2 * HOUR)
    assert stale not in receiver.beside


def test_daily_comparison_fails(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """A failed daily comparison is reported, backs off and delays no dose."""
    receiver.trouble_reading = Retryable("it is too busy")
    run_engine_for(harness, INTERVAL + 12 * HOUR)
    assert 2 <= receiver.surveys <= 40
    assert harness.runner.health.state == "ok"
    assert len(receiver.there) >= 24 + 24 + 11
    found = status_of(harness.folder, sources={}, sinks={"shelf": True}, zones=harness.zones, clock=harness.clock)
    assert "could not be compared with the log: it is too busy" in found["sinks"]["shelf"]["message"]
    receiver.trouble_reading = None
    run_engine_for(harness, 6 * HOUR)
    found = status_of(harness.folder, sources={}, sinks={"shelf": True}, zones=harness.zones, clock=harness.clock)
    assert found["sinks"]["shelf"]["message"] == ""


def test_daily_comparison_refused(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """A receiver that refuses to be read is reported, and no dose is delayed.

    A token may have the right to write but not to read; deliveries show whether the credentials are wrong.
    """
    receiver.trouble_reading = CredentialsRefused("who are you?")
    run_engine_for(harness, INTERVAL + 12 * HOUR)
    assert 2 <= receiver.surveys <= 5
    assert harness.runner.health.state == "ok"
    assert len(receiver.there) >= 24 + 24 + 11
    found = status_of(harness.folder, sources={}, sinks={"shelf": True}, zones=harness.zones, clock=harness.clock)
    assert "who are you?" in found["sinks"]["shelf"]["message"]


def test_daily_comparison_receiver_raises(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """A bug in the receiver stops nothing."""
    receiver.trouble_reading = ZeroDivisionError()
    run_engine_for(harness, INTERVAL + 6 * HOUR)
    assert harness.runner.health.state == "ok"
    assert len(receiver.there) >= 24 + 24 + 5


def test_daily_comparison_corrupt_index(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index that the comparison finds corrupt ends the run, as anywhere else.

    It is deleted by then, so the run must not use it any more.
    """

    def corrupted(*_args: object) -> None:
        raise IndexCorrupt("index.sqlite")

    monkeypatch.setattr(FoldRunner, "refold", corrupted)
    with pytest.raises(IndexCorrupt):
        run_engine_for(harness, INTERVAL + 6 * HOUR)


def test_daily_comparison_of_wrong_clock(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """A plan that was made while the clock was years ahead is not believed."""
    harness.runner.daily_comparison._save(ComparisonState(not_before=RememberedDeadline(until=BEGIN + 1000 * DAY)))
    run_engine_for(harness, 2 * DAY + 6 * HOUR)
    assert receiver.surveys >= 1


def test_daily_comparison_before_first_delivery(tmp_path: Path, receiver: ReadableFakeReceiver) -> None:
    """Nothing is compared before the first delivery was allowed."""
    harness = EngineHarness(tmp_path, receiver=receiver)
    receiver.hold = ReceiverConflict(reason="somebody was here", remedy="adopt")
    run_engine_for(harness, 3 * DAY, step=2 * HOUR)
    assert receiver.surveys == 0
    harness.engine.close()
