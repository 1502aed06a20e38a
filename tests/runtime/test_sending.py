"""Batches on their way: what the engine does meanwhile, and what it leaves alone."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from tconnectsync import Delivery, Outcome, Retryable
from tconnectsync.clock import SystemClock
from tconnectsync.daemon.loop import LoadedConfig, _RunningDaemon
from tconnectsync.daemon.systemd import Notifier
from tconnectsync.health.states import HealthState
from tconnectsync.jobs.messages import Job, Progress, Result
from tconnectsync.outbox import Outbox
from tconnectsync.runtime import engine, sink_delivery
from tconnectsync.runtime.sending import SendingHere, SendingThreads, Sent, sending_for
from tests.support.clocks import FakeClock
from tests.support.engine.fakes import FakeReceiver
from tests.support.engine.harness import BEGIN, EngineHarness, hours

LONG_S = 20.0
"""Longer than anything here takes on a busy computer."""


@pytest.fixture
def threads() -> Iterator[SendingThreads]:
    sending = SendingThreads()
    yield sending
    sending.close()


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG_S
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.005)


def nothing() -> Sequence[Outcome]:
    return []


def after(event: threading.Event) -> Callable[[], Sequence[Outcome]]:
    """A call that returns once the event is set."""

    def call() -> Sequence[Outcome]:
        assert event.wait(LONG_S)
        return []

    return call


# --- threads -----------------------------------------------------------------------------------------------------------


def test_real_clock_sends_in_threads() -> None:
    """The real clock sends in threads, a simulated one in the engine's own."""
    assert isinstance(sending_for(SystemClock()), SendingThreads)
    assert isinstance(sending_for(FakeClock(BEGIN)), SendingHere)


def test_place_gets_one_call_at_a_time(threads: SendingThreads) -> None:
    """Calls of one place follow each other, in their order."""
    first_may_end, order = threading.Event(), []

    def first() -> Sequence[Outcome]:
        first_may_end.wait(LONG_S)
        order.append("first")
        return []

    sent = [threads.start("site", first), threads.start("site", lambda: order.append("second") or [])]
    assert threads.wait(0.05)
    assert not any(each.done() for each in sent)
    first_may_end.set()
    assert [each.result() for each in sent] == [[], []]
    assert order == ["first", "second"]


def test_places_do_not_wait_for_each_other(threads: SendingThreads) -> None:
    """A place that does not answer delays no other place."""
    silent_may_end = threading.Event()
    silent = threads.start("silent", after(silent_may_end))
    assert threads.start("quick", nothing).result() == []
    assert not silent.done()
    silent_may_end.set()
    assert silent.result() == []


def test_error_is_raised_with_the_result(threads: SendingThreads) -> None:
    """The receiver's error is raised where the result is asked for, whatever it is."""

    def failing() -> Sequence[Outcome]:
        raise SystemExit("a plugin that ends the process")

    sent = threads.start("site", failing)
    with pytest.raises(SystemExit, match="a plugin"):
        sent.result()
    assert threads.start("site", nothing).result() == []


def test_wait_ends_with_the_first_result(threads: SendingThreads) -> None:
    """Waiting ends when one call is over, and counts only calls whose result was not asked for."""
    assert threads.wait(LONG_S) is False
    may_end = threading.Event()
    slow = threads.start("slow", after(may_end))
    assert threads.wait(0.01) is True
    assert not slow.done()
    quick: Sent = threads.start("quick", nothing)
    assert threads.wait(LONG_S) is True
    assert quick.done()
    quick.result()
    assert not slow.done()
    may_end.set()
    threads.wait_for("slow")
    assert slow.done()
    slow.result()
    assert threads.wait(LONG_S) is False


