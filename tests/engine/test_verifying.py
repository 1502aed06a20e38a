"""Comparing what the receiver holds with what the log makes, and mending it: by command, and once a day without one."""

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
    Retryable,
    SiteConflict,
    StoredDocument,
    document_id,
)
from tconnectsync.errors import IndexCorrupt
from tconnectsync.ingest.gaps import MARGIN
from tconnectsync.outbox.facts import ADMITTED_FROM, COMPARED, READ_BACK, ReadBack
from tconnectsync.plugin.receiver import Delivery, Outcome
from tconnectsync.projection.fold_runner import FoldRunner
from tconnectsync.queries.status import status_of
from tconnectsync.reconcile.comparison import PERIOD
from tconnectsync.reconcile.daily import DAYS_BACK, INTERVAL, ComparisonState
from tconnectsync.reconcile.report import ComparisonReport
from tconnectsync.retry.deadline import RememberedDeadline
from tests.engine.fakes import OpenShelf, Shelf, StretchFold
from tests.engine.harness import BEGIN, Pump, World

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def shelf() -> OpenShelf:
    return OpenShelf(batch_size=100)


@pytest.fixture
def world(tmp_path: Path, shelf: OpenShelf) -> Iterator[World]:
    """A pump that ran for a day, all of it delivered; an hour a document."""
    made = World(tmp_path, shelf=shelf)
    made.clock.time = BEGIN + DAY
    assert made.ask("sync").status == 0
    yield made
    made.engine.close()


def compared(world: World, first: datetime | None = None, last: datetime | None = None) -> ComparisonReport:
    tally = ComparisonReport()
    for part in world.runner.verifier(world.engine.views).run(first, last):
        tally.add(part)
    return tally


@attrs.define
class ForgetfulShelf(OpenShelf):
    """Learns at a delivery that it cannot show its documents under their names."""

    nameless: bool = False

    def memory(self) -> str:
        return "nameless" if self.nameless else ""

    def recall(self, memory: str) -> None:
        self.nameless = self.nameless or memory == "nameless"

    def shows(self, collection: str) -> bool:
        return not self.nameless and super().shows(collection)


def test_what_a_receiver_learned_is_known_to_a_comparison_before_the_next_delivery(tmp_path: Path) -> None:
    """In another process, or after a restart, everything looked missing, and a repair would have sent it once more."""
    shelf = ForgetfulShelf(batch_size=100, nameless=True)
    world = World(tmp_path, shelf=shelf)
    world.clock.time = BEGIN + DAY
    assert world.ask("sync").status == 0
    shelf.nameless = False  # a new process knows nothing
    shelf.there.clear()
    assert not compared(world).counts
    world.engine.close()


@pytest.mark.parametrize(
    ("good", "words"),
    [
        (0, "there is nothing to compare"),
        (1, "1 document is as it should be"),
        (1400, "1,400 documents are as they should be"),
    ],
)
def test_the_summary_of_a_comparison(good: int, words: str) -> None:
    assert ComparisonReport(good=good).lines("site") == [words]


def verdicts(world: World) -> dict[str, int]:
    return {name: count for name, count in compared(world).counts.items() if count}


def at_hour(shelf: Shelf, hour: int) -> Document:
    return next(document for document in shelf.there.values() if document.at == BEGIN + hour * HOUR)


def lived(world: World, stretch: timedelta, step: timedelta = timedelta(minutes=30)) -> None:
    """The daemon's loop."""
    end = world.clock.now() + stretch
    while world.clock.now() < end:
        while world.engine.run_once():
            pass
        world.clock.sleep(step.total_seconds())
    while world.engine.run_once(polling=False):
        pass


# --- what is found --------------------------------------------------------------------------------------------------


def test_a_place_that_holds_what_was_delivered_is_good(world: World) -> None:
    tally = compared(world)
    assert (tally.good, tally.wrong, dict(tally.counts)) == (24, 0, {})
    assert tally.lines("site") == ["24 documents are as they should be"]


