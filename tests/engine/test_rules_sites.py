"""New addresses, places that somebody lives in, and commits that fail."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from tconnectsync import Delivery, Outcome, SiteConflict
from tconnectsync.outbox.checkpoints import Checkpoints
from tests.engine.fakes import Shelf
from tests.engine.harness import BEGIN, World


def hours(numbers: Sequence[int]) -> list[datetime]:
    return [BEGIN + timedelta(hours=number) for number in numbers]


def test_a_replay_of_some_days_fills_a_new_site_with_those_alone(world: World) -> None:
    world.clock.sleep(86400 * 2)
    world.ask("sync")
    world.reopen(shelf=Shelf(address="shelf://two", batch_size=100))
    world.clock.sleep(3600)
    assert world.ask("sync").status == 6
    assert world.ask("replay", sink="shelf", first="2026-06-03", last="2026-06-03").status == 0
    assert set(hours(range(46, 70))) <= set(world.starts())
    assert world.starts()[0] == hours([46])[0]
    world.clock.sleep(3600)
    assert world.ask("sync").status == 0
    assert world.starts()[-1] == hours([73])[0]


def test_what_waits_to_be_taken_back_from_the_old_site_is_never_taken_from_a_new_one(world: World) -> None:
    world.ask("sync")
    world.shelf.trouble = 1.0
    gone = next(iter(world.shelf.there.values()))
    outbox = world.runner.outbox
    outbox.documents.mark_unclaimed([gone.id])
    outbox.documents.retire_unclaimed("stretches", "1:0")

    class Watching(Shelf):
        def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
            assert all(delivery.document is not None for delivery in batch)
            return super().deliver(batch)

    world.reopen(shelf=Watching(address="shelf://two", batch_size=100))
    assert world.ask("replay", sink="shelf").status == 0
    assert len(world.shelf.there) == 24


def test_a_new_site_that_is_inhabited_waits_like_a_first_one(world: World) -> None:
    world.ask("sync")
    hold = SiteConflict(reason="another bridge was here", remedy="Run `tconnectsync adopt SINK --skip`.")
    world.reopen(shelf=Shelf(address="shelf://two", batch_size=100, hold=hold))
    assert world.ask("replay", sink="shelf").status == 6
    assert world.shelf.there == {}
    assert world.ask("adopt", sink="shelf", skip=True).status == 0
    assert len(world.shelf.there) == 24


def test_the_old_address_put_back_goes_on_as_if_nothing_had_been(world: World) -> None:
    world.ask("sync")
    old = world.shelf
    world.reopen(shelf=Shelf(address="shelf://two", batch_size=100))
    world.clock.sleep(3600)
    assert world.ask("sync").status == 6
    world.reopen(shelf=old)
    assert world.ask("resume", sink="shelf").status == 0
    assert world.ask("sync").status == 0
    assert world.starts()[-1] == hours([24])[0]


def test_a_commit_that_fails_stops_the_sink_alone_and_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "invalidate", full)
        assert world.ask("sync").status == 5, "what is in the log is not all delivered"
        assert world.runner.health.state == "waiting"
        assert "disk is full" in world.runner.health.message
        assert world.shelf.there == {}
    assert world.engine.events.end > 0
    world.clock.sleep(120)
    assert world.ask("sync").status == 0
    assert world.starts()[:24] == hours(range(24))


def test_a_harmed_outbox_is_put_aside_and_made_anew(world: World) -> None:
    """An outbox holds nothing that the log and the site do not."""
    world.ask("sync")
    there = dict(world.shelf.there)
    path = world.runner.outbox.path
    world.engine.close()
    for extra in path.parent.glob("*.sqlite-*"):
        extra.unlink()
    path.write_bytes(b"not a database at all" * 300)
    world.open()
    assert world.ask("sync").status == 0
    assert world.shelf.there == there
    assert path.with_name("shelf.sqlite.damaged").read_bytes().startswith(b"not a database")


def test_an_outbox_that_turns_out_to_be_harmed_is_made_anew_while_the_others_go_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.ask("sync")
    there = dict(world.shelf.there)
    world.clock.sleep(3600)

    def harmed(*_: object) -> None:
        monkeypatch.undo()
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(Checkpoints, "invalidate", harmed)
    world.ask("sync")
    assert world.ask("sync").status == 0
    assert {name: world.shelf.there[name] for name in there} == there
    assert len(world.shelf.there) == len(there) + 1


def test_an_outbox_of_another_release_is_put_aside_and_made_anew(world: World) -> None:
    world.ask("sync")
    there = dict(world.shelf.there)
    path = world.runner.outbox.path
    world.engine.close()
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version=99")
    world.open()
    assert world.ask("sync").status == 0
    assert world.shelf.there == there
    assert path.with_name(f"{path.name}.v99").exists()
