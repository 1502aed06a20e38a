"""Turns that last long do not keep others waiting, and there are never too many threads."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import cast

import attrs
import pytest

from tconnectsync import waiting
from tconnectsync_fleet.person_runner import PersonRunner
from tconnectsync_fleet.schedule import ScheduledPerson
from tconnectsync_fleet.server_waits import ServerWaits, waits_of_this_thread
from tconnectsync_fleet.turn_pool import (
    LONG_S,
    LOOK_S,
    MOST_PLACES,
    SHORT_S,
    SLOW_FOR_S,
    SLOW_PLACES,
    SLOW_S,
    TurnPool,
    thread_clock,
)
from tests.e2e.installation import eventually


@attrs.define
class HangingTurns:
    """A pool with two places, whose turns last until :meth:`go_on`. ``used``: the processor time of each of their threads.

    ``served_s``: how long each of them has waited for the NATS servers.
    """

    now: float = 1000.0
    used: float = 0.0
    served_s: float = 0.0
    places: int = 2
    most_computing: int = 1000
    pool: TurnPool = attrs.Factory(lambda self: self.new_pool(), takes_self=True)
    _goes_on: threading.Event = attrs.field(factory=threading.Event)

    def new_pool(self) -> TurnPool:
        return TurnPool(
            self.places,
            self.most_computing,
            monotonic=lambda: self.now,
            clock=lambda: lambda: self.used,
            server_waits=lambda: lambda: self.served_s,
        )

    def start(self, count: int) -> list[ScheduledPerson]:
        """Start turns of new people."""
        return [self.start_for(ScheduledPerson(cast(PersonRunner, None))) for _ in range(count)]

    def start_for(self, scheduled: ScheduledPerson) -> ScheduledPerson:
        assert self.pool.has_room()
        assert self.pool.has_room_for(scheduled)
        began = threading.Event()

        def turn(_: ScheduledPerson) -> None:
            began.set()
            self._goes_on.wait(60)

        self.pool.start(turn, scheduled)
        assert began.wait(60)
        return scheduled

    def let_turns_end(self) -> None:
        self._goes_on.set()

    def go_on(self) -> None:
        """Wait until all turns have ended, and begin again."""
        self.let_turns_end()
        self.pool.finish(lambda _: None, ())
        self.pool = self.new_pool()
        self._goes_on.clear()


@pytest.fixture
def turns() -> Iterator[HangingTurns]:
    turns = HangingTurns()
    yield turns
    turns.go_on()


def test_slow_turn_leaves_its_place(turns: HangingTurns) -> None:
    """Two turns fill both places, until they have lasted long."""
    turns.start(2)
    assert not turns.pool.has_room()
    turns.now += SLOW_S
    turns.start(2)
    assert not turns.pool.has_room()


def test_wait_for_the_nats_servers_keeps_the_place(turns: HangingTurns) -> None:
    """While the servers do not answer, no more turns begin than else, and afterwards nobody counts as slow."""
    people = turns.start(2)
    for _ in range(30):
        turns.now += SLOW_S
        turns.served_s += SLOW_S
        assert not turns.pool.has_room()
    turns.go_on()
    assert all(each.slow_until == 0.0 for each in people)


def test_waits_of_a_thread() -> None:
    """They grow while the thread waits, and stay afterwards. Another thread has its own."""
    waits = waits_of_this_thread()
    before = waits.seconds()
    with waits.counted():
        time.sleep(0.01)
        during = waits.seconds() - before
    assert 0.01 <= during <= waits.seconds() - before
    assert waits.seconds() == waits.seconds()
    found = list[ServerWaits]()
    thread = threading.Thread(target=lambda: found.append(waits_of_this_thread()))
    thread.start()
    thread.join()
    assert found[0].seconds() == 0.0
    assert waits_of_this_thread() is waits


def test_slow_people_have_places_of_their_own(turns: HangingTurns) -> None:
    """People with slow turns take nobody's place, and only so many run at once. An hour later they may be quick."""
    slow = [*turns.start(2)]
    for _ in range(SLOW_PLACES):
        turns.now += SLOW_S
        slow += turns.start(2)
    turns.now += SLOW_S
    turns.go_on()
    for scheduled in slow[: 2 * SLOW_PLACES]:
        turns.start_for(scheduled)
    assert not turns.pool.has_room_for(slow[-1])
    turns.start(2)
    assert not turns.pool.has_room()
    turns.now += SLOW_FOR_S
    assert turns.pool.has_room_for(slow[-1])


