"""Messages of the engine name the commands of a single daemon. For a person of a fleet they are others."""

from __future__ import annotations

import re

from tconnectsync import TconnectsyncError
from tconnectsync_fleet.folder_check import REMEDY

_NAME = r"([a-z][\w-]*)"
_COMMANDS = (
    (rf"(replay|resume) {_NAME}", r"fleet run {person} \1 sink=\2"),
    (rf"verify {_NAME}( --repair)?", r"fleet run {person} verify sink=\1 repair=yes"),
    (rf"dead-letters drop {_NAME} ID…", r"fleet run {person} dead_letters_drop sink=\1 ids=ID,ID"),
    (rf"dead-letters (list|retry|drop) {_NAME}", r"fleet run {person} dead_letters_\1 sink=\2"),
    (r"dead-letters list", r"fleet run {person} dead_letters_list"),
    (r"backfill --from (\S+) --to (\S+)", r"fleet run {person} backfill first=\1 last=\2"),
    (r"backfill --from (\S+)", r"fleet run {person} backfill first=\1"),
    (r"sync", r"fleet run {person} sync"),
    (r"status", r"fleet show {person}"),
    (r"check", r"--config FILE check"),
)
"""A single daemon's command, and a fleet's."""
_SENTENCES = {
    "Run `tconnectsync log check`, then stop the daemon and run `tconnectsync log repair`.": (
        'What to do: "A corrupt log" in docs/user/fleet-trouble.md.'
    )
}
"""A repair of a worker's copy removes records that the servers may still have."""
_PATTERNS = tuple((re.compile(f"`tconnectsync {single}`"), f"`tconnectsync {fleet}`") for single, fleet in _COMMANDS)


def for_person(line: str, person: str) -> str:
    """Return a message with the commands that an operator uses for this person. ``check`` needs the person's file."""
    for single, fleet in _SENTENCES.items():
        line = line.replace(single, fleet)
    for pattern, command in _PATTERNS:
        line = pattern.sub(command.replace("{person}", person), line)
    return line


def told(error: Exception, worker: str) -> str:
    """Return an error of a person's turn with what to do. One of the system does not say where it happened."""
    if isinstance(error, OSError) and error.errno:
        return f"worker {worker}: {error}. {REMEDY}"
    if not isinstance(error, TconnectsyncError) or error.remedy in (
        None,
        error.usual_remedy,
    ):  # that is a single daemon's
        return str(error)
    return f"{str(error).rstrip('.')}. {error.remedy}"
