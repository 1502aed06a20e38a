"""New addresses, sites with an older bridge's documents, and failing commits."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import attrs
import pytest

from tconnectsync import Delivery, Outcome, ReceiverConflict, Retryable
from tconnectsync.health.states import HealthState
from tconnectsync.outbox import preflight
from tconnectsync.outbox.checkpoints import Checkpoints
from tconnectsync.plugin.receiver import StoredDocument
from tests.support.engine.fakes import FakeReceiver, ReadableFakeReceiver
from tests.support.engine.harness import BEGIN, EngineHarness


def hours(numbers: Sequence[int]) -> list[datetime]:
    return [BEGIN + timedelta(hours=number) for number in numbers]


def test_replay_days_to_new_site(harness: EngineHarness) -> None:
    """A replay of some days fills a new site with those days only."""
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


@attrs.define
class MovedReceiver(ReadableFakeReceiver):
    """A new site with the old one's database, which fails once while it is read back."""

    fails: bool = True
    blindly: set[str] = attrs.field(factory=set)
    """What was sent as if it were not there, and was."""

    def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        sent = {each.document_id for each in batch if each.receiver_key is None and not each.in_doubt}
        self.blindly |= sent & self.there.keys()
        return super().deliver(batch)

    def read_back(self, first: datetime, last: datetime) -> Iterator[StoredDocument]:
        for number, copy in enumerate(super().read_back(first, last)):
            if number == 12 and self.fails:
                self.fails = False
                raise Retryable("the site is slow")
            yield copy


def test_moved_site_interrupted(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay to a moved site: what it has is read to the end, also after an interruption, and sent to its own places."""
    monkeypatch.setattr(preflight, "READ_BACK_AT_ONCE", 5)
    harness.ask("sync")
    moved = MovedReceiver(address="shelf://two", batch_size=100, there=dict(harness.receiver.there))
    harness.reopen(receiver=moved)
    harness.ask("replay", sink="shelf")
    assert not moved.fails
    harness.clock.sleep(600)
    harness.reopen()
    assert harness.ask("sync").status == 0
    assert moved.calls
    assert moved.blindly == set()


def test_withdrawals_of_old_site(harness: EngineHarness) -> None:
    """Withdrawals that wait for the old site never reach the new one."""
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


def test_new_inhabited_site(harness: EngineHarness) -> None:
    """A new site with an older bridge's documents waits as a first one does."""
    harness.ask("sync")
    hold = ReceiverConflict(reason="another bridge was here", remedy="Run `tconnectsync adopt SINK --skip`.")
    harness.reopen(receiver=FakeReceiver(address="shelf://two", batch_size=100, hold=hold))
    assert harness.ask("replay", sink="shelf").status == 6
    assert harness.receiver.there == {}
    assert harness.ask("adopt", sink="shelf", skip=True).status == 0
    assert len(harness.receiver.there) == 24


@pytest.mark.parametrize("words", [("resume", {}), ("adopt", {"skip": True})])
def test_resume_does_not_confirm_an_address(harness: EngineHarness, words: tuple[str, dict[str, bool]]) -> None:
    """Nothing waits just now, but the next documents would: the sink stays halted, and says how to fill the new site."""
    harness.ask("sync")
    harness.reopen(receiver=ReadableFakeReceiver(address="shelf://two", batch_size=100))
    command, more = words
    result = harness.ask(command, sink="shelf", **more)
    assert result.status == 6
    assert any("tconnectsync replay shelf" in line for line in result.lines)
    assert harness.engine.runners["shelf"].health.state is HealthState.HALTED
    assert harness.ask("replay", sink="shelf").status == 0
    assert len(harness.receiver.there) == 24


def test_old_address_restored_resumes(harness: EngineHarness) -> None:
    """If the old address is put back, everything continues as before."""
    harness.ask("sync")
    old = harness.receiver
    harness.reopen(receiver=FakeReceiver(address="shelf://two", batch_size=100))
    harness.clock.sleep(3600)
    assert harness.ask("sync").status == 6
    harness.reopen(receiver=old)
    assert harness.ask("resume", sink="shelf").status == 0
    assert harness.ask("sync").status == 0
    assert harness.starts()[-1] == hours([24])[0]


def test_failed_commit_stops_its_sink(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that fails stops its own sink only and loses nothing."""

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


def test_corrupt_outbox_rebuilt(harness: EngineHarness) -> None:
    """A corrupt outbox is moved aside and rebuilt.

    Everything in an outbox is also in the log or at the site.
    """
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


def test_corrupt_outbox_found_later(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outbox that turns out to be corrupt is rebuilt while other sinks continue."""
    harness.ask("sync")
    there = dict(harness.receiver.there)
    harness.clock.sleep(3600)

    def corrupted(*_: object) -> None:
        monkeypatch.undo()
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(Checkpoints, "invalidate", corrupted)
    harness.ask("sync")
    assert harness.ask("sync").status == 0
    assert {name: harness.receiver.there[name] for name in there} == there
    assert len(harness.receiver.there) == len(there) + 1


def test_outbox_of_other_release(harness: EngineHarness) -> None:
    """An outbox of another release is moved aside and rebuilt."""
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
