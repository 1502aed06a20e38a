"""Turns that last long do not keep others waiting, and there are never too many threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import cast

import attrs
import pytest

from tconnectsync_fleet.person_runner import PersonRunner
from tconnectsync_fleet.schedule import ScheduledPerson
from tconnectsync_fleet.turn_pool import MOST_PLACES, SLOW_FOR_S, SLOW_PLACES, SLOW_S, TurnPool


@attrs.define
class HangingTurns:
    """A pool with two places, whose turns last until :meth:`go_on`."""

    now: float = 1000.0
    pool: TurnPool = attrs.Factory(lambda self: TurnPool(2, monotonic=lambda: self.now), takes_self=True)
    _goes_on: threading.Event = attrs.field(factory=threading.Event)

    def start(self, count: int) -> list[ScheduledPerson]:
        """Start turns of new people."""
        return [self.start_for(ScheduledPerson(cast(PersonRunner, None))) for _ in range(count)]

    def start_for(self, scheduled: ScheduledPerson) -> ScheduledPerson:
        assert self.pool.has_room()
        assert self.pool.has_room_for(scheduled)
        self.pool.start(lambda _: self._goes_on.wait(60) and None, scheduled)
        return scheduled

    def go_on(self) -> None:
        """Let all turns end."""
        self._goes_on.set()
        self.pool.finish(lambda _: None, ())
        self.pool = TurnPool(2, monotonic=lambda: self.now)
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


def test_slow_people_have_places_of_their_own(turns: HangingTurns) -> None:
    """Who was slow takes no place of the others, and there are only so many at once. An hour later they may be quick."""
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


def test_failed_turn_leaves_its_place(turns: HangingTurns) -> None:
    """Also if a turn ends with an error."""

    def fail(_: ScheduledPerson) -> None:
        raise RuntimeError

    for _ in range(3):
        with pytest.raises(RuntimeError):
            turns.pool.start(fail, ScheduledPerson(cast(PersonRunner, None))).result(60)
    assert turns.pool.has_room()