def test_threads_are_bounded(turns: HangingTurns) -> None:
    """If everything hangs, nothing more is started."""
    for _ in range(MOST_PLACES):
        turns.start(2)
        turns.now += SLOW_S
    assert not turns.pool.has_room()


def test_turn_that_computes_keeps_its_place(turns: HangingTurns) -> None:
    """Two turns that share a processor compute all the time, however long; when they wait, they give their places up."""
    turns.start(2)
    for _ in range(100):
        turns.now += 1.0
        turns.used += 0.5
        assert not turns.pool.has_room()
    turns.now += SLOW_S
    assert turns.pool.has_room()


@pytest.fixture
def gated() -> Iterator[HangingTurns]:
    """Turns with places enough, of which few compute."""
    gated = HangingTurns(places=20, most_computing=2)
    yield gated
    gated.go_on()


def test_turn_begins_while_few_compute(gated: HangingTurns) -> None:
    """Those that have computed for long keep no other from beginning: they may hang."""
    gated.start(2)
    assert not gated.pool.has_room()
    gated.now += LONG_S
    gated.start(2)
    assert not gated.pool.has_room()


@attrs.define
class AskingTurn:
    """A turn that waits for an answer, and then computes, until the end of the block. ``depth``: so many waits, one in another."""

    depth: int = 1
    asks: threading.Event = attrs.field(factory=threading.Event)
    answer: threading.Event = attrs.field(factory=threading.Event)
    goes_on: threading.Event = attrs.field(factory=threading.Event)
    _end: threading.Event = attrs.field(factory=threading.Event)

    def __call__(self, _: ScheduledPerson) -> None:
        with contextlib.ExitStack() as waits:
            for _number in range(self.depth):
                waits.enter_context(waiting())
            with waiting():  # its end is not the end of the others
                pass
            self.asks.set()
            self.answer.wait(60)
        self.goes_on.set()
        self._end.wait(60)

    @contextlib.contextmanager
    def begun(self, turns: HangingTurns) -> Iterator[None]:
        """The turn asks."""
        turns.pool.start(self, ScheduledPerson(cast(PersonRunner, None)))
        assert self.asks.wait(60)
        try:
            yield
        finally:
            self.answer.set()
            self._end.set()


@pytest.mark.parametrize("depth", [1, 2])
def test_turn_begins_while_another_waits(gated: HangingTurns, depth: int) -> None:
    """The beginning of a wait counts as computing, and after its wait a turn computes again."""
    turn = AskingTurn(depth)
    with turn.begun(gated):
        gated.start(1)
        assert not gated.pool.has_room()
        gated.now += 2 * SHORT_S
        assert gated.pool.has_room()
        turn.answer.set()
        assert turn.goes_on.wait(60)
        assert not gated.pool.has_room()
        gated.now += 0.9 * LONG_S
        assert not gated.pool.has_room()


def test_turn_with_short_waits_is_long_at_last(gated: HangingTurns) -> None:
    """A turn that asks the NATS servers again and again is one that computes: it does not keep others from beginning for ever."""
    turn = AskingTurn()
    with turn.begun(gated):
        gated.now += 0.9 * SHORT_S
        turn.answer.set()
        assert turn.goes_on.wait(60)
        gated.start(1)
        gated.now += LONG_S - 0.9 * SHORT_S
        assert gated.pool.has_room()


def test_person_whose_turn_computed_is_not_slow(turns: HangingTurns) -> None:
    """A long rebuild says nothing about the person's site."""
    computes, *_ = turns.start(2)
    turns.now += 100.0
    turns.used += 50.0
    turns.go_on()
    assert computes.slow_until == 0.0
    hangs, *_ = turns.start(2)
    turns.now += 100.0
    turns.go_on()
    assert hangs.slow_until > turns.now


def test_processor_time_of_another_thread() -> None:
    """It can be read while that thread lives."""
    clocks: list[Callable[[], float]] = []
    pool = TurnPool(1, clock=lambda: clocks.append(thread_clock()) or clocks[-1])  # type: ignore[func-returns-value]
    read, computed = threading.Event(), threading.Event()

    def compute(_: ScheduledPerson) -> None:
        while time.thread_time() < 0.02:
            pass
        computed.set()
        read.wait(60)

    pool.start(compute, ScheduledPerson(cast(PersonRunner, None)))
    assert computed.wait(60)
    assert 0.02 <= clocks[0]() < 10
    read.set()
    pool.finish(lambda _: None, ())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how long a thread waits for a processor")
