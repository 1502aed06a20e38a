"""New addresses, places that somebody lives in, and commits that fail."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from tconnectsync import Delivery, Outcome, SiteConflict
from tconnectsync.outbox.checkpoints import Checkpoints
from tests.engine.fakes import FakeReceiver
from tests.engine.harness import BEGIN, EngineHarness


def hours(numbers: Sequence[int]) -> list[datetime]:
    return [BEGIN + timedelta(hours=number) for number in numbers]


def test_a_replay_of_some_days_fills_a_new_site_with_those_alone(harness: EngineHarness) -> None:
    harness.clock.sleep(86400 * 2)
    harness.ask("sync")
    harness.reopen(receiver=FakeReceiver(address="shelf://two", batch_size=100))
    harness.clock.sleep(3600)
    assert harness.ask("sync").status == 6
    assert harness.ask("replay", sink="shelf", first="2026-06-03", last="2026-06-03").status == 0
    assert set(hours(range(46, 70))) <= set(harness.starts())
    assert harness.starts()[0] == hours([46])[0]
    harness.clock.sleep(3600)
    assert harness.ask("sync").status == 0
    assert harness.starts()[-1] == hours([73])[0]


def test_what_waits_to_be_taken_back_from_the_old_site_is_never_taken_from_a_new_one(harness: EngineHarness) -> None:
    harness.ask("sync")
    harness.receiver.trouble = 1.0
    gone = next(iter(harness.receiver.there.values()))
    outbox = harness.runner.outbox
    outbox.documents.mark_unclaimed([gone.id])
    outbox.documents.retire_unclaimed("stretches", "1:0")

    class WatchingReceiver(FakeReceiver):
        def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
            assert all(delivery.document is not None for delivery in batch)
            return super().deliver(batch)

    harness.reopen(receiver=WatchingReceiver(address="shelf://two", batch_size=100))
    assert harness.ask("replay", sink="shelf").status == 0
    assert len(harness.receiver.there) == 24


def test_a_new_site_that_is_inhabited_waits_like_a_first_one(harness: EngineHarness) -> None:
    harness.ask("sync")
    hold = SiteConflict(reason="another bridge was here", remedy="Run `tconnectsync adopt SINK --skip`.")
    harness.reopen(receiver=FakeReceiver(address="shelf://two", batch_size=100, hold=hold))
    assert harness.ask("replay", sink="shelf").status == 6
    assert harness.receiver.there == {}
    assert harness.ask("adopt", sink="shelf", skip=True).status == 0
    assert len(harness.receiver.there) == 24


def test_the_old_address_put_back_goes_on_as_if_nothing_had_been(harness: EngineHarness) -> None:
    harness.ask("sync")
    old = harness.receiver
    harness.reopen(receiver=FakeReceiver(address="shelf://two", batch_size=100))
    harness.clock.sleep(3600)
    assert harness.ask("sync").status == 6
    harness.reopen(receiver=old)
    assert harness.ask("resume", sink="shelf").status == 0
    assert harness.ask("sync").status == 0
    assert harness.starts()[-1] == hours([24])[0]


def test_a_commit_that_fails_stops_the_sink_alone_and_loses_nothing(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "invalidate", full)
        assert harness.ask("sync").status == 5, "what is in the log is not all delivered"
        assert harness.runner.health.state == "waiting"
        assert "disk is full" in harness.runner.health.message
        assert harness.receiver.there == {}
    assert harness.engine.events.end > 0
    harness.clock.sleep(120)
    assert harness.ask("sync").status == 0
    assert harness.starts()[:24] == hours(range(24))


def test_a_harmed_outbox_is_put_aside_and_made_anew(harness: EngineHarness) -> None:
    """An outbox holds nothing that the log and the site do not."""
    harness.ask("sync")
    there = dict(harness.receiver.there)
    path = harness.runner.outbox.path
    harness.engine.close()
    for extra in path.parent.glob("*.sqlite-*"):
        extra.unlink()
    path.write_bytes(b"not a database at all" * 300)
    harness.open()
    assert harness.ask("sync").status == 0
    assert harness.receiver.there == there
    assert path.with_name("shelf.sqlite.damaged").read_bytes().startswith(b"not a database")


def test_an_outbox_that_turns_out_to_be_harmed_is_made_anew_while_the_others_go_on(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.ask("sync")
    there = dict(harness.receiver.there)
    harness.clock.sleep(3600)

    def harmed(*_: object) -> None:
        monkeypatch.undo()
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(Checkpoints, "invalidate", harmed)
    harness.ask("sync")
    assert harness.ask("sync").status == 0
    assert {name: harness.receiver.there[name] for name in there} == there
    assert len(harness.receiver.there) == len(there) + 1


def test_an_outbox_of_another_release_is_put_aside_and_made_anew(harness: EngineHarness) -> None:
    harness.ask("sync")
    there = dict(harness.receiver.there)
    path = harness.runner.outbox.path
    harness.engine.close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version=99")
    harness.open()
    assert harness.ask("sync").status == 0
    assert harness.receiver.there == there
    assert path.with_name(f"{path.name}.v99").exists()
