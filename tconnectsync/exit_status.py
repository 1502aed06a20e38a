"""What a command's end means; scripts rely on these numbers."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    """Of several, the smallest above 1 wins, except that REFUSED and DAMAGED win over all."""

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
"""What shells expect after Ctrl-C."""

MEANINGS = {
    ExitStatus.DONE: "done; nothing is waiting",
    ExitStatus.FAILED: "an unexpected failure, or the machine is not ready: a disk, a folder, a permission",
    ExitStatus.USAGE: "usage or configuration; nothing was done",
    ExitStatus.SOURCE: "a source could not be read; sinks were still served",
    ExitStatus.REFUSED: "credentials refused; a source's login is not tried again until you say so",
    ExitStatus.WAITING: "a receiver could not be reached; documents are waiting",
    ExitStatus.SET_ASIDE: "documents were set aside, or a sink is halted or braked",
    ExitStatus.DAMAGED: "the log is damaged where it is needed",
    ExitStatus.OWNED: "another process owns the data folder",
    ExitStatus.DIFFERENT: "check, verify or status --exit-code found something bad",
}
