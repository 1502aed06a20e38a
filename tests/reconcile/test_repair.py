"""The receiver is corrected by ``verify``."""

from __future__ import annotations

import json

import msgspec
import pytest

from tconnectsync import Retryable
from tconnectsync.plugin.receiver import Delivery, Outcome
from tconnectsync.reconcile.daily import INTERVAL
from tests.reconcile.harness import HOUR, at_hour, run_engine_for, verdicts
from tests.support.engine.fakes import ReadableFakeReceiver
from tests.support.engine.harness import EngineHarness


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


def test_repair_ours_only(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """A repair corrects our documents and leaves the rest."""
    before = dict(receiver.there)
    lost, altered, doubled = (at_hour(receiver, hour) for hour in (3, 4, 5))
    del receiver.there[lost.id]
    receiver.there[altered.id] = msgspec.structs.replace(altered, content={**altered.content, "rate": 9.9})
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
    """A lost document whose place another program took is reported, not restored.

    If the receiver keeps only one of the two, sending ours again would destroy the other one.
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

    The receiver answers 200 and stores nothing.
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


def test_repair_brake(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """Many changes need consent, many missing documents do not.

    A document that is not there cannot be overwritten.
    """
    harness.clock.sleep(4 * 86400)
    harness.ask("sync")
    before = dict(receiver.there)
    for hour in range(20):
        known = at_hour(receiver, hour)
        receiver.there[known.id] = msgspec.structs.replace(known, content={**known.content, "rate": 9.9})
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