def test_what_is_lost_altered_doubled_or_made_by_nobody_is_distinguished(world: World, shelf: OpenShelf) -> None:
    lost, altered, doubled = (at_hour(shelf, hour) for hour in (3, 4, 5))
    del shelf.there[lost.id]
    shelf.there[altered.id] = attrs.evolve(altered, content={**altered.content, "rate": 9.9})
    shelf.beside.append(shelf.copy_of(doubled))
    stale = attrs.evolve(lost, id=document_id("stale"), at=BEGIN + 3.5 * HOUR)
    shelf.beside.append(shelf.copy_of(stale))
    shelf.beside.append(shelf.copy_of(lost, document_id="", receiver_key="", author="me"))
    tally = compared(world)
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


def test_comparing_changes_nothing(world: World, shelf: OpenShelf, tmp_path: Path) -> None:
    del shelf.there[at_hour(shelf, 3).id]
    known = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    assert verdicts(world) == {"missing": 1}
    assert {path: path.read_bytes() for path in known} == known
    assert len(shelf.there) == 23


def test_days_are_compared_alone_where_the_user_names_them(world: World, shelf: OpenShelf) -> None:
    for hour in (3, 20):
        del shelf.there[at_hour(shelf, hour).id]
    assert compared(world, BEGIN + 2 * HOUR, BEGIN + 4 * HOUR).counts["missing"] == 1
    assert compared(world, BEGIN + 4 * HOUR, None).counts["missing"] == 1
    assert compared(world, None, BEGIN + 2 * HOUR).counts["missing"] == 0


def test_verify_edge_within_a_millisecond_of_a_document(world: World, shelf: OpenShelf) -> None:
    """A span that begins within the millisecond of a document compares it: the outbox counts in milliseconds, a clock does not."""
    edge = at_hour(shelf, 3).at
    assert compared(world, edge + timedelta(microseconds=400)).good == 21
    assert compared(world, None, edge + timedelta(microseconds=400)).good == 4


def test_a_long_history_is_compared_in_parts_and_each_document_once(world: World, shelf: OpenShelf) -> None:
    world.clock.sleep(30 * 86400)
    world.clock.still, world.clock.time = True, BEGIN + 31 * DAY
    assert world.ask("sync").status == 0
    shelf.surveys = 0
    border = world.clock.now() + DAY - PERIOD
    moved = min(shelf.there.values(), key=lambda document: abs(document.at - border))
    assert moved.at == border
    tally = compared(world)
    assert tally.good == len(shelf.there) == 31 * 24
    assert shelf.surveys == 5


def test_what_waits_to_be_delivered_is_not_missing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(self: OpenShelf, batch: list[Delivery]) -> list[Outcome]:
        raise Retryable("not reached")

    monkeypatch.setattr(OpenShelf, "deliver", away)
    world.clock.sleep(3600)
    assert world.ask("sync").status == 5
    assert verdicts(world) == {"waiting": 1}, "the new hour"


