"""Everything that can stop a sink, and what lets it continue, through the whole engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import attrs
import msgspec
import pytest

from tconnectsync import Delivery, Document, Event, Outcome, ReceiverConflict, Rejected, Retryable
from tconnectsync.projection import intervals
from tconnectsync.runtime import sink_folding
from tconnectsync.timeline.zones import Zones
from tests.runtime.test_corrupt_log import NewsOnlySource, flip, repaired
from tests.support.engine.fakes import FakeReceiver, ReadableFakeReceiver, State, Stretch, StretchFold
from tests.support.engine.harness import BEGIN, EngineHarness


@attrs.define
class ChoosyReceiver(FakeReceiver):
    """It refuses every document, and says what helps."""

    def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        raise Rejected("a field of another type", remedy="Use another shelf, then `tconnectsync replay shelf`.")


class RewordedFold(StretchFold):
    """The same stretches with other wording."""

    def step(self, state: State, event: Event) -> tuple[State, Sequence[Document]]:
        state, finished = super().step(state, event)
        return state, [msgspec.structs.replace(known, content={"words": "new"}) for known in finished]

    def running(self, state: State) -> Sequence[Document]:
        return [msgspec.structs.replace(known, content={"words": "new"}) for known in super().running(state)]


@pytest.fixture
def delivered(tmp_path: Path) -> Iterator[EngineHarness]:
    """Four days are delivered by a source that reports older days only on request."""
    harness = EngineHarness(tmp_path, segment_bytes=40_000)
    harness.pump = NewsOnlySource(harness.clock)
    harness.reopen()
    for _ in range(4):
        assert harness.ask("sync").status == 0
        harness.clock.sleep(86400)
    yield harness
    harness.engine.close()


def reopen_with_other_words(harness: EngineHarness) -> None:
    harness.reopen(fingerprint="2", folds={"stretches": RewordedFold()})


def words(harness: EngineHarness) -> set[bool]:
    return {known.content == {"words": "new"} for known in harness.receiver.there.values()}


def test_halt_keeps_the_receivers_remedy(harness: EngineHarness) -> None:
    """What the receiver says against its refusals is what `status` shows after it stopped, also after a restart."""
    harness.reopen(receiver=ChoosyReceiver(batch_size=100))
    for _ in range(3):
        harness.ask("sync")
        assert harness.runner.health.state == "halted"
        assert harness.runner.health.remedy == "Use another shelf, then `tconnectsync replay shelf`."
        harness.clock.sleep(3600)
        harness.reopen()


# --- too many rewrites ------------------------------------------------------------------------------------------------


def test_brake_survives_restart_and_news(delivered: EngineHarness) -> None:
    """A stop for many rewrites survives restarts and new data."""
    reopen_with_other_words(delivered)
    before = dict(delivered.receiver.there)
    for _ in range(3):
        assert delivered.ask("sync").status == 6
        assert delivered.runner.health.state == "braked"
        assert delivered.receiver.there == before
        delivered.reopen()
        delivered.clock.sleep(3600)


def test_rewrites_counted_before_first_batch(delivered: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many slices the folding takes, nothing is sent before it is over: only then the rewrites can be counted."""
    monkeypatch.setattr(sink_folding, "SLICE_S", 0.0)
    monkeypatch.setattr(intervals, "IN_A_ROW", 1)
    reopen_with_other_words(delivered)
    before = dict(delivered.receiver.there)
    slices = 0
    while delivered.engine.run_once(polling=False):
        assert delivered.receiver.there == before
        slices += 1
    assert slices > 5
    assert delivered.runner.health.state == "braked"


@pytest.mark.parametrize("command", ["resume", "replay"])
def test_resume_covers_present_rewrites_only(delivered: EngineHarness, command: str) -> None:
    """``resume`` releases these rewrites and is no consent to later ones."""
    reopen_with_other_words(delivered)
    assert delivered.ask("sync").status == 6
    assert delivered.ask(command, sink="shelf").status == 0
    assert words(delivered) == {True}
    delivered.reopen(fingerprint="3", folds={"stretches": StretchFold()})
    assert delivered.ask("sync").status == 6
    assert words(delivered) == {True}


def test_brake_released_when_rewrites_vanish(delivered: EngineHarness) -> None:
    """The stop ends when nothing would be rewritten any more.

    An update is reverted before anybody agrees to it.
    """
    reopen_with_other_words(delivered)
    assert delivered.ask("sync").status == 6
    before = dict(delivered.receiver.there)
    calls = delivered.receiver.calls
    delivered.reopen(fingerprint="1", folds={"stretches": StretchFold()})
    assert delivered.ask("sync").status == 0
    assert {id_: delivered.receiver.there[id_] for id_ in before} == before
    assert delivered.receiver.calls - calls <= 1, "what was held back is not sent; the newest hours are"


def test_brake_limit_itself_passes(delivered: EngineHarness) -> None:
    """As many rewrites as the limit allows need no consent."""
    delivered.ask("sync")
    reopen_with_other_words(delivered)
    delivered.runner.folding.rewrite_limit = 10_000
    assert delivered.ask("sync").status == 0
    assert words(delivered) == {True}