def test_processor_that_other_programs_use() -> None:
    """A turn that computes for all of its time is not one that waits, however little of the processor it gets."""
    (core, *_) = os.sched_getaffinity(0)
    busy = [sys.executable, "-c", f"import os; os.sched_setaffinity(0, [{core}])\nwhile True: pass"]
    others = [subprocess.Popen(busy) for _ in range(3)]
    shares: list[float] = []

    def compute() -> None:
        os.sched_setaffinity(threading.get_native_id(), [core])
        clock, began = thread_clock(), time.monotonic()
        at_first, used = clock(), time.thread_time()
        while time.thread_time() < used + 0.2:
            pass
        shares.append((clock() - at_first) / (time.monotonic() - began))

    thread = threading.Thread(target=compute)
    thread.start()
    thread.join()
    for other in others:
        other.kill()
        other.wait()
    assert shares[0] > 0.8


def test_threads_end_with_their_turns(turns: HangingTurns) -> None:
    """A thread that stays would keep the memory of its largest turn."""
    turns.start(2)
    turns.now += SLOW_S
    turns.start(2)
    turns.let_turns_end()
    eventually(lambda: not any(each.name.startswith("turn") for each in threading.enumerate()), "the threads' end")


def test_no_more_threads(turns: HangingTurns, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the system gives no thread, the turn has not begun, a running one continues, and another is tried a moment later."""
    running = turns.start_for(ScheduledPerson(cast(PersonRunner, None)))

    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        refused = ScheduledPerson(cast(PersonRunner, None))
        assert not turns.pool.start(lambda _: None, refused)
        assert not turns.pool.has_room()
    assert (running.running, refused.running) == (True, False)
    turns.now += LOOK_S
    turns.start_for(refused)
    assert not turns.pool.has_room()


def test_no_thread_for_the_next_turn(turns: HangingTurns, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's last turn is ending when the next one gets no thread: its place is free afterwards."""
    person = turns.start_for(ScheduledPerson(cast(PersonRunner, None)))

    def no_thread(_: threading.Thread) -> None:
        turns.let_turns_end()
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        assert not turns.pool.start(lambda _: None, person)
    turns.pool.finish(lambda _: None, ())
    turns.now += LOOK_S
    assert turns.pool.has_room()


@pytest.mark.parametrize("threads", [0, 1])
def test_last_turns_without_more_threads(turns: HangingTurns, monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """The running threads give everybody back; if there are none, the worker's own thread does."""
    start, started, ended = threading.Thread.start, list[threading.Thread](), list[ScheduledPerson]()

    def few_threads(thread: threading.Thread) -> None:
        if len(started) >= threads:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    everybody = [ScheduledPerson(cast(PersonRunner, None)) for _ in range(4)]
    monkeypatch.setattr(threading.Thread, "start", few_threads)
    turns.pool.finish(ended.append, everybody)
    assert sorted(map(id, ended)) == sorted(map(id, everybody))


def test_last_turn_of_who_waits_is_the_last(turns: HangingTurns) -> None:
    """A worker that is killed while a site hangs has given everybody else back."""
    hanging = turns.start(2)
    others = [ScheduledPerson(cast(PersonRunner, None)) for _ in range(3)]
    ended: list[ScheduledPerson] = []

    def last_turn(scheduled: ScheduledPerson) -> None:
        ended.append(scheduled)
        turns.let_turns_end()

    turns.pool.places = 1  # one after the other
    turns.pool.finish(last_turn, [*hanging, *others])
    assert [id(each) for each in ended] == [id(each) for each in (*others, *hanging)]


def test_failed_turn_leaves_its_place(turns: HangingTurns, caplog: pytest.LogCaptureFixture) -> None:
    """Also if a turn ends with an error, which is in the log."""

    def fail(_: ScheduledPerson) -> None:
        raise RuntimeError

    for _ in range(3):
        turns.pool.start(fail, ScheduledPerson(cast(PersonRunner, None)))
    turns.pool.finish(fail, [ScheduledPerson(cast(PersonRunner, None))])
    assert turns.pool.has_room()
    assert [record.exc_info is not None for record in caplog.records] == [True] * 4