def test_what_changes_while_it_is_looked_at_is_no_difference(
    world: World, shelf: OpenShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon delivers between the look at the place and the look at the outbox."""
    survey = OpenShelf.survey

    def slow(self: OpenShelf, first: datetime, last: datetime) -> Iterator[StoredDocument]:
        yield from list(survey(self, first, last))
        world.clock.sleep(1800)
        world.ask("sync")

    monkeypatch.setattr(OpenShelf, "survey", slow)
    assert verdicts(world) in ({"waiting": 1}, {"waiting": 2})


def test_a_dead_letter_is_reported_as_such_and_a_dropped_one_stays_dropped(world: World, shelf: OpenShelf) -> None:
    victim = document_id("stretch", 10 + 25 * 60)
    shelf.poison = frozenset({victim})
    world.clock.sleep(3 * 3600)
    assert world.ask("sync").status == 6
    tally = compared(world)
    assert {name: count for name, count in tally.counts.items() if name != "waiting"} == {"set_aside": 1}
    assert "poison" in "\n".join(tally.lines("site"))
    assert world.ask("dead_letters_drop", sink="shelf", ids=None).status == 0
    assert "given up" in "\n".join(compared(world).lines("site"))
    assert world.ask("verify", sink="shelf").status == 0
    assert victim not in shelf.there
    shelf.poison = frozenset()
    assert world.ask("replay", sink="shelf").status == 0
    assert victim in shelf.there
    assert verdicts(world) == {}


@attrs.frozen(kw_only=True)
class PassingFold(StretchFold):
    """Documents that are worth something for half an hour."""

    name = "passing"

    def step(self, state: Any, event: Any) -> Any:
        state, documents = StretchFold.step(self, state, event)
        return state, [self._passing(document) for document in documents]

    def running(self, state: Any) -> Any:
        return [self._passing(document) for document in StretchFold.running(self, state)]

    def _passing(self, document: Document) -> Document:
        return attrs.evolve(document, id=document_id("passing", document.id), unique_slot="passing", ttl_s=1800.0)


def test_what_lapsed_is_neither_missing_nor_orphaned(tmp_path: Path, shelf: OpenShelf) -> None:
    world = World(tmp_path, shelf=shelf, folds={"stretches": StretchFold(), "passing": PassingFold()})
    world.clock.time = BEGIN + DAY - timedelta(minutes=45)
    world.ask("sync")
    [passing] = [document for document in shelf.there.values() if document.unique_slot == "passing"]
    assert compared(world).good == 25
    world.clock.sleep(7200)
    for _ in range(2):
        assert compared(world).wrong == 0
        world.ask("sync")
    del shelf.there[passing.id]
    assert compared(world).wrong == 0
    shelf.beside.append(shelf.copy_of(passing))
    assert compared(world).wrong == 0
    world.engine.close()


def test_after_a_wiped_disk_what_lapsed_is_not_taken_from_the_place(tmp_path: Path, shelf: OpenShelf) -> None:
    """An announcement of yesterday is made by no fold any more; it was right when it was sent."""
    world = World(tmp_path, shelf=shelf, folds={"stretches": StretchFold(), "passing": PassingFold()})
    world.clock.time = BEGIN + DAY - timedelta(minutes=45)
    world.ask("sync")
    world.clock.sleep(7200)
    world.ask("sync")
    before = dict(shelf.there)
    assert "passing" in {document.unique_slot for document in before.values()}
    wiped(world)
    assert before.keys() <= shelf.there.keys()
    world.engine.close()


def wiped(world: World) -> None:
    """The outbox is gone; the log is read to its end twice since."""
    world.engine.close()
    for path in (world.folder / "outbox").iterdir():
        path.unlink()
    world.open()
    for _ in range(2):
        world.clock.sleep(7200)
        assert world.ask("sync").status == 0


def test_after_a_wiped_disk_what_is_of_a_kind_that_is_not_made_here_stays(world: World, shelf: OpenShelf) -> None:
    """An option switched it off since, or it is another machine's, which has it on."""
    known = at_hour(shelf, 3)
    for kind in ("another kind", "stretch"):
        other = attrs.evolve(known, id=document_id(kind), unique_slot=kind, at=BEGIN + 3.5 * HOUR)
        shelf.there[other.id] = other
    wiped(world)
    assert document_id("another kind") in shelf.there
    assert document_id("stretch") not in shelf.there


def test_a_document_that_the_outbox_lost_is_found_and_made_again(world: World, shelf: OpenShelf) -> None:
    """The comparison is with what the folds make, not with what the outbox believes."""
    lost = at_hour(shelf, 7)
    del shelf.there[lost.id]
    with world.runner.outbox.transaction():
        world.runner.outbox._db.execute("DELETE FROM document WHERE id = ?", (lost.id,))
    assert verdicts(world) == {"missing": 1}
    assert world.ask("verify", sink="shelf").status == 0
    assert shelf.there[lost.id] == lost


def test_documents_of_an_option_that_is_off_now_are_left_alone(world: World, shelf: OpenShelf) -> None:
    world.reopen(folds={}, fingerprint="2")
    world.ask("sync")
    assert verdicts(world) == {}
    assert world.ask("verify", sink="shelf").status == 0
    assert len(shelf.there) == 24


# --- mending --------------------------------------------------------------------------------------------------------


def test_a_repair_corrects_our_documents_and_leaves_the_rest(world: World, shelf: OpenShelf) -> None:
    before = dict(shelf.there)
    lost, altered, doubled = (at_hour(shelf, hour) for hour in (3, 4, 5))
    del shelf.there[lost.id]
    shelf.there[altered.id] = attrs.evolve(altered, content={**altered.content, "rate": 9.9})
    shelf.beside.append(shelf.copy_of(doubled))
    theirs = shelf.copy_of(lost, document_id="", receiver_key="", author="me")
    shelf.beside.append(theirs)
    world.clock.sleep(60)
    result = world.ask("verify", sink="shelf")
    assert result.status == 0
    assert result.lines[0] == "21 documents are as they should be; 1 missing, 1 different, 1 doubled, 1 foreign"
    assert "after the repair:" in result.lines
    assert result.lines[-2] == "24 documents are as they should be; 1 foreign"
    assert shelf.there == before
    assert shelf.beside == [theirs]
    calls = shelf.calls
    assert world.ask("verify", sink="shelf", json=True).status == 0
    assert shelf.calls == calls, "what is good is not sent again"


def test_a_lost_document_whose_place_somebody_else_took_is_reported_and_not_fought_for(
    world: World, shelf: OpenShelf
) -> None:
    """Where the receiver keeps only one of the two, sending ours again would destroy theirs."""
    lost = at_hour(shelf, 3)
    theirs = shelf.copy_of(lost, document_id="", receiver_key="here", author="me")
    del shelf.there[lost.id]
    shelf.beside.append(theirs)
    result = world.ask("verify", sink="shelf")
    assert result.status == 9
    assert "another program's document has the same time and type" in " ".join(result.lines)
    lived(world, INTERVAL + 2 * HOUR)
    assert lost.id not in shelf.there
    assert shelf.beside == [theirs]


def test_what_a_repair_cannot_fix_ends_with_status_9(
    world: World, shelf: OpenShelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A place that says 200 and forgets."""
    lost = at_hour(shelf, 3)
    del shelf.there[lost.id]
    deliver = OpenShelf.deliver

    def forgetful(self: OpenShelf, batch: list[Delivery]) -> list[Outcome]:
        outcomes = deliver(self, batch)
        self.there.pop(lost.id, None)
        return outcomes

    monkeypatch.setattr(OpenShelf, "deliver", forgetful)
    result = world.ask("verify", sink="shelf", json=True)
    assert result.status == 9
    *found, counts = map(json.loads, result.lines)
    assert [each["verdict"] for each in found] == ["missing"]
    assert counts["before"]["missing"] == counts["after"]["missing"] == 1


def test_an_orphaned_document_is_deleted_only_after_a_new_complete_fetch(world: World, shelf: OpenShelf) -> None:
    """Another machine may have delivered what this one has not read yet."""
    stale = shelf.copy_of(at_hour(shelf, 3), document_id=document_id("stale"), at=BEGIN + 3.5 * HOUR)
    shelf.beside.append(stale)
    world.clock.sleep(600)
    world.pump.trouble = Retryable("the cloud is away")
    result = world.ask("verify", sink="shelf")
    assert result.status == 5
    assert result.lines[-1] == "24 documents are as they should be; 1 waiting"
    assert shelf.beside == [stale]
    world.pump.trouble = None
    world.clock.sleep(3600)
    assert world.ask("sync").status == 0
    assert shelf.beside == []


class UnhurriedPump(Pump):
    """Its first answer brings nothing yet."""

    def poll(self, history: History) -> Iterator[Batch]:
        yield Batch()
        yield from super().poll(history)


def stale_of(shelf: OpenShelf) -> StoredDocument:
    """A document under our name that no fold makes, left at the receiver; another machine may have delivered it."""
    stale = shelf.copy_of(at_hour(shelf, 3), document_id=document_id("stale"), at=BEGIN + 3.5 * HOUR)
    shelf.beside.append(stale)
    return stale


def found_now(world: World) -> None:
    """What a repair does with what it finds, without the poll that it asks for afterwards."""
    world.clock.still = True
    for part in world.runner.verifier(world.engine.views).run():
        world.runner.repair(part.found)
    assert world.runner.outbox.facts.get(READ_BACK) == ReadBack(since=world.clock.now())
    world.clock.still = False


def test_a_read_that_began_before_something_was_found_does_not_judge_it(world: World, shelf: OpenShelf) -> None:
    """What it asked for first may be older than what another machine delivered while it was still reading."""
    world.pump = UnhurriedPump(world.clock)
    world.reopen()
    world.engine.run_once(polling=False)
    world.clock.sleep(7200)
    world.engine.run_once()
    assert world.engine.pollers["pump"].running
    stale = stale_of(shelf)
    world.clock.sleep(5)
    found_now(world)
    world.clock.sleep(5)
    while world.engine.run_once():
        pass
    assert shelf.beside == [stale]
    world.reopen()
    while world.engine.run_once(polling=False):
        pass
    assert shelf.beside == [stale], "it is remembered between runs when the read began"
    world.clock.sleep(3600)
    assert world.ask("sync").status == 0
    assert shelf.beside == []


def test_what_a_backfill_reads_back_does_not_hurry_what_was_found_before(world: World, shelf: OpenShelf) -> None:
    """Days that are opened later are read back too; what a comparison found waits for a whole read nevertheless."""
    stale = stale_of(shelf)
    world.clock.sleep(60)
    found_now(world)
    world.runner.outbox.facts.put(ADMITTED_FROM, BEGIN + DAY)
    world.ask("replay", sink="shelf")
    assert world.runner.outbox.facts.get(ADMITTED_FROM) < BEGIN, "the place was looked over again"
    assert shelf.beside == [stale]
    world.clock.sleep(3600)
    assert world.ask("sync").status == 0
    assert shelf.beside == []


@pytest.mark.parametrize(
    "changes",
    [{"pump": "2"}, {"at": BEGIN - 3 * DAY}, {"unique_slot": "another kind"}, {"collection": "elsewhere"}],
    ids=["another pump", "a day that this log does not open", "a kind that is not made here", "another collection"],
)
def test_what_another_installation_made_is_foreign(world: World, shelf: OpenShelf, changes: dict[str, Any]) -> None:
    other = shelf.copy_of(at_hour(shelf, 3), document_id=document_id("other"), **changes)
    shelf.beside.append(other)
    assert compared(world, BEGIN - 10 * DAY).wrong == 0
    assert world.ask("verify", sink="shelf", first="2026-05-20").status == 0
    lived(world, INTERVAL + 2 * HOUR)
    assert shelf.beside == [other]


def test_many_rewrites_are_braked_and_many_lost_ones_are_not(world: World, shelf: OpenShelf) -> None:
    """The brake is there for what would change; what is not there cannot be overwritten."""
    world.clock.sleep(4 * 86400)
    world.ask("sync")
    before = dict(shelf.there)
    for hour in range(20):
        known = at_hour(shelf, hour)
        shelf.there[known.id] = attrs.evolve(known, content={**known.content, "rate": 9.9})
    result = world.ask("verify", sink="shelf")
    assert result.status == 6
    assert "tconnectsync resume shelf" in " ".join(result.lines)
    assert at_hour(shelf, 3).content["rate"] == 9.9
    assert world.ask("resume", sink="shelf").status == 0
    assert shelf.there == before
    for hour in range(20):
        del shelf.there[at_hour(shelf, hour).id]
    assert world.ask("verify", sink="shelf").status == 0
    assert shelf.there == before


def test_a_halted_sink_is_not_corrected(world: World, shelf: OpenShelf) -> None:
    del shelf.there[at_hour(shelf, 3).id]
    shelf.address = "shelf://two"
    world.clock.sleep(3600)
    world.ask("sync")
    assert world.ask("verify", sink="shelf").status == 6
    assert shelf.surveys == 0


def test_a_receiver_that_does_not_answer_ends_a_repair_with_status_5(world: World, shelf: OpenShelf) -> None:
    shelf.trouble_reading = Retryable("it does not answer", remedy="Look at it.")
    result = world.ask("verify", sink="shelf")
    assert (result.status, result.lines) == (5, ("it does not answer", "Look at it."))


def test_what_cannot_be_read_back_cannot_be_verified(tmp_path: Path) -> None:
    world = World(tmp_path, shelf=Shelf(batch_size=100))
    world.ask("sync")
    result = world.ask("verify", sink="shelf")
    assert result.status == 2
    assert "shelf cannot be verified" in result.lines[0]
    assert world.ask("verify", sink="nothing").status == 2
    lived(world, 3 * DAY)
    assert world.runner.outbox.facts.get(COMPARED) == ""
    world.engine.close()


# --- once a day -----------------------------------------------------------------------------------------------------


def test_once_a_day_the_last_days_are_compared_and_corrected_automatically(world: World, shelf: OpenShelf) -> None:
    lived(world, 5 * DAY)
    assert 4 <= shelf.surveys <= 5
    old, lost = at_hour(shelf, 3), at_hour(shelf, 24 * 4 + 1)
    for each in (old, lost):
        del shelf.there[each.id]
    lived(world, INTERVAL + 2 * HOUR)
    assert lost.id in shelf.there
    assert old.id not in shelf.there, "what is older is compared when the user asks"
    assert ComparisonState.load(world.runner.outbox).counts["missing"] == 1
    status = status_of(
        world.folder, sources={}, sinks={"shelf": True}, zones=world.zones, clock=world.clock
    )["sinks"]["shelf"]  # fmt: skip
    assert status["verified"]["missing"] == 1
    assert status["verified_at"] > "2026-06-06"
    assert old.at < world.clock.now() - DAYS_BACK
    assert world.ask("verify", sink="shelf").status == 0
    assert old.id in shelf.there


def test_runs_by_cron_do_it_too_and_remember(world: World, shelf: OpenShelf) -> None:
    for _ in range(11):
        world.clock.sleep(7200)
        world.reopen()
        assert world.ask("sync").status == 0
    assert shelf.surveys == 0
    lost = at_hour(shelf, 30)
    del shelf.there[lost.id]
    for _ in range(3):
        world.clock.sleep(7200)
        world.reopen()
        assert world.ask("sync").status == 0
    assert shelf.surveys == 1
    assert lost.id in shelf.there


def test_it_waits_for_fresh_sources_and_for_deliveries(world: World, shelf: OpenShelf) -> None:
    """With an old log it would undo what another machine, which knows more, has delivered."""
    world.pump.trouble = Retryable("the cloud is away")
    lived(world, 3 * DAY)
    assert shelf.surveys == 0
    world.pump.trouble = None
    lived(world, 6 * HOUR)
    assert shelf.surveys == 1


def test_its_failure_is_reported_and_backs_off_and_holds_no_dose_up(world: World, shelf: OpenShelf) -> None:
    shelf.trouble_reading = Retryable("it is too busy")
    lived(world, INTERVAL + 12 * HOUR)
    assert 2 <= shelf.surveys <= 40
    assert world.runner.health.state == "ok"
    assert len(shelf.there) >= 24 + 24 + 11
    found = status_of(world.folder, sources={}, sinks={"shelf": True}, zones=world.zones, clock=world.clock)
    assert "could not be compared with the log: it is too busy" in found["sinks"]["shelf"]["message"]
    shelf.trouble_reading = None
    lived(world, 6 * HOUR)
    found = status_of(world.folder, sources={}, sinks={"shelf": True}, zones=world.zones, clock=world.clock)
    assert found["sinks"]["shelf"]["message"] == ""


def test_a_refusal_to_show_what_is_there_is_reported_and_holds_no_dose_up(world: World, shelf: OpenShelf) -> None:
    """A token may write and not read; whether the credentials are wrong, the deliveries show."""
    shelf.trouble_reading = CredentialsRefused("who are you?")
    lived(world, INTERVAL + 12 * HOUR)
    assert 2 <= shelf.surveys <= 5
    assert world.runner.health.state == "ok"
    assert len(shelf.there) >= 24 + 24 + 11
    found = status_of(world.folder, sources={}, sinks={"shelf": True}, zones=world.zones, clock=world.clock)
    assert "who are you?" in found["sinks"]["shelf"]["message"]


def test_a_fault_of_the_receivers_stops_nothing(world: World, shelf: OpenShelf) -> None:
    shelf.trouble_reading = ZeroDivisionError()
    lived(world, INTERVAL + 6 * HOUR)
    assert world.runner.health.state == "ok"
    assert len(shelf.there) >= 24 + 24 + 5


def test_an_index_that_the_comparison_finds_corrupt_ends_the_run_as_anywhere(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is forgotten by then: going on with it would be going on with a file that is not there any more."""

    def harmed(*_args: object) -> None:
        raise IndexCorrupt("index.sqlite")

    monkeypatch.setattr(FoldRunner, "refold", harmed)
    with pytest.raises(IndexCorrupt):
        lived(world, INTERVAL + 6 * HOUR)


def test_what_was_found_by_a_clock_that_was_years_ahead_does_not_wait_for_that_year(
    world: World, shelf: OpenShelf
) -> None:
    stale = shelf.copy_of(at_hour(shelf, 3), document_id=document_id("stale"), at=BEGIN + 3.5 * HOUR)
    outbox = world.runner.outbox
    with outbox.transaction():
        outbox.found.record(stale)
        outbox.facts.put(READ_BACK, ReadBack(since=BEGIN + 1000 * DAY))
    lived(world, 2 * DAY)
    assert outbox.facts.get(READ_BACK) is None
    assert shelf.surveys >= 1


def test_a_plan_made_by_a_clock_that_was_years_ahead_is_not_believed(world: World, shelf: OpenShelf) -> None:
    world.runner.daily_comparison._save(ComparisonState(not_before=RememberedDeadline(until=BEGIN + 1000 * DAY)))
    lived(world, 2 * DAY + 6 * HOUR)
    assert shelf.surveys >= 1


def test_nothing_is_compared_before_the_first_delivery_was_allowed(tmp_path: Path, shelf: OpenShelf) -> None:
    world = World(tmp_path, shelf=shelf)
    shelf.hold = SiteConflict(reason="somebody was here", remedy="adopt")
    lived(world, 3 * DAY)
    assert shelf.surveys == 0
    world.engine.close()


def test_a_gap_left_by_a_repair_of_the_log_makes_nothing_orphaned(world: World, shelf: OpenShelf) -> None:
    stale = shelf.copy_of(at_hour(shelf, 3), document_id=document_id("stale"), at=BEGIN + 3.5 * HOUR)
    shelf.beside.append(stale)
    assert verdicts(world) == {"orphaned": 1}
    span = (int((stale.at - MARGIN).timestamp() * 1000), int((stale.at + MARGIN).timestamp() * 1000))
    world.engine.views = {name: attrs.evolve(view, gaps=(span,)) for name, view in world.engine.views.items()}
    assert verdicts(world) == {"foreign": 1}
