"""What holds a sink back, each shown to hold and to let go, through the whole engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from tconnectsync import Document, Event, Retryable, SiteConflict
from tconnectsync.timeline.zones import Zones
from tests.engine.fakes import FakeReceiver, State, StretchFold
from tests.engine.harness import BEGIN, EngineHarness
from tests.engine.test_rules_damage import NewsOnlySource, flip, repaired


class RewordedFold(StretchFold):
    """The same stretches in other words."""

    def step(self, state: State, event: Event) -> tuple[State, Sequence[Document]]:
        state, finished = super().step(state, event)
        return state, [attrs.evolve(known, content={"words": "new"}) for known in finished]

    def running(self, state: State) -> Sequence[Document]:
        return [attrs.evolve(known, content={"words": "new"}) for known in super().running(state)]


@pytest.fixture
def told(tmp_path: Path) -> Iterator[EngineHarness]:
    """Four days are delivered, by a source that tells older days only when it is asked for them."""
    harness = EngineHarness(tmp_path, segment_bytes=40_000)
    harness.pump = NewsOnlySource(harness.clock)
    harness.reopen()
    for _ in range(4):
        assert harness.ask("sync").status == 0
        harness.clock.sleep(86400)
    yield harness
    harness.engine.close()


def reworded(harness: EngineHarness) -> None:
    harness.reopen(fingerprint="2", folds={"stretches": RewordedFold()})


def words(harness: EngineHarness) -> set[bool]:
    return {known.content == {"words": "new"} for known in harness.receiver.there.values()}


# --- the rewrite brake ----------------------------------------------------------------------------------------------


def test_many_rewrites_of_the_past_hold_through_restarts_and_news(told: EngineHarness) -> None:
    reworded(told)
    before = dict(told.receiver.there)
    for _ in range(3):
        assert told.ask("sync").status == 6
        assert told.runner.health.state == "braked"
        assert told.receiver.there == before
        told.reopen()
        told.clock.sleep(3600)


@pytest.mark.parametrize("command", ["resume", "replay"])
def test_the_users_word_lets_the_rewrites_go_and_is_no_consent_to_later_ones(told: EngineHarness, command: str) -> None:
    reworded(told)
    assert told.ask("sync").status == 6
    assert told.ask(command, sink="shelf").status == 0
    assert words(told) == {True}
    told.reopen(fingerprint="3", folds={"stretches": StretchFold()})
    assert told.ask("sync").status == 6
    assert words(told) == {True}


def test_rewrites_that_come_to_nothing_let_go_by_themselves(told: EngineHarness) -> None:
    """An update that was taken back before anybody agreed to it."""
    reworded(told)
    assert told.ask("sync").status == 6
    before = dict(told.receiver.there)
    calls = told.receiver.calls
    told.reopen(fingerprint="1", folds={"stretches": StretchFold()})
    assert told.ask("sync").status == 0
    assert {id_: told.receiver.there[id_] for id_ in before} == before
    assert told.receiver.calls - calls <= 1, "what was held back is not sent; the newest hours are"


def test_as_many_rewrites_as_the_brake_allows_need_no_consent(told: EngineHarness) -> None:
    told.ask("sync")
    reworded(told)
    told.runner.folding.rewrite_limit = 10_000
    assert told.ask("sync").status == 0
    assert words(told) == {True}


def test_a_zone_put_right_is_held_and_with_consent_every_document_moves_once(told: EngineHarness) -> None:
    before = {id_: known.at for id_, known in told.receiver.there.items()}
    told.reopen(zones=Zones(timezone="Europe/London"))
    assert told.ask("sync").status == 6
    assert {id_: told.receiver.there[id_].at for id_ in before} == before
    assert told.ask("resume", sink="shelf").status == 0
    moved = {id_: known.at for id_, known in told.receiver.there.items() if id_ in before}
    assert moved.items() <= {id_: at + timedelta(hours=1) for id_, at in before.items()}.items()


# --- the gap of a repair --------------------------------------------------------------------------------------------


def torn(harness: EngineHarness, seq: int) -> NewsOnlySource:
    """The record is harmed, quarantined, and cannot be fetched again for now."""
    harness.engine.close()
    flip(harness.folder, seq=seq)
    harness.open()
    repaired(harness)
    assert isinstance(harness.pump, NewsOnlySource)
    harness.pump.backfill_trouble = Retryable("the cloud is down")
    harness.reopen(fingerprint="2")  # everything is folded again, without the record
    assert harness.ask("sync").status == 3
    return harness.pump


def test_a_gap_takes_nothing_back_and_lets_go_once_its_days_were_fetched_again(told: EngineHarness) -> None:
    """A rate's first record: without it the rate seems to begin five minutes later, under another identity."""
    before = dict(told.receiver.there)
    pump = torn(told, seq=10 + 29 * 60)
    assert before.keys() <= told.receiver.there.keys(), "what the gap may have told stays"
    pump.backfill_trouble = None
    told.clock.sleep(600)
    assert told.ask("sync").status == 0
    began = [known.at for known in told.receiver.there.values() if known.at < BEGIN + timedelta(days=3)]
    assert sorted(began) == [BEGIN + timedelta(hours=hour) for hour in range(72)], "each hour's rate once"


