"""The states of people, as ``fleet status`` and the metrics name them."""

from __future__ import annotations

MEANINGS = {
    0: "ok", 1: "failed", 2: "wrong configuration", 3: "source not read", 4: "login refused", 5: "documents waiting",
    6: "stopped", 7: "log corrupt", 8: "changing workers", 10: "needs a newer release",
}  # fmt: skip
"""By the exit status that `tconnectsync sync` would have, and 10, which only a fleet has."""
NEWER_RELEASE = 10
NEW, PAUSED, BEHIND, UNREADABLE, WITHOUT_WORKER = "new", "paused", "behind", "entry not readable", "without a worker"
_QUIET = (MEANINGS[0], NEW, PAUSED)
"""Nobody needs to look at these."""


def state_of(status: int) -> str:
    """Return the state of a person whose last turn ended with this exit status."""
    return MEANINGS.get(status, MEANINGS[1])


def state_order(state: str) -> tuple[int, str]:
    """Return a key that sorts states: first those that need no attention."""
    return (_QUIET.index(state), "") if state in _QUIET else (len(_QUIET), state)
