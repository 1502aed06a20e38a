"""How a source or a sink is doing: what `status` shows, and what a restart must remember."""

from __future__ import annotations

from datetime import datetime

import attrs

from tconnectsync.retry.deadline import RememberedDeadline, remembering_converter

STATES = ("ok", "waiting", "backing_off", "refused", "changed", "halted", "braked", "damaged", "off")


@attrs.frozen(kw_only=True)
class HealthState:
    """A state (one of :data:`STATES`), since when, why in words, and the next thing to do.

    ``not_before``: no attempt sooner than this (survives a restart). ``mark`` names the credentials that were refused,
    without telling them, so that changed ones are tried. ``refusals``: how often in a row they were refused.
    """

    state: str = "ok"
    since: datetime | None = None
    message: str = ""
    remedy: str | None = None
    failures: int = 0
    not_before: RememberedDeadline | None = None
    mark: str = ""
    refusals: int = 0

    def turned(self, now: datetime, state: str, message: str = "", **changes: object) -> HealthState:
        """The next condition; ``since`` stays while the state does."""
        since = self.since if self.state == state and self.since is not None else now
        return HealthState(state=state, since=since, message=message, **changes)  # type: ignore[arg-type]  # checked by attrs users


def with_resume_hint(remedy: str | None, name: str) -> str:
    """What to do about refused credentials: changed ones are tried by themselves, the same ones only when the user says so."""
    return f"{remedy or ''} If they were right all along: `tconnectsync resume {name}`.".lstrip()


_converter = remembering_converter()


def to_json(condition: HealthState) -> str:
    """As text for a file."""
    return _converter.dumps(condition)


def from_json(text: str) -> HealthState:
    """From :func:`to_json`; anything unreadable is a fresh start, because a condition is never precious."""
    try:
        return _converter.loads(text, HealthState)
    except Exception:  # noqa: BLE001 - whatever is wrong with it, the remedy is the same
        return HealthState()
