"""The health of a source or a sink: `status` shows it, and it survives a restart."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import attrs

from tconnectsync.retry.deadline import RememberedDeadline


class HealthState(str, Enum):
    """The state. The values are stored on disk and printed by `status --json`."""

    OK = "ok"
    WAITING = "waiting"
    """It waits for something on this computer, such as room on the disk."""
    BACKING_OFF = "backing_off"
    """The other side failed. There will be a retry."""
    REFUSED = "refused"
    """The other side refused the credentials."""
    CHANGED = "changed"
    """The other side's answer has a format that this release does not know."""
    HALTED = "halted"
    """It stopped until the user acts."""
    BRAKED = "braked"
    """Delivery is paused: more old documents would change than the limit for rewrites allows."""
    DAMAGED = "damaged"
    """A part of the event log that it needs is corrupt."""
    OFF = "off"

    def __str__(self) -> str:
        return self.value


@attrs.frozen(kw_only=True)
class Health:
    """A state with its start (UTC), its reason in words, and the user's next step.

    ``not_before``: no attempt before this. ``fingerprint`` identifies the cause of a stop (refused credentials, a new address):
    the stop ends when it changes. ``refusals``: how often in a row the credentials were refused.
    """

    state: HealthState = HealthState.OK
    since: datetime | None = None
    message: str = ""
    remedy: str | None = None
    failures: int = 0
    not_before: RememberedDeadline | None = None
    fingerprint: str = attrs.field(default="", metadata={"json": "mark"})
    refusals: int = 0

    @property
    def is_ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.state is HealthState.OK

    def with_since(self, before: Health, now: datetime) -> Health:
        """Return a copy with ``since``: that of ``before`` if the state is the same, else ``now``. Never later than ``now``."""
        # the clock may have been ahead when it began
        since = min(before.since, now) if before.state is self.state and before.since is not None else now
        return attrs.evolve(self, since=since)


def with_resume_hint(remedy: str | None, name: str) -> str:
    """Return the remedy for refused credentials. Changed ones are tried at once, the same ones only after `resume`."""
    return f"{remedy or ''} If they were right all along, run `tconnectsync resume {name}`.".lstrip()
