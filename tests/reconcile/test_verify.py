"""Comparing the receiver with the log, and repairing it: by command, and automatically once a day."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from tconnectsync import (
    Batch,
    CredentialsRefused,
    Document,
    History,
    ReceiverConflict,
    Retryable,
    StoredDocument,
    document_id,
)
from tconnectsync.errors import IndexCorrupt
from tconnectsync.ingest.gaps import MARGIN
from tconnectsync.outbox.stored_values import ADMITTED_FROM, COMPARED, READ_BACK, ReadBack
from tconnectsync.plugin.receiver import Delivery, Outcome
from tconnectsync.projection.fold_runner import FoldRunner
from tconnectsync.queries.status import status_of
from tconnectsync.reconcile.comparison import PERIOD
from tconnectsync.reconcile.comparison_state import ComparisonState
from tconnectsync.reconcile.daily import DAYS_BACK, INTERVAL
from tconnectsync.reconcile.report import ComparisonReport
from tconnectsync.retry.deadline import RememberedDeadline
from tests.support.engine.fakes import FakeReceiver, ReadableFakeReceiver, StretchFold
from tests.support.engine.harness import BEGIN, EngineHarness, FakePumpSource

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def receiver() -> ReadableFakeReceiver:
    """A receiver that can be read."""
    return ReadableFakeReceiver(batch_size=100)


@pytest.fixture
def harness(tmp_path: Path, receiver: ReadableFakeReceiver) -> Iterator[EngineHarness]:
    """A pump that ran for a day, all of it delivered; an hour a document."""
    made = EngineHarness(tmp_path, receiver=receiver)
    made.pump.every_min = 30
    made.clock.time = BEGIN + DAY
    assert made.ask("sync").status == 0
    yield made
    made.engine.close()


def compared(harness: EngineHarness, first: datetime | None = None, last: datetime | None = None) -> ComparisonReport:
    tally = ComparisonReport()
    for part in harness.runner.verifier(harness.engine.streams).run(first, last):
        tally.add(part)
    return tally


@attrs.define
class ForgetfulShelf(ReadableFakeReceiver):
    """Learns at a delivery that it cannot show its documents under their names."""

    nameless: bool = False

    def memory(self) -> str:
        return "nameless" if self.nameless else ""

    def recall(self, memory: str) -> None:
        self.nameless = self.nameless or memory == "nameless"

    def shows(self, collection: str) -> bool:
        return not self.nameless and super().shows(collection)


def test_comparison_knows_receiver_memory(tmp_path: Path) -> None:
    """In another process, or after a restart, everything looked missing, and a repair would have sent it once more."""
    receiver = ForgetfulShelf(batch_size=100, nameless=True)
    harness = EngineHarness(tmp_path, receiver=receiver)
    harness.clock.time = BEGIN + DAY
    assert harness.ask("sync").status == 0
    receiver.nameless = False  # a new process knows nothing
    receiver.there.clear()
    assert not compared(harness).counts
    harness.engine.close()


@pytest.mark.parametrize(
    ("good", "words"),
    [
        (0, "there is nothing to compare"),
        (1, "1 document is as it should be"),
        (1400, "1,400 documents are as they should be"),
    ],
)
def test_verify_summary(good: int, words: str) -> None:
    """The summary of a comparison."""
    assert ComparisonReport(good=good).lines("site") == [words]


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


# --- what is found --------------------------------------------------------------------------------------------------


def test_verify_nothing_to_change(harness: EngineHarness) -> None:
    """A receiver that has what was delivered is good."""
    tally = compared(harness)
    assert (tally.good, tally.wrong, dict(tally.counts)) == (24, 0, {})
    assert tally.lines("site") == ["24 documents are as they should be"]


def test_verify_kinds_of_difference(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """Missing, changed, doubled and unclaimed documents are told apart."""
    lost, altered, doubled = (at_hour(receiver, hour) for hour in (3, 4, 5))
    del receiver.there[lost.id]
    receiver.there[altered.id] = attrs.evolve(altered, content={**altered.content, "rate": 9.9})
    receiver.beside.append(receiver.copy_of(doubled))
    stale = attrs.evolve(lost, id=document_id("stale"), at=BEGIN + 3.5 * HOUR)
    receiver.beside.append(receiver.copy_of(stale))
    receiver.beside.append(receiver.copy_of(lost, document_id="", receiver_key="", author="me"))
    tally = compared(harness)
    assert dict(tally.counts) == {"missing": 1, "different": 1, "doubled": 1, "orphaned": 1, "foreign": 1}
    assert tally.good == 21
    told = {each.verdict: each for each in tally.listed}
    assert {name: each.id for name, each in told.items()} == {
        "missing": lost.id, "different": altered.id, "doubled": doubled.id, "orphaned": stale.id,
    }  # fmt: skip
    [contrast] = told["different"].diffs
    assert (contrast.field, contrast.ours, contrast.theirs) == ("rate", altered.content["rate"], 9.9)
    words = "\n".join(tally.lines("site"))
    assert "21 documents are as they should be; 1 missing, 1 different, 1 doubled, 1 orphaned, 1 foreign" in words
    assert "2026-06-01 04:00:00 UTC  stretch: rate should be 1.0 and is 9.9" in words
    assert "of other programs, never changed: me (1)" in words
    assert told["missing"].to_json()["at"] == "2026-06-01T03:00:00.000Z"


def test_verify_changes_nothing(harness: EngineHarness, receiver: ReadableFakeReceiver, tmp_path: Path) -> None:
    """Comparing changes nothing."""
    del receiver.there[at_hour(receiver, 3).id]
    known = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    assert verdicts(harness) == {"missing": 1}
    assert {path: path.read_bytes() for path in known} == known
    assert len(receiver.there) == 23


def test_verify_named_days(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """If the user names days, only those are compared."""
    for hour in (3, 20):
        del receiver.there[at_hour(receiver, hour).id]
    assert compared(harness, BEGIN + 2 * HOUR, BEGIN + 4 * HOUR).counts["missing"] == 1
    assert compared(harness, BEGIN + 4 * HOUR, None).counts["missing"] == 1
    assert compared(harness, None, BEGIN + 2 * HOUR).counts["missing"] == 0


def test_verify_edge_within_a_millisecond(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """A span that begins within the millisecond of a document compares it: the outbox counts in milliseconds, a clock does not."""
    edge = at_hour(receiver, 3).at
    assert compared(harness, edge + timedelta(microseconds=400)).good == 21
    assert compared(harness, None, edge + timedelta(microseconds=400)).good == 4


def test_verify_long_history(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """A long history is compared in parts, each document once."""
    harness.clock.sleep(30 * 86400)
    harness.clock.still, harness.clock.time = True, BEGIN + 31 * DAY
    assert harness.ask("sync").status == 0
    receiver.surveys = 0
    border = harness.clock.now() + DAY - PERIOD
    moved = min(receiver.there.values(), key=lambda document: abs(document.at - border))
    assert moved.at == border
    tally = compared(harness)
    assert tally.good == len(receiver.there) == 31 * 24
    assert receiver.surveys == 5


def test_verify_pending_document(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that waits for delivery is not missing."""

    def away(self: ReadableFakeReceiver, batch: list[Delivery]) -> list[Outcome]:
        raise Retryable("not reached")

    monkeypatch.setattr(ReadableFakeReceiver, "deliver", away)
    harness.clock.sleep(3600)
    assert harness.ask("sync").status == 5
    assert verdicts(harness) == {"waiting": 1}, "the new hour"


