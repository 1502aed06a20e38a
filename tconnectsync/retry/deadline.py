"""The earliest time of the next attempt, stored across restarts. A wrong clock when it was set cannot delay it for long."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from tconnectsync.clock import Clock
from tconnectsync.retry.backoff import LONGEST_ASKED_WAIT_S

LONGEST_S = 25 * 3600.0
"""No deadline is further away. The longest one is that of the daily comparison."""
TOLERANCE_S = 60.0
"""A clock that is set back by less than this was not wrong."""


@attrs.frozen(kw_only=True)
class RememberedDeadline:
    """Not before ``until``, set at ``set_at`` (both UTC). ``longest_s`` is the longest wait of its kind.

    If it was set in the future, or is further away than its longest wait, the computer's clock was wrong when it was set, and
    the deadline is over. In the process that set it, the monotonic clock also ends it.
    """

    until: datetime
    set_at: datetime | None = None
    """None: an older release wrote it."""
    longest_s: float = LONGEST_S
    until_s: float | None = attrs.field(default=None, eq=False, repr=False, metadata={"json": None})
    """On this process's monotonic clock; not stored."""

    @classmethod
    def after(cls, wait_s: float, clock: Clock) -> RememberedDeadline:
        """Return a deadline ``wait_s`` seconds from now."""
        now = clock.now()
        return cls(
            until=now + timedelta(seconds=wait_s), set_at=now, longest_s=wait_s, until_s=clock.monotonic() + wait_s
        )

    @classmethod
    def from_text(cls, until: str) -> RememberedDeadline:
        """Read what an older release stored: only the time."""
        return cls(until=datetime.fromisoformat(until), longest_s=LONGEST_ASKED_WAIT_S)

    def time(self, now: datetime, clock: Clock) -> datetime:
        """Return when it is over; ``now`` if it is over already or not plausible.

        ``now`` comes from the caller: if the clock were read again here, the result would always be later than the caller's time,
        and nothing would ever be due.
        """
        if not self.is_plausible(now):
            return now
        until = self.until
        if self.until_s is not None:
            until = min(until, now + timedelta(seconds=self.until_s - clock.monotonic()))
        return max(until, now)

    def is_over(self, clock: Clock) -> bool:
        """Whether the next attempt may be made."""
        now = clock.now()
        return self.time(now, clock) <= now

    def is_plausible(self, now: datetime) -> bool:
        """Whether the computer's clock may have been right when it was set."""
        if self.set_at is not None and (self.set_at - now).total_seconds() > TOLERANCE_S:
            return False
        return (self.until - now).total_seconds() <= min(self.longest_s, LONGEST_S) + TOLERANCE_S
