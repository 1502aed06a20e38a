"""A source that fails: back-off, and what continues meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tconnectsync import Delivery, Outcome, Retryable, SourceChanged
from tconnectsync.storage_errors import TOO_MANY_THREADS
from tests.support.engine.fakes import FakeReceiver
from tests.support.engine.harness import EngineHarness, hours


def test_backoff_survives_restart(harness: EngineHarness) -> None:
    """A back-off survives a restart."""
    harness.pump.trouble = Retryable("the cloud is down")
    assert harness.ask("sync").status == 3
    harness.reopen()
    assert harness.ask("sync").status == 3
    assert harness.pump.polls == 1
    harness.pump.trouble = None
    harness.clock.sleep(60)
    assert harness.ask("sync").status == 0


@pytest.mark.parametrize(
    ("trouble", "longest_s"),
    [
        (SourceChanged("one dose is damaged", after_s=600, partial=True), 660),
        (Retryable("two days could not be read", partial=True), 1200),
        (Retryable("nothing could be read"), 2250),
    ],
)
def test_other_data_is_soon_read(harness: EngineHarness, trouble: Retryable, longest_s: float) -> None:
    """If only a part could not be read, the wait for the other data stays short, also after days."""
    harness.pump.trouble = trouble
    waits = []
    for _ in range(30):
        harness.ask("sync")
        not_before = harness.engine.pollers["pump"].health.not_before
        assert not_before is not None
        waits.append((not_before.until - harness.clock.now()).total_seconds())
        harness.clock.sleep(waits[-1] + 1)
    assert harness.pump.polls == 30
    assert longest_s / 2 < max(waits) <= longest_s


def test_source_trouble_keeps_delivery(harness: EngineHarness) -> None:
    """A source in trouble does not stop delivery."""
    harness.receiver.trouble = 1.0
    harness.ask("sync")
    harness.receiver.trouble = 0.0
    harness.pump.trouble = Retryable("the cloud is down")
    harness.clock.sleep(3600)
    assert harness.ask("sync").status == 3
    assert harness.starts()[-1] == hours([23])[0]


def test_source_code_raises(harness: EngineHarness) -> None:
    """A source whose own code fails is reported and tried again."""
    harness.pump.trouble = ConnectionError("a library's error that the source let through")
    result = harness.ask("sync")
    assert result.status == 3
    assert "failed unexpectedly: ConnectionError" in result.lines[0]
    harness.pump.trouble = None
    harness.clock.sleep(60)
    assert harness.ask("sync").status == 0


def test_no_thread_left(harness: EngineHarness) -> None:
    """That the computer can start no further thread is no bug of a plugin."""
    harness.pump.trouble = RuntimeError("can't start new thread")
    harness.runner.sender.receiver = ThreadlessReceiver()
    harness.ask("sync")
    health = harness.engine.pollers["pump"].health
    assert (health.state, health.remedy) == ("waiting", TOO_MANY_THREADS)
    harness.pump.trouble = None
    harness.clock.sleep(600)
    harness.ask("sync")
    assert harness.runner.health.remedy == TOO_MANY_THREADS
    harness.runner.sender.receiver = harness.receiver
    harness.clock.sleep(7200)
    assert harness.ask("sync").status == 0


class ThreadlessReceiver(FakeReceiver):
    def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        raise RuntimeError("can't start new thread")