def test_verify_during_delivery(
    harness: EngineHarness, receiver: ReadableFakeReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document that changes during the comparison is no difference.

    The daemon delivers between the look at the place and the look at the outbox.
    """
    survey = ReadableFakeReceiver.survey

    def slow(self: ReadableFakeReceiver, first: datetime, last: datetime) -> Iterator[StoredDocument]:
        yield from list(survey(self, first, last))
        harness.clock.sleep(1800)
        harness.ask("sync")

    monkeypatch.setattr(ReadableFakeReceiver, "survey", slow)
    assert verdicts(harness) in ({"waiting": 1}, {"waiting": 2})


def test_verify_dead_letters(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """A dead letter is reported as that; a dropped one stays dropped."""
    victim = document_id("stretch", 10 + 25 * 60)
    receiver.poison = frozenset({victim})
    harness.clock.sleep(3 * 3600)
    assert harness.ask("sync").status == 6
    tally = compared(harness)
    assert {name: count for name, count in tally.counts.items() if name != "waiting"} == {"set_aside": 1}
    assert "poison" in "\n".join(tally.lines("site"))
    assert harness.ask("dead_letters_drop", sink="shelf", ids=None).status == 0
    assert "given up" in "\n".join(compared(harness).lines("site"))
    assert harness.ask("verify", sink="shelf").status == 0
    assert victim not in receiver.there
    receiver.poison = frozenset()
    assert harness.ask("replay", sink="shelf").status == 0
    assert victim in receiver.there
    assert verdicts(harness) == {}


@attrs.frozen(kw_only=True)
class EphemeralFold(StretchFold):
    """Documents that are worth something for half an hour."""

    name = "ephemeral"

    def step(self, state: Any, event: Any) -> Any:
        state, documents = StretchFold.step(self, state, event)
        return state, [self._ephemeral(document) for document in documents]

    def running(self, state: Any) -> Any:
        return [self._ephemeral(document) for document in StretchFold.running(self, state)]

    def _ephemeral(self, document: Document) -> Document:
        return attrs.evolve(document, id=document_id("ephemeral", document.id), unique_slot="ephemeral", ttl_s=1800.0)


def test_verify_lapsed_document(tmp_path: Path, receiver: ReadableFakeReceiver) -> None:
    """A lapsed document is neither missing nor unclaimed."""
    harness = EngineHarness(
        tmp_path, receiver=receiver, folds={"stretches": StretchFold(), "ephemeral": EphemeralFold()}
    )
    harness.clock.time = BEGIN + DAY - timedelta(minutes=45)
    harness.ask("sync")
    [ephemeral] = [document for document in receiver.there.values() if document.unique_slot == "ephemeral"]
    assert compared(harness).good == 25
    harness.clock.sleep(7200)
    for _ in range(2):
        assert compared(harness).wrong == 0
        harness.ask("sync")
    del receiver.there[ephemeral.id]
    assert compared(harness).wrong == 0
    receiver.beside.append(receiver.copy_of(ephemeral))
    assert compared(harness).wrong == 0
    harness.engine.close()


def test_wiped_disk_keeps_lapsed(tmp_path: Path, receiver: ReadableFakeReceiver) -> None:
    """After a wiped disk, lapsed documents stay at the receiver.

    An announcement of yesterday is made by no fold any more; it was right when it was sent.
    """
    harness = EngineHarness(
        tmp_path, receiver=receiver, folds={"stretches": StretchFold(), "ephemeral": EphemeralFold()}
    )
    harness.clock.time = BEGIN + DAY - timedelta(minutes=45)
    harness.ask("sync")
    harness.clock.sleep(7200)
    harness.ask("sync")
    before = dict(receiver.there)
    assert "ephemeral" in {document.unique_slot for document in before.values()}
    wiped(harness)
    assert before.keys() <= receiver.there.keys()
    harness.engine.close()


def wiped(harness: EngineHarness) -> None:
    """The outbox is gone; the log is read to its end twice since."""
    harness.engine.close()
    for path in (harness.folder / "outbox").iterdir():
        path.unlink()
    harness.open()
    for _ in range(2):
        harness.clock.sleep(7200)
        assert harness.ask("sync").status == 0


def test_wiped_disk_keeps_other_kinds(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """After a wiped disk, documents of a kind that is not made here stay.

    An option switched it off since, or it is another machine's, which has it on.
    """
    known = at_hour(receiver, 3)
    for kind in ("another kind", "stretch"):
        other = attrs.evolve(known, id=document_id(kind), unique_slot=kind, at=BEGIN + 3.5 * HOUR)
        receiver.there[other.id] = other
    wiped(harness)
    assert document_id("another kind") in receiver.there
    assert document_id("stretch") not in receiver.there


def test_verify_document_lost_by_outbox(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """A document that the outbox lost is found and made again.

    The comparison is with what the folds make, not with what the outbox believes.
    """
    lost = at_hour(receiver, 7)
    del receiver.there[lost.id]
    with harness.runner.outbox.transaction():
        harness.runner.outbox._db.execute("DELETE FROM document WHERE id = ?", (lost.id,))
    assert verdicts(harness) == {"missing": 1}
    assert harness.ask("verify", sink="shelf").status == 0
    assert receiver.there[lost.id] == lost


def test_verify_option_switched_off(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """Documents of an option that is off now are left alone."""
    harness.reopen(folds={}, fingerprint="2")
    harness.ask("sync")
    assert verdicts(harness) == {}
    assert harness.ask("verify", sink="shelf").status == 0
    assert len(receiver.there) == 24


# --- mending --------------------------------------------------------------------------------------------------------


def test_repair_ours_only(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """A repair corrects our documents and leaves the rest."""
    before = dict(receiver.there)
    lost, altered, doubled = (at_hour(receiver, hour) for hour in (3, 4, 5))
    del receiver.there[lost.id]
    receiver.there[altered.id] = attrs.evolve(altered, content={**altered.content, "rate": 9.9})
    receiver.beside.append(receiver.copy_of(doubled))
    theirs = receiver.copy_of(lost, document_id="", receiver_key="", author="me")
    receiver.beside.append(theirs)
    harness.clock.sleep(60)
    result = harness.ask("verify", sink="shelf")
    assert result.status == 0
    assert result.lines[0] == "21 documents are as they should be; 1 missing, 1 different, 1 doubled, 1 foreign"
    assert "after the repair:" in result.lines
    assert result.lines[-2] == "24 documents are as they should be; 1 foreign"
    assert receiver.there == before
    assert receiver.beside == [theirs]
    calls = receiver.calls
    assert harness.ask("verify", sink="shelf", json=True).status == 0
    assert receiver.calls == calls, "what is good is not sent again"


def test_repair_place_taken(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """A lost document whose place another program took is reported, not fought for.

    Where the receiver keeps only one of the two, sending ours again would destroy theirs.
    """
    lost = at_hour(receiver, 3)
    theirs = receiver.copy_of(lost, document_id="", receiver_key="here", author="me")
    del receiver.there[lost.id]
    receiver.beside.append(theirs)
    result = harness.ask("verify", sink="shelf")
    assert result.status == 9
    assert "another program's document has the same time and type" in " ".join(result.lines)
    run_engine_for(harness, INTERVAL + 2 * HOUR)
    assert lost.id not in receiver.there
    assert receiver.beside == [theirs]


def test_repair_incomplete_status(
    harness: EngineHarness, receiver: ReadableFakeReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repair that cannot correct everything ends with status 9.

    A place that says 200 and forgets.
    """
    lost = at_hour(receiver, 3)
    del receiver.there[lost.id]
    deliver = ReadableFakeReceiver.deliver

    def forgetful(self: ReadableFakeReceiver, batch: list[Delivery]) -> list[Outcome]:
        outcomes = deliver(self, batch)
        self.there.pop(lost.id, None)
        return outcomes

    monkeypatch.setattr(ReadableFakeReceiver, "deliver", forgetful)
    result = harness.ask("verify", sink="shelf", json=True)
    assert result.status == 9
    *found, counts = map(json.loads, result.lines)
    assert [each["verdict"] for each in found] == ["missing"]
    assert counts["before"]["missing"] == counts["after"]["missing"] == 1


def test_unclaimed_after_full_fetch(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """Unclaimed documents are deleted only after everything was fetched once more.

    Another machine may have delivered what this one has not read yet.
    """
    stale = receiver.copy_of(at_hour(receiver, 3), document_id=document_id("stale"), at=BEGIN + 3.5 * HOUR)
    receiver.beside.append(stale)
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


def stale_of(receiver: ReadableFakeReceiver) -> StoredDocument:
    """A document under our name that no fold makes, left at the receiver; another machine may have delivered it."""
    stale = receiver.copy_of(at_hour(receiver, 3), document_id=document_id("stale"), at=BEGIN + 3.5 * HOUR)
    receiver.beside.append(stale)
    return stale


def found_now(harness: EngineHarness) -> None:
    """What a repair does with what it finds, without the poll that it asks for afterwards."""
    harness.clock.still = True
    for part in harness.runner.verifier(harness.engine.streams).run():
        harness.runner.repair(part.found)
    assert harness.runner.outbox.values.get(READ_BACK) == ReadBack(since=harness.clock.now())
    harness.clock.still = False


def test_unclaimed_found_during_read(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """A read that began before an unclaimed document was found does not judge it.

    What it asked for first may be older than what another machine delivered while it was still reading.
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
    """A backfill's read-back does not hurry what was found before.

    Days that are opened later are read back too; what a comparison found waits for a whole read nevertheless.
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


@pytest.mark.parametrize(
    "changes",
    [{"pump": "2"}, {"at": BEGIN - 3 * DAY}, {"unique_slot": "another kind"}, {"collection": "elsewhere"}],
    ids=["another pump", "a day that this log does not open", "a kind that is not made here", "another collection"],
)
def test_verify_foreign_documents(
    harness: EngineHarness, receiver: ReadableFakeReceiver, changes: dict[str, Any]
) -> None:
    """Documents of another installation are foreign."""
    other = receiver.copy_of(at_hour(receiver, 3), document_id=document_id("other"), **changes)
    receiver.beside.append(other)
    assert compared(harness, BEGIN - 10 * DAY).wrong == 0
    assert harness.ask("verify", sink="shelf", first="2026-05-20").status == 0
    run_engine_for(harness, INTERVAL + 2 * HOUR)
    assert receiver.beside == [other]


def test_repair_brake(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """Many changes are braked; many missing documents are not.

    The brake is there for what would change; what is not there cannot be overwritten.
    """
    harness.clock.sleep(4 * 86400)
    harness.ask("sync")
    before = dict(receiver.there)
    for hour in range(20):
        known = at_hour(receiver, hour)
        receiver.there[known.id] = attrs.evolve(known, content={**known.content, "rate": 9.9})
    result = harness.ask("verify", sink="shelf")
    assert result.status == 6
    assert "tconnectsync resume shelf" in " ".join(result.lines)
    assert at_hour(receiver, 3).content["rate"] == 9.9
    assert harness.ask("resume", sink="shelf").status == 0
    assert receiver.there == before
    for hour in range(20):
        del receiver.there[at_hour(receiver, hour).id]
    assert harness.ask("verify", sink="shelf").status == 0
    assert receiver.there == before


def test_repair_halted_sink(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """A halted sink is not repaired."""
    del receiver.there[at_hour(receiver, 3).id]
    receiver.address = "shelf://two"
    harness.clock.sleep(3600)
    harness.ask("sync")
    assert harness.ask("verify", sink="shelf").status == 6
    assert receiver.surveys == 0


def test_repair_unreachable_status(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """A receiver that does not answer ends a repair with status 5."""
    receiver.trouble_reading = Retryable("it does not answer", remedy="Look at it.")
    result = harness.ask("verify", sink="shelf")
    assert (result.status, result.lines) == (5, ("it does not answer", "Look at it."))


def test_verify_unreadable_receiver(tmp_path: Path) -> None:
    """A receiver that cannot be read cannot be verified."""
    harness = EngineHarness(tmp_path, receiver=FakeReceiver(batch_size=100))
    harness.ask("sync")
    result = harness.ask("verify", sink="shelf")
    assert result.status == 2
    assert "shelf cannot be verified" in result.lines[0]
    assert harness.ask("verify", sink="nothing").status == 2
    run_engine_for(harness, 3 * DAY, step=2 * HOUR)
    assert harness.runner.outbox.values.get(COMPARED) == ""
    harness.engine.close()


# --- once a day -----------------------------------------------------------------------------------------------------


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

    With an old log it would undo what another machine, which knows more, has delivered.
    """
    harness.pump.trouble = Retryable("the cloud is away")
    run_engine_for(harness, 3 * DAY, step=2 * HOUR)
    assert receiver.surveys == 0
    harness.pump.trouble = None
    run_engine_for(harness, 6 * HOUR)
    assert receiver.surveys == 1


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

    A token may write and not read; whether the credentials are wrong, the deliveries show.
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

    It is forgotten by then: going on with it would be going on with a file that is not there any more.
    """

    def corrupted(*_args: object) -> None:
        raise IndexCorrupt("index.sqlite")

    monkeypatch.setattr(FoldRunner, "refold", corrupted)
    with pytest.raises(IndexCorrupt):
        run_engine_for(harness, INTERVAL + 6 * HOUR)


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


def test_verify_with_log_gap(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """A gap that a repair of the log left makes nothing unclaimed."""
    stale = receiver.copy_of(at_hour(receiver, 3), document_id=document_id("stale"), at=BEGIN + 3.5 * HOUR)
    receiver.beside.append(stale)
    assert verdicts(harness) == {"orphaned": 1}
    span = (int((stale.at - MARGIN).timestamp() * 1000), int((stale.at + MARGIN).timestamp() * 1000))
    harness.engine.streams = {
        name: attrs.evolve(stream, gaps=(span,)) for name, stream in harness.engine.streams.items()
    }
    assert verdicts(harness) == {"foreign": 1}
