"""A sink that waits for a decision of the user, and the command that gives it."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from tconnectsync import ReceiverConflict
from tconnectsync.outbox.stored_values import REWRITES_ALLOWED
from tconnectsync.timeline.zones import Zones
from tests.support.engine.fakes import FakeReceiver, StretchFold
from tests.support.engine.harness import BEGIN, EngineHarness, hours


def test_corrected_zone_moves_documents(harness: EngineHarness) -> None:
    """A corrected time zone moves every document and leaves none behind."""
    harness.clock.sleep(86400 * 4)
    harness.ask("sync")
    before = harness.starts()
    harness.reopen(zones=Zones(timezone="America/New_York"))
    while harness.engine.run_once(polling=False):
        pass
    assert harness.runner.health.state == "braked"
    assert harness.starts() == before
    harness.clock.sleep(3600 * 8)  # the newest documents are in the future for a while
    assert harness.ask("replay", sink="shelf").status == 0
    horizon = BEGIN + timedelta(hours=4)
    assert harness.starts() == [at + timedelta(hours=6) for at in before if at + timedelta(hours=6) >= horizon]


def test_rewrites_wait_for_user(harness: EngineHarness) -> None:
    """Too many rewrites of the past wait for the user."""
    harness.clock.sleep(86400 * 3)
    harness.ask("sync")
    there = dict(harness.receiver.there)

    class RewordedFold(StretchFold):
        def running(self, state):  # type: ignore[no-untyped-def]
            return [msgspec.structs.replace(known, content={"new": 1}) for known in super().running(state)]

        def step(self, state, event):  # type: ignore[no-untyped-def]
            state, finished = super().step(state, event)
            return state, [msgspec.structs.replace(known, content={"new": 1}) for known in finished]

    harness.reopen(fingerprint="2")
    harness.runner.fold_runner.folds = {"stretches": RewordedFold()}
    result = harness.ask("sync")
    assert result.status == 6
    assert "tconnectsync resume shelf" in result.lines[0]
    assert harness.receiver.there == there
    assert harness.ask("resume", sink="shelf").status == 0
    assert all(known.content == {"new": 1} for known in harness.receiver.there.values())


def test_inhabited_site_waits_for_user(harness: EngineHarness) -> None:
    """A site with an older bridge's documents is left alone until the user decides."""
    harness.receiver.hold = ReceiverConflict(
        reason="another bridge was here", remedy="Run `tconnectsync adopt SINK --skip`."
    )
    result = harness.ask("sync")
    assert (result.status, harness.receiver.there) == (6, {})
    assert "adopt shelf --skip" in result.lines[0]
    assert harness.ask("adopt", sink="shelf", skip=True).status == 0
    assert harness.receiver.there


def test_new_address_stops_until_replay(harness: EngineHarness) -> None:
    """A new site address stops the sink until a replay."""
    harness.ask("sync")
    harness.reopen(receiver=FakeReceiver(address="shelf://two", batch_size=100))
    harness.clock.sleep(3600)
    result = harness.ask("sync")
    assert (result.status, harness.receiver.there) == (6, {})
    assert "tconnectsync replay shelf" in result.lines[0]
    assert harness.ask("replay", sink="shelf").status == 0
    assert harness.starts()[-2:] == hours([23, 24])


def test_resume_without_brake(harness: EngineHarness) -> None:
    """``resume`` without a stop is no consent to a later one."""
    harness.ask("sync")
    harness.ask("resume", sink="shelf")
    assert not harness.runner.outbox.values.get(REWRITES_ALLOWED)


def test_resume_retries_refused(harness: EngineHarness) -> None:
    """``resume`` tries again what was refused before the halt."""
    harness.receiver.refuse_all = True
    assert harness.ask("sync").status == 6
    assert harness.runner.health.state == "halted"
    harness.receiver.refuse_all = False
    assert harness.ask("resume", sink="shelf").status == 0
    assert harness.starts() == hours(range(24))