def test_brake_on_corrected_zone(delivered: EngineHarness) -> None:
    """A corrected time zone waits for consent; then every document moves once."""
    before = {id_: known.at for id_, known in delivered.receiver.there.items()}
    delivered.reopen(zones=Zones(timezone="Europe/London"))
    assert delivered.ask("sync").status == 6
    assert {id_: delivered.receiver.there[id_].at for id_ in before} == before
    assert delivered.ask("resume", sink="shelf").status == 0
    moved = {id_: known.at for id_, known in delivered.receiver.there.items() if id_ in before}
    assert moved.items() <= {id_: at + timedelta(hours=1) for id_, at in before.items()}.items()


# --- the gap of a repair --------------------------------------------------------------------------------------------


def make_gap(harness: EngineHarness, seq: int) -> NewsOnlySource:
    """The record is corrupt, quarantined, and cannot be fetched again for now."""
    harness.engine.close()
    flip(harness.folder, seq=seq)
    harness.open()
    repaired(harness)
    assert isinstance(harness.pump, NewsOnlySource)
    harness.pump.backfill_trouble = Retryable("the cloud is down")
    harness.reopen(fingerprint="2")  # everything is folded again, without the record
    assert harness.ask("sync").status == 3
    return harness.pump


def test_gap_until_days_fetched(delivered: EngineHarness) -> None:
    """A gap withdraws nothing and ends once its days were fetched again.

    A rate's first record: without it the rate seems to begin five minutes later, under another identity.
    """
    before = dict(delivered.receiver.there)
    pump = make_gap(delivered, seq=10 + 29 * 60)
    assert before.keys() <= delivered.receiver.there.keys(), "what the gap may have told stays"
    pump.backfill_trouble = None
    delivered.clock.sleep(600)
    assert delivered.ask("sync").status == 0
    began = [known.at for known in delivered.receiver.there.values() if known.at < BEGIN + timedelta(days=3)]
    assert sorted(began) == [BEGIN + timedelta(hours=hour) for hour in range(72)], "each hour's rate once"


def test_gap_waits_for_its_last_day(delivered: EngineHarness) -> None:
    """A gap holds until the last of its days was fetched.

    Other days are fetched, and nothing is withdrawn, over restarts too.
    """
    make_gap(delivered, seq=10 + 29 * 60)
    there = dict(delivered.receiver.there)
    for _ in range(3):
        delivered.clock.sleep(7200)
        delivered.reopen()
        assert delivered.ask("sync").status == 3
        assert there.keys() <= delivered.receiver.there.keys()


class SumFold(StretchFold):
    """Makes no document. Its state changes with each record, so every later interval is folded again."""

    def step(self, state: State, event: Event) -> tuple[State, Sequence[Document]]:
        assert event.at is not None
        total = event.seq + state.running.rate if state.running is not None else 0
        return State(running=Stretch(first=1, begin=event.at, last=event.at, rate=total)), ()

    def running(self, state: State) -> Sequence[Document]:
        return ()


def test_gap_closed_before_all_is_folded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gap protects a document and closes while other folds are not through: the document is still withdrawn.

    The cloud no longer has the first record of a rate. A late record of the same rate comes with the answer.
    """
    harness = EngineHarness(tmp_path, folds={"stretches": StretchFold(), "sums": SumFold()})
    harness.clock.sleep(36.5 * 3600)
    lost, late = 40 * 60, 40 * 60 + 25
    harness.pump.hidden = {late}
    harness.ask("sync")
    harness.engine.close()
    [path] = (tmp_path / "log").glob("*.jsonl")
    text = path.read_bytes()
    at = text.index(f'"id":"pump:1:0:{10 + lost}"'.encode())
    path.write_bytes(text[: at + 40] + b"?" + text[at + 41 :])
    repaired(harness)
    harness.pump.hidden = {lost, *range(36 * 60 + 24 * 60 + 20, 9000)}  # only the late record is new
    monkeypatch.setattr(sink_folding, "SLICE_S", 0.0)
    harness.clock.sleep(1800)
    for _ in range(400):
        harness.engine.run_once()
    assert harness.engine.streams["1:0"].gaps == ()
    assert harness.ask("sync").status == 0
    began = [at for at in harness.starts() if BEGIN + timedelta(hours=39) <= at <= BEGIN + timedelta(hours=41)]
    assert began == [BEGIN + timedelta(hours=39), BEGIN + timedelta(hours=40, minutes=5), BEGIN + timedelta(hours=41)]
    harness.engine.close()


def test_brake_on_days_the_vendor_lost(
    delivered: EngineHarness,
) -> None:
    """Many documents of days that the vendor no longer has are withdrawn only with consent."""
    pump = make_gap(delivered, seq=10 + 29 * 60)
    before = dict(delivered.receiver.there)
    delivered.runner.folding.rewrite_limit = 0
    pump.backfill_trouble = None
    pump.hidden = {29 * 60}
    delivered.clock.sleep(600)
    delivered.ask("sync")
    assert delivered.runner.health.state == "braked"
    assert before.keys() <= delivered.receiver.there.keys()


# --- another address ------------------------------------------------------------------------------------------------


def test_new_address_told_at_once(delivered: EngineHarness) -> None:
    """A new site address is reported at once, not only when something waits."""
    delivered.ask("sync")
    delivered.reopen(receiver=FakeReceiver(address="shelf://two", batch_size=100))
    assert delivered.runner.health.state == "halted"
    assert "tconnectsync replay shelf" in (delivered.runner.health.remedy or "")


def test_old_address_restored(delivered: EngineHarness) -> None:
    """If the old address is put back, delivery resumes without a command."""
    old = delivered.receiver
    delivered.reopen(receiver=FakeReceiver(address="shelf://two", batch_size=100))
    assert delivered.ask("sync").status == 6
    delivered.reopen(receiver=old)
    assert delivered.ask("sync").status == 0
    assert delivered.starts()[-1] > BEGIN + timedelta(days=3)


@attrs.define
class RenamedReceiver(FakeReceiver):
    """An address for which an earlier release had another form."""

    former_address: str = ""


def test_the_same_place_in_other_words(delivered: EngineHarness) -> None:
    """An address in this release's form is the same one, also after a halt; one that moved later is new."""
    there, former = delivered.receiver.there, delivered.receiver.address
    delivered.reopen(receiver=FakeReceiver(address="shelf://one:1", batch_size=100))
    assert delivered.runner.health.state == "halted"
    renamed = RenamedReceiver(address="shelf://one:1", former_address=former, batch_size=100, there=there)
    delivered.reopen(receiver=renamed)
    assert delivered.ask("sync").status == 0
    assert delivered.starts()[-1] > BEGIN + timedelta(days=3)
    delivered.reopen(receiver=RenamedReceiver(address="shelf://one:2", former_address=former, batch_size=100))
    assert delivered.runner.health.state == "halted"