def test_a_gap_holds_until_the_last_of_its_days_was_fetched(told: EngineHarness) -> None:
    """Days are fetched, but not those: nothing lets go, through restarts either."""
    torn(told, seq=10 + 29 * 60)
    there = dict(told.receiver.there)
    for _ in range(3):
        told.clock.sleep(7200)
        told.reopen()
        assert told.ask("sync").status == 3
        assert there.keys() <= told.receiver.there.keys()


def test_days_that_the_vendor_has_no_more_are_taken_back_only_with_consent_where_they_are_many(
    told: EngineHarness,
) -> None:
    pump = torn(told, seq=10 + 29 * 60)
    before = dict(told.receiver.there)
    told.runner.folding.rewrite_limit = 0
    pump.backfill_trouble = None
    pump.hidden = {29 * 60}
    told.clock.sleep(600)
    told.ask("sync")
    assert told.runner.health.state == "braked"
    assert before.keys() <= told.receiver.there.keys()


# --- another address ------------------------------------------------------------------------------------------------


def test_another_address_is_told_at_once_and_not_when_something_waits(told: EngineHarness) -> None:
    told.ask("sync")
    told.reopen(receiver=FakeReceiver(address="shelf://two", batch_size=100))
    assert told.runner.health.state == "halted"
    assert "tconnectsync replay shelf" in (told.runner.health.remedy or "")


def test_the_old_address_put_back_lets_go_by_itself(told: EngineHarness) -> None:
    old = told.receiver
    told.reopen(receiver=FakeReceiver(address="shelf://two", batch_size=100))
    assert told.ask("sync").status == 6
    told.reopen(receiver=old)
    assert told.ask("sync").status == 0
    assert told.starts()[-1] > BEGIN + timedelta(days=3)


def test_a_new_address_that_is_filled_by_a_replay_is_the_known_one_from_then_on(told: EngineHarness) -> None:
    told.reopen(receiver=FakeReceiver(address="shelf://two", batch_size=100))
    assert told.ask("sync").status == 6
    assert told.receiver.there == {}
    assert told.ask("replay", sink="shelf").status == 0
    filled = dict(told.receiver.there)
    assert len(filled) >= 72
    told.reopen()
    told.clock.sleep(3600)
    assert told.ask("sync").status == 0
    assert filled.keys() <= told.receiver.there.keys()


# --- a place that somebody lives in ---------------------------------------------------------------------------------


def test_an_inhabited_site_gets_nothing_through_restarts_until_it_is_adopted(tmp_path: Path) -> None:
    harness = EngineHarness(tmp_path)
    harness.receiver.hold = SiteConflict(
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
