"""The format of what the fleet stores in NATS, so that workers of two releases can share a fleet.

A person's entry in the bucket ``people`` and every message of a person's log carry the format of the release that wrote them. Without
one it is 1. The bucket ``people`` itself may have a format in its metadata, for changes that concern the whole fleet. Nobody touches
what has a newer format than they know: neither claims the log, nor replaces an outbox, nor stores an entry.

Raise :data:`FORMAT` when an older release could not continue correctly with what this one writes: log lines, messages, snapshots with
the outboxes in them, entries of people, leases.
"""

from __future__ import annotations

from collections.abc import Mapping

from tconnectsync import FileUnreadable, TconnectsyncError, __version__
from tconnectsync_fleet.states import NEWER_RELEASE

FORMAT = 1
HEADER = "Log-Format"
"""Of a message of a log."""
KEY = "format"
"""In a person's entry, a worker's report, and the metadata of the bucket of people."""
RELEASE = __version__


class NewerRelease(TconnectsyncError):
    """A newer release wrote it, in a format that this one does not know. Nothing was changed. Exit status 2."""

    exit_status = FileUnreadable.exit_status
    person_status = NEWER_RELEASE
    """Of the person, in ``fleet status``."""


def format_of(stored: Mapping[str, object] | None, key: str = KEY) -> int:
    """Return the format of what was stored; 1 without one. Errors: ValueError if it is no number."""
    return int(str((stored or {}).get(key, 1)))


def check_format(found: int, what: str) -> None:
    """Check that this release knows the format. ``what``: a plural. Errors: NewerRelease."""
    if found > FORMAT:
        raise NewerRelease(
            f"{what} were written by a newer release of tconnectsync (format {found}; release {RELEASE} knows {FORMAT})."
            " Nothing was changed.",
            remedy="Install the newer release on this computer, then run the command again.",
        )