def test_new_address_known_after_replay(delivered: EngineHarness) -> None:
    """After a replay the new address is the known one."""
    delivered.reopen(receiver=FakeReceiver(address="shelf://two", batch_size=100))
    assert delivered.ask("sync").status == 6
    assert delivered.receiver.there == {}
    assert delivered.ask("replay", sink="shelf").status == 0
    filled = dict(delivered.receiver.there)
    assert len(filled) >= 72
    delivered.reopen()
    delivered.clock.sleep(3600)
    assert delivered.ask("sync").status == 0
    assert filled.keys() <= delivered.receiver.there.keys()


# --- a site that was away -----------------------------------------------------------------------------------------------


class NowFold(StretchFold):
    """Only the present rate, which is worth half an hour."""

    def step(self, state: State, event: Event) -> tuple[State, Sequence[Document]]:
        return super().step(state, event)[0], ()

    def running(self, state: State) -> Sequence[Document]:
        return [msgspec.structs.replace(known, ttl_s=1800.0) for known in super().running(state)]


def test_site_is_back_and_nothing_waits(tmp_path: Path) -> None:
    """The last short-lived document expires while the site is away, and the pump is silent: reading shows that it is back."""
    receiver = ReadableFakeReceiver(batch_size=100)
    harness = EngineHarness(tmp_path, folds={"now": NowFold()}, receiver=receiver)
    harness.pump.every_min = 60
    assert harness.ask("sync").status == 0
    receiver.trouble_delivering = receiver.trouble_reading = Retryable("the site does not answer", in_doubt=True)
    harness.clock.sleep(65 * 60)
    harness.ask("sync")
    harness.pump.hidden = set(range(9000))  # the pump uploads nothing new
    for _ in range(20):
        harness.clock.sleep(600)
        harness.engine.run_once()
    health, surveys = harness.runner.health, receiver.surveys
    assert (health.state, harness.runner.outbox.queue.next_due(harness.clock.now())) == ("backing_off", None)
    assert health.since is not None
    assert 3 < surveys < 20, "it is asked less and less often"
    receiver.trouble_delivering = receiver.trouble_reading = None
    for _ in range(10):
        harness.clock.sleep(600)
        harness.engine.run_once()
    assert harness.runner.health.state == "ok"
    assert receiver.surveys <= surveys + 2, "one look, and the daily comparison"
    harness.engine.close()


# --- a site with other documents ----------------------------------------------------------------------------------------


def test_inhabited_site_until_adopted(tmp_path: Path) -> None:
    """A site with an older bridge's documents gets nothing, also over restarts, until it is adopted."""
    harness = EngineHarness(tmp_path)
    harness.receiver.hold = ReceiverConflict(
        reason="another bridge was here", remedy="Run `tconnectsync adopt SINK --skip`."
    )
    for _ in range(3):
        assert harness.ask("sync").status == 6
        harness.reopen()
        harness.clock.sleep(3600)
    assert harness.receiver.there == {}
    assert harness.ask("adopt", sink="shelf", skip=True).status == 0
    assert harness.receiver.there
    harness.reopen()
    harness.clock.sleep(3600)
    assert harness.ask("sync").status == 0
    harness.engine.close()
