"""A deadline that is remembered: when the next attempt may be. A clock that was wrong when it was set cannot silence anything."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import attrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.preconf.json import JsonConverter, make_converter

from tconnectsync.clock import Clock
from tconnectsync.retry.backoff import LONGEST_ASKED_WAIT_S

LONGEST_S = 25 * 3600.0
"""No deadline is further away: the longest is the daily comparison's."""
TOLERANCE_S = 60.0
"""A clock that is put back by so little was right."""


@attrs.frozen(kw_only=True)
class RememberedDeadline:
    """Not before ``until``, as it was decided at ``set_at`` (both UTC); ``longest_s`` is the longest wait of its kind.

    It is over, whatever ``until`` says, if it was set in the future or is further away than its longest wait: then the host's
    clock was wrong when it was set. In the process that set it the monotonic clock ends it as well.
    """

    until: datetime
    set_at: datetime | None = None
    """None: an older release wrote it."""
    longest_s: float = LONGEST_S
    until_s: float | None = attrs.field(default=None, eq=False, repr=False)
    """On this process's monotonic clock; not remembered."""

    @classmethod
    def after(cls, wait_s: float, clock: Clock) -> RememberedDeadline:
        """So many seconds from now."""
        now = clock.now()
        return cls(
            until=now + timedelta(seconds=wait_s), set_at=now, longest_s=wait_s, until_s=clock.monotonic() + wait_s
        )

    def time(self, clock: Clock) -> datetime:
        """When it is over, by the clock as it is now; now if it is over, or is not to be believed."""
        now = clock.now()
        if not self.is_believed(now):
            return now
        until = self.until
        if self.until_s is not None:
            until = min(until, now + timedelta(seconds=self.until_s - clock.monotonic()))
        return max(until, now)

    def is_over(self, clock: Clock) -> bool:
        """Whether the next attempt may be."""
        return self.time(clock) <= clock.now()

    def is_believed(self, now: datetime) -> bool:
        """Whether the clock can have been right when it was set."""
        if self.set_at is not None and (self.set_at - now).total_seconds() > TOLERANCE_S:
            return False
        return (self.until - now).total_seconds() <= min(self.longest_s, LONGEST_S) + TOLERANCE_S


def remembering_converter() -> JsonConverter:
    """A converter to and from JSON for what holds times and deadlines. Older releases wrote a deadline as its time alone."""
    converter = make_converter()
    converter.register_unstructure_hook(datetime, datetime.isoformat)
    converter.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
    converter.register_unstructure_hook(
        RememberedDeadline,
        make_dict_unstructure_fn(RememberedDeadline, converter, until_s=override(omit=True)),
    )
    read = make_dict_structure_fn(RememberedDeadline, converter, until_s=override(omit=True))

    def structure(found: Any, kind: type[RememberedDeadline]) -> RememberedDeadline:
        if isinstance(found, str):
            return RememberedDeadline(until=datetime.fromisoformat(found), longest_s=LONGEST_ASKED_WAIT_S)
        return read(found, kind)

    converter.register_structure_hook(RememberedDeadline, structure)
    return converter