def test_process_ends_while_a_call_runs() -> None:
    """A call that does not return keeps no process alive."""
    program = """
        import threading
        from tconnectsync.runtime.sending import SendingThreads
        sending = SendingThreads()
        sending.start("silent", lambda: threading.Event().wait(600) and [])
        sending.wait(0.2)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], timeout=60, check=False)
    assert done.returncode == 0


def test_thread_that_cannot_begin_is_tried_again(threads: SendingThreads, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without memory for a thread the attempt fails, and the next one begins a thread again."""

    def no_memory(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as short:
        short.setattr(threading.Thread, "start", no_memory)
        with pytest.raises(RuntimeError):
            threads.start("site", nothing)
    assert threads.wait(0.0) is False
    assert threads.start("site", nothing).result() == []


def test_closed_threads_begin_no_call(threads: SendingThreads) -> None:
    """A call that waits for its turn is not made after the end."""
    may_end, made = threading.Event(), []
    first = threads.start("site", after(may_end))
    wait_until(lambda: first.silent_s() > 0)
    threads.start("site", lambda: made.append("second") or [])
    threads.close()
    may_end.set()
    assert first.result() == []
    wait_until(lambda: not any(thread.name == "sending" for thread in threading.enumerate()))
    assert made == []


# --- the engine ----------------------------------------------------------------------------------------------------------


@attrs.define
class SlowReceiver(FakeReceiver):
    """A receiver that answers when it may."""

    may_answer: threading.Event = attrs.field(factory=threading.Event)
    failure: Exception | None = None
    in_doubt: list[bool] = attrs.field(factory=list)

    def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        self.in_doubt += [delivery.in_doubt for delivery in batch]
        outcomes = super().deliver(batch)
        assert self.may_answer.wait(LONG_S)
        if self.failure is not None:
            raise self.failure
        return outcomes


@pytest.fixture
def slow(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowReceiver]:
    """The harness sends in threads, and its receiver holds its first batch and does not answer yet."""
    monkeypatch.setattr(engine, "LONGEST_WAIT_S", 0.01)
    receiver = SlowReceiver(batch_size=100)
    harness.reopen(sending=SendingThreads, receiver=receiver)
    while not harness.runner.delivery.is_sending:
        assert harness.engine.run_once()
    wait_until(lambda: len(receiver.there) == 24)
    yield receiver
    receiver.may_answer.set()


def test_source_is_polled_meanwhile(harness: EngineHarness, slow: SlowReceiver) -> None:
    """A receiver that does not answer does not stop the reading of the pump, and its sink goes on where it was."""
    end, cursor = harness.engine.events.end, harness.runner.outbox.checkpoints.cursor
    harness.clock.sleep(3600)
    wait_until(lambda: harness.engine.run_once() and harness.engine.events.end > end)
    for _ in range(5):
        harness.engine.run_once()
    assert harness.runner.outbox.checkpoints.cursor == cursor
    assert harness.runner.delivery.is_sending
    slow.may_answer.set()
    assert harness.ask("sync") == Result(status=0)
    assert harness.starts() == hours(range(25))
    assert slow.in_doubt == [False] * 25


def test_outcome_is_recorded_when_it_is_there(harness: EngineHarness, slow: SlowReceiver) -> None:
    """The engine records an outcome in its own thread once the receiver answers."""
    assert harness.runner.counts().pending == 24
    slow.may_answer.set()
    while harness.engine.run_once():
        pass
    assert harness.runner.counts().pending == 0
    assert slow.calls == 1


def test_finish_sending_waits(harness: EngineHarness, slow: SlowReceiver) -> None:
    """After ``finish_sending`` no batch is on its way, and its outcome is recorded."""
    threading.Timer(0.2, slow.may_answer.set).start()
    harness.engine.finish_sending()
    assert not harness.runner.delivery.is_sending
    assert harness.runner.counts().pending == 0


def test_failure_in_a_thread_backs_off(harness: EngineHarness, slow: SlowReceiver) -> None:
    """An error of the receiver is treated as without threads: the sink backs off, and nothing is sent twice unasked."""
    slow.failure = Retryable("no answer came", in_doubt=True)
    slow.may_answer.set()
    while harness.engine.run_once():
        pass
    assert harness.runner.health.state is HealthState.BACKING_OFF
    assert harness.runner.health.message == "no answer came"
    slow.failure = None
    harness.clock.sleep(3600)
    while harness.engine.run_once():
        pass
    assert slow.in_doubt == [False] * 25 + [True] * 24
    assert harness.starts() == hours(range(25))


def test_silent_receiver_is_told_of(
    harness: EngineHarness, slow: SlowReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A receiver that does not return for very long is shown, and the watchdog may end the process; an answer ends both."""
    harness.engine.run_once()
    assert harness.runner.health.is_ok
    assert not harness.engine.is_stuck
    monkeypatch.setattr(sink_delivery, "UNANSWERED_S", 0.0)
    monkeypatch.setattr(engine, "STUCK_S", 0.0)
    harness.engine.run_once()
    assert harness.runner.health.state is HealthState.WAITING
    assert "has not returned" in harness.runner.health.message
    assert harness.engine.is_stuck
    slow.may_answer.set()
    while harness.engine.run_once():
        pass
    assert harness.runner.health.is_ok
    assert not harness.engine.is_stuck


def test_own_database_of_a_receiver(harness: EngineHarness, slow: SlowReceiver) -> None:
    """An error of a receiver's own database is the receiver's: the sink backs off, and everything else goes on."""
    slow.failure = sqlite3.ProgrammingError("SQLite objects created in a thread can only be used in that same thread")
    slow.may_answer.set()
    while harness.engine.run_once():
        pass
    assert harness.runner.health.state is HealthState.BACKING_OFF


def test_outcome_is_recorded_beside_an_import(harness: EngineHarness, slow: SlowReceiver) -> None:
    """An outcome is recorded also while events are appended that belong together."""
    harness.engine.append_depth = 1
    slow.may_answer.set()
    wait_until(lambda: harness.engine.run_once() and harness.runner.counts().pending == 0)
    assert not harness.runner.delivery.is_sending


def test_close_records_what_is_back(harness: EngineHarness, slow: SlowReceiver) -> None:
    """At its end the engine records the outcomes that are there, without waiting for the others."""
    other = FakeReceiver(batch_size=100, address="shelf://two")
    runner = harness.another_runner("other", other)
    harness.engine.runners = {**harness.engine.runners, "other": runner}
    while not runner.delivery.is_sending:
        assert harness.engine.run_once()
    wait_until(lambda: len(other.there) == 24)
    wait_until(lambda: runner.delivery.silent_s() == 0)
    outbox = runner.outbox.path
    harness.engine.close()
    with closing(Outbox(outbox)) as found:
        assert found.dead_letters.counts().pending == 0
    harness.open()


def test_close_leaves_a_batch_in_doubt(harness: EngineHarness, slow: SlowReceiver) -> None:
    """An engine that is closed before the answer leaves its batch in doubt, as a process that died then."""
    begin = time.monotonic()
    harness.engine.close()
    assert time.monotonic() - begin < LONG_S / 2
    again = SlowReceiver(batch_size=100, there=slow.there)
    again.may_answer.set()
    harness.receiver = again
    harness.open()
    assert harness.ask("sync") == Result(status=0)
    assert again.in_doubt == [True] * 24
    assert harness.starts() == hours(range(24))


def test_request_waits_for_the_batch(harness: EngineHarness, slow: SlowReceiver) -> None:
    """Each step of a request begins when no batch is on its way, also one that the engine began between two steps."""
    seen = []

    def job() -> Job:
        while True:
            seen.append(harness.runner.delivery.is_sending)
            yield Progress(message="at work")

    daemon = _RunningDaemon(LoadedConfig(lambda: harness.engine, harness.zones.zone_at), harness.engine)
    steps = daemon.without_sending(job())
    threading.Timer(0.2, slow.may_answer.set).start()
    next(steps)
    slow.may_answer.clear()
    harness.clock.sleep(3600)
    while not harness.runner.delivery.is_sending:
        assert harness.engine.run_once()
    threading.Timer(0.2, slow.may_answer.set).start()
    next(steps)
    assert seen == [False, False]


def test_watchdog_while_a_request_waits(
    harness: EngineHarness, slow: SlowReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that waits for a slow answer keeps systemd's watchdog quiet, but not if the receiver is stuck."""
    monkeypatch.setattr(engine, "LONGEST_WAIT_S", 0.01)
    told = []

    class CountingNotifier(Notifier):
        def alive(self) -> None:
            told.append("alive")
            if len(told) == 3:
                monkeypatch.setattr(engine, "STUCK_S", 0.0)
                threading.Timer(0.1, slow.may_answer.set).start()

    config = LoadedConfig(lambda: harness.engine, harness.zones.zone_at)
    daemon = _RunningDaemon(config, harness.engine, notifier=CountingNotifier())
    assert next(daemon.without_sending(iter([Progress(message="at work")])))
    assert 3 <= len(told) <= 5, "once or twice more: when the answer is there"


def test_slow_place_delays_no_other_sink(harness: EngineHarness, slow: SlowReceiver, tmp_path: Path) -> None:
    """Another sink of the same engine delivers while this one waits for its answer."""
    other = FakeReceiver(batch_size=100, address="shelf://two")
    harness.engine.runners = {**harness.engine.runners, "other": harness.another_runner("other", other)}
    wait_until(lambda: harness.engine.run_once() and len(other.there) == 24)
    assert harness.runner.delivery.is_sending
    slow.may_answer.set()
    harness.clock.sleep(timedelta(hours=1).total_seconds())
    assert harness.ask("sync") == Result(status=0)
    assert len(other.there) == len(slow.there) == 25


def test_new_sink_of_a_slow_place(harness: EngineHarness, slow: SlowReceiver) -> None:
    """A sink that must look at its site first waits for what is on its way there, and the pump is read meanwhile."""
    other = FakeReceiver(batch_size=100)
    harness.engine.runners = {**harness.engine.runners, "other": harness.another_runner("other", other)}
    end = harness.engine.events.end
    harness.clock.sleep(3600)
    wait_until(lambda: harness.engine.run_once() and harness.engine.events.end > end)
    for _ in range(5):
        assert harness.engine.run_once()
    assert other.there == {}
    slow.may_answer.set()
    wait_until(lambda: harness.engine.run_once() and len(other.there) == 25)
