"""The states of people, as ``fleet status`` and the metrics name them."""

from __future__ import annotations

from collections.abc import Mapping

from tconnectsync import ExitStatus

NEWER_RELEASE = 10
MEANINGS: Mapping[int, str] = {
    ExitStatus.DONE: "ok",
    ExitStatus.FAILED: "failed",
    ExitStatus.USAGE: "wrong configuration",
    ExitStatus.SOURCE: "source not read",
    ExitStatus.REFUSED: "login refused",
    ExitStatus.WAITING: "documents waiting",
    ExitStatus.SET_ASIDE: "stopped",
    ExitStatus.DAMAGED: "log corrupt",
    ExitStatus.OWNED: "changing workers",
    NEWER_RELEASE: "needs a newer release",
}
"""By the exit status that `tconnectsync sync` would have, and 10, which only a fleet has."""
NEW, PAUSED, BEHIND, UNREADABLE, WITHOUT_WORKER = "new", "paused", "behind", "entry not readable", "without a worker"
NOT_BEGUN = "not begun"
"""No worker has begun with a person who has been there for hours."""
_QUIET = (MEANINGS[ExitStatus.DONE], NEW, PAUSED)
"""Nobody needs to look at these."""


def state_of(status: int) -> str:
    """Return the state of a person whose last turn ended with this exit status."""
    return MEANINGS.get(status, MEANINGS[ExitStatus.FAILED])


def state_order(state: str) -> tuple[int, str]:
    """Return a key that sorts states: first those that need no attention."""
    return (_QUIET.index(state), "") if state in _QUIET else (len(_QUIET), state)
