"""How a source or a sink is doing: `status` shows it, and it survives a restart."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import attrs

from tconnectsync.retry.deadline import RememberedDeadline


class HealthState(str, Enum):
    """The state in one word. The values are kept on disk and printed by `status --json`."""

    OK = "ok"
    WAITING = "waiting"
    """It waits for something on this computer, such as room on the disk."""
    BACKING_OFF = "backing_off"
    """The other side failed: the next attempt is later."""
    REFUSED = "refused"
    """The other side refused the credentials."""
    CHANGED = "changed"
    """The other side answers in a way that this release does not understand."""
    HALTED = "halted"
    """It stopped: the user must look first."""
    BRAKED = "braked"
    """Delivery is paused: more old documents would change than the limit for rewrites allows."""
    DAMAGED = "damaged"
    """A part of the event log that it needs is corrupt."""
    OFF = "off"

    def __str__(self) -> str:
        return self.value


@attrs.frozen(kw_only=True)
class Health:
    """A state, since when, why in words, and the next thing to do.

    ``not_before``: no attempt sooner than this. ``fingerprint`` stands for the cause of a stop (credentials that were refused,
    a new address): once it is another one, the stop is over. ``refusals``: how often in a row the credentials were refused.
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
        """The same with ``since`` set: unchanged while the state is the one of ``before``, else ``now``."""
        since = before.since if before.state is self.state and before.since is not None else now
        return attrs.evolve(self, since=since)


def with_resume_hint(remedy: str | None, name: str) -> str:
    """The remedy for refused credentials: changed ones are tried at once, the same ones only if the user says so."""
    return f"{remedy or ''} If they were right all along: `tconnectsync resume {name}`.".lstrip()
