"""What a comparison of the receiver with the log finds."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import attrs
import msgspec
import pytest

from tconnectsync import Retryable, StoredDocument, document_id
from tconnectsync.outbox.stored_values import COMPARED
from tconnectsync.plugin.receiver import Delivery, Outcome
from tconnectsync.reconcile.comparison import PERIOD
from tconnectsync.reconcile.report import ComparisonReport
from tests.reconcile.harness import DAY, HOUR, at_hour, compared, run_engine_for, verdicts
from tests.support.engine.fakes import FakeReceiver, ReadableFakeReceiver
from tests.support.engine.harness import BEGIN, EngineHarness


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


def test_verify_nothing_to_change(harness: EngineHarness) -> None:
    """A receiver that has what was delivered is good."""
    tally = compared(harness)
    assert (tally.good, tally.wrong, dict(tally.counts)) == (24, 0, {})
    assert tally.lines("site") == ["24 documents are as they should be"]


def test_verify_kinds_of_difference(harness: EngineHarness, receiver: ReadableFakeReceiver) -> None:
    """Missing, changed, doubled and unclaimed documents are told apart."""
    lost, altered, doubled = (at_hour(receiver, hour) for hour in (3, 4, 5))
    del receiver.there[lost.id]
    receiver.there[altered.id] = msgspec.structs.replace(altered, content={**altered.content, "rate": 9.9})
    receiver.beside.append(receiver.copy_of(doubled))
    stale = msgspec.structs.replace(lost, id=document_id("stale"), at=BEGIN + 3.5 * HOUR)
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

    The daemon delivers after the receiver was read and before the outbox is read.
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
