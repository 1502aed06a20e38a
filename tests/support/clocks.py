"""The clocks of the tests. Take :class:`FakeClock` unless a test is about something else than time passing.

| class | what it shows |
|---|---|
| :class:`FakeClock` | a simulated time: it moves a little at each reading, and far when somebody sleeps or advances it |
| :class:`FrozenClock` | one fixed time, for code that must not wait |
| :class:`ShiftedClock` | the computer's own time, moved by a fixed amount |
| :func:`standing_clock` | the computer's own time at the beginning of a test |

A clock that stands still between two readings hides bugs: a deadline that was set from one reading and is compared with another
looks due at once.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import attrs

READING = timedelta(microseconds=1)
"""How far apart two readings of the time of day are."""
WORK_S = 0.001
"""How far apart two readings of the monotonic clock are, in seconds: running code takes time."""


@attrs.define(slots=False)
class FakeClock:
    """A simulated clock. ``sleep`` and ``advance`` let time pass; setting ``time`` is like a user who sets the host's clock.

    No two readings are alike, unless it is ``still``, which is for tests that compare exact times.
    """

    time: datetime
    elapsed_s: float = 1000.0
    """What the monotonic clock shows. It never goes back, and stays as it is when ``time`` is set."""
    still: bool = attrs.field(default=False, kw_only=True)
    slept_s: list[float] = attrs.field(factory=list, kw_only=True)
    """Each wait so far, in seconds."""

    def now(self) -> datetime:
        if not self.still:
            self.time += READING
        return self.time

    def monotonic(self) -> float:
        if not self.still:
            self.elapsed_s += WORK_S
        return self.elapsed_s

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.advance(seconds=seconds)

    def advance(self, **span: float) -> None:
        """Let a :class:`~datetime.timedelta` of these parts pass, on both clocks."""
        passed = timedelta(**span)
        self.time += passed
        self.elapsed_s += passed.total_seconds()


@attrs.frozen
class FrozenClock:
    """A clock that always shows ``time``. Code that sleeps on it fails the test."""

    time: datetime

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nothing waits here, but something did, for {seconds} s")


@attrs.define
class ShiftedClock:
    """The computer's time plus ``ahead``: for a simulated cloud beside a real daemon whose own clock is right."""

    ahead: timedelta = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(timezone.utc) + self.ahead


def standing_clock() -> FrozenClock:
    """The computer's time, which then stands still: for a simulated cloud whose pump uploads nothing between two syncs."""
    return FrozenClock(datetime.now(timezone.utc))
