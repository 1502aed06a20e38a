"""The exit statuses of every command. Scripts rely on these numbers."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """If several apply, the smallest above 1 wins, but REFUSED and DAMAGED win over all others."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    SOURCE = 3
    REFUSED = 4
    WAITING = 5
    SET_ASIDE = 6
    DAMAGED = 7
    OWNED = 8
    DIFFERENT = 9


INTERRUPTED = 130
"""The status that shells expect after Ctrl-C."""

MEANINGS = {
    ExitStatus.DONE: "success; nothing is waiting",
    ExitStatus.FAILED: "an unexpected failure, or a disk, a folder or a permission is not ready",
    ExitStatus.USAGE: "wrong usage or configuration; nothing was done",
    ExitStatus.SOURCE: "a source could not be read; what is in the log was still sent",
    ExitStatus.REFUSED: "a login or secret was refused; a login is not tried again until you run `tconnectsync resume`",
    ExitStatus.WAITING: "a receiver could not be reached; documents are waiting",
    ExitStatus.SET_ASIDE: "documents were refused (dead letters), or sending is paused",
    ExitStatus.DAMAGED: "the event log is corrupt where it is needed",
    ExitStatus.OWNED: "another process uses the data folder",
    ExitStatus.DIFFERENT: "check, verify or status found something bad",
}
