"""A computer without room, or with a wrong clock."""

from __future__ import annotations

import random
from datetime import timedelta

from tconnectsync import Retryable
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.sender import Sender
from tconnectsync.projection.fold_runner import FoldRunner
from tconnectsync.runtime.sink_runner import SinkRunner
from tests.support.engine.fakes import FakeReceiver
from tests.support.engine.harness import EngineHarness, hours


def test_full_disk_stops_polling(harness: EngineHarness) -> None:
    """A full disk stops polling and nothing else."""
    harness.room.append("only 3 MB are free")
    result = harness.ask("sync")
    assert (result.status, harness.pump.polls) == (3, 0)
    assert "only 3 MB are free" in result.lines[0]
    harness.room.clear()
    harness.clock.sleep(120)
    assert harness.ask("sync").status == 0


def test_full_outbox_stops_its_sink(harness: EngineHarness) -> None:
    """An outbox without room stops its own sink only, which resumes without a command.

    SQLite gets no further page. Polling and the other sink continue, and the sink says what it waits for.
    """
    receiver = FakeReceiver(address="shelf://other", batch_size=100)
    outbox = Outbox.opened(harness.folder / "outbox" / "other.sqlite")
    other = SinkRunner.build(
        name="other", fingerprint="1", fold_runner=FoldRunner(outbox, harness.folds), sender=Sender(outbox, receiver),
        events=harness.engine.events, clock=harness.clock, rng=random.Random(1), rewrite_limit=10, credentials_fingerprint="m",
    )  # fmt: skip
    harness.engine.runners = {"other": other, **harness.engine.runners}
    pages = outbox._db.execute("PRAGMA page_count").fetchone()[0]
    outbox._db.execute(f"PRAGMA max_page_count = {pages}")
    harness.clock.sleep(86400 * 5)
    assert harness.ask("sync").status != 0
    assert harness.starts()[-1] == hours([6 * 24 - 1])[0]
    assert (other.health.state, receiver.there) == ("waiting", {})
    assert "full" in other.health.message
    assert harness.pump.polls == 1
    assert harness.engine.pollers["pump"].health.state == "ok"
    outbox._db.execute("PRAGMA max_page_count = 100000")
    harness.clock.sleep(120)
    while harness.engine.run_once(polling=False):
        pass
    assert receiver.there == harness.receiver.there
    assert other.health.state == "ok"


def test_clock_behind_log(harness: EngineHarness) -> None:
    """A computer whose clock is behind the log waits."""
    harness.ask("sync")
    harness.clock.time -= timedelta(days=400)
    result = harness.ask("sync")
    assert result.status == 3
    assert "clock" in result.lines[0]
    assert harness.pump.polls == 1
    assert harness.ask("resume", sink="pump").status == 0
    assert harness.pump.polls == 2


def test_plans_of_clock_years_ahead(harness: EngineHarness) -> None:
    """Plans that were made while the clock was years ahead are not believed."""
    harness.ask("sync")
    right = harness.clock.time
    harness.clock.time = right + timedelta(days=1400)
    harness.pump.trouble = Retryable("this computer's clock is wrong")
    harness.ask("sync")
    harness.pump.trouble = None
    harness.clock.time = right + timedelta(minutes=30)
    harness.reopen()
    assert harness.ask("sync").status == 0
