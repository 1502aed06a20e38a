"""The content of the problems page beside the banner: what was refused, and what a comparison found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from tconnectsync_web.pages.chain import time_of

MOST_LETTERS = 100
VERDICTS = ("missing", "different", "doubled", "orphaned", "twice")
"""What a comparison can find wrong. Orphaned: it should not be there. Twice: an older bridge wrote it too."""
REPAIR = {"twice": "tconnectsync adopt {sink}"}
"""The command that corrects a finding, if it is not the usual one."""


@attrs.frozen(kw_only=True)
class RefusedEntry:
    """A document that a receiver refused for good (a dead letter), and the commands that try it again or drop it."""

    sink: str
    id: str
    kind: str
    at: datetime
    reason: str
    attempts: int

    @property
    def retry(self) -> str:
        """The command that sends it again."""
        return f"tconnectsync dead-letters retry {self.sink} {self.id}"

    @property
    def drop(self) -> str:
        """The command that gives it up."""
        return f"tconnectsync dead-letters drop {self.sink} {self.id}"


@attrs.frozen(kw_only=True)
class Compared:
    """What the last comparison with a receiver found. ``wrong``: verdict and number."""

    sink: str
    at: datetime
    good: int
    wrong: Sequence[tuple[str, int]]

    @property
    def commands(self) -> Sequence[str]:
        """The commands that correct it."""
        usual = "tconnectsync verify {sink} --repair"
        return list(dict.fromkeys(REPAIR.get(verdict, usual).format(sink=self.sink) for verdict, _ in self.wrong))


@attrs.frozen(kw_only=True)
class Problems:
    """Everything on the page beside the banner. ``more_refused``: how many documents are not shown."""

    refused: Sequence[RefusedEntry]
    more_refused: int
    compared: Sequence[Compared]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was refused and no comparison found anything."""
        return not self.refused and not any(each.wrong for each in self.compared)


def problems_of(status: Mapping[str, Any], letters: Sequence[Mapping[str, Any]]) -> Problems:
    """Return the problems. ``status`` as printed by ``status --json``, ``letters`` by ``dead-letters list --json``."""
    refused = sorted((_refused(letter) for letter in letters), key=lambda each: each.at, reverse=True)
    sinks = {name: sink for name, sink in (status.get("sinks") or {}).items() if sink.get("state") != "off"}
    compared = [_compared(name, sink) for name, sink in sinks.items()]
    return Problems(
        refused=refused[:MOST_LETTERS],
        more_refused=max(0, len(refused) - MOST_LETTERS),
        compared=[each for each in compared if each is not None],
    )


def _refused(letter: Mapping[str, Any]) -> RefusedEntry:
    content = letter.get("content") or {}
    return RefusedEntry(
        sink=str(letter["sink"]),
        id=str(letter["id"]),
        kind=str(content.get("eventType") or letter.get("collection") or ""),
        at=datetime.fromisoformat(letter["at"].replace("Z", "+00:00")),
        reason=str(letter.get("reason") or ""),
        attempts=int(letter.get("attempts") or 0),
    )


def _compared(name: str, sink: Mapping[str, Any]) -> Compared | None:
    at, counts = time_of(sink.get("verified_at")), sink.get("verified") or {}
    if at is None:
        return None
    wrong = [(verdict, int(counts[verdict])) for verdict in VERDICTS if counts.get(verdict)]
    return Compared(sink=name, at=at, good=int(counts.get("good") or 0), wrong=wrong)
