"""What a comparison with the receiver found, as values, words and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from tconnectsync.outbox import DocumentRow
from tconnectsync.plugin.receiver import FieldDiff, StoredDocument
from tconnectsync.text.plural import counted

WRONG = ("missing", "different", "doubled", "orphaned")
"""What should be otherwise. Missing, different, doubled: ours, and not there once as it is made. Orphaned: ours, made by nobody."""
VERDICTS = (*WRONG, "waiting", "set_aside", "foreign")
"""Waiting: still to be delivered, or in motion. Set aside: a dead letter. Foreign: somebody else's, never touched."""


def cannot_verify_text(sink: str) -> str:
    """For a receiver that does not show what it holds."""
    return f"{sink} cannot be verified: what it delivers cannot be read back"


@attrs.frozen(kw_only=True)
class Mismatch:
    """One document, and why it is no good one. ``kind`` is its slot, else its collection; ``at`` its UTC time.

    ``row`` is what the outbox knows of it, ``copy`` a stored copy that it is about. ``mendable``: a repair sends it again,
    or, where it is orphaned, takes it back. ``unmade``: (fold, stream, interval) that make it, where the outbox lost it.
    """

    verdict: str
    id: str
    collection: str
    kind: str
    at: datetime
    note: str = ""
    diffs: tuple[FieldDiff, ...] = ()
    author: str = ""
    repairable: bool = False
    row: DocumentRow | None = attrs.field(default=None, repr=False)
    copy: StoredDocument | None = attrs.field(default=None, repr=False)
    origin: tuple[str, str, int] | None = None

    def line(self) -> str:
        """For people."""
        told = [self.note, *(_diff_text(contrast) for contrast in self.diffs)]
        words = "; ".join(part for part in told if part) or {"missing": "it is not there"}.get(self.verdict, "")
        return f"  {self.verdict:<9}  {self.at:%Y-%m-%d %H:%M:%S} UTC  {self.kind}: {words}".rstrip(": ")

    def to_json(self) -> dict[str, Any]:
        """For scripts: see ``docs/user/operating.md``."""
        return {
            "verdict": self.verdict,
            "id": self.id,
            "collection": self.collection,
            "kind": self.kind,
            "at": self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "note": self.note,
            "fields": {each.field: {"ours": each.ours, "theirs": each.theirs} for each in self.diffs},
            "author": self.author,
            "mendable": self.repairable,
        }


def _diff_text(contrast: FieldDiff) -> str:
    ours, theirs = (("nothing" if value is None else value) for value in (contrast.ours, contrast.theirs))
    return f"{contrast.field} should be {ours} and is {theirs}"


def twice_text(number: int, sink: str) -> str:
    """An older bridge still writes, or wrote and was left where it is."""
    return (
        f"an older bridge wrote {counted(number, 'document')} of what ours tell too, so that it is there twice:"
        f" stop that bridge, then run `tconnectsync adopt {sink}`"
    )


@attrs.frozen(kw_only=True)
class ComparisonChunk:
    """What one slice of a comparison found: how many documents are as they should be, the others, and harm to the log.

    ``twice``: how many of the others' an older bridge wrote of facts that ours tell too.
    """

    good: int = 0
    found: tuple[Mismatch, ...] = ()
    corruption: str = ""
    twice: int = 0


@attrs.define
class ComparisonReport:
    """A whole comparison: counts, and of each verdict the first ``most`` documents."""

    most: int = 20
    good: int = 0
    corruption: str = ""
    twice: int = 0
    counts: Counter[str] = attrs.field(factory=Counter)
    authors: Counter[str] = attrs.field(factory=Counter)
    listed: list[Mismatch] = attrs.field(factory=list)

    def add(self, part: ComparisonChunk) -> None:
        """Count a slice."""
        self.good += part.good
        self.corruption = self.corruption or part.corruption
        self.twice += part.twice
        for difference in part.found:
            self.counts[difference.verdict] += 1
            if difference.verdict == "foreign":
                self.authors[difference.author or "unnamed"] += 1
            elif difference.verdict != "waiting" and self._has_room(difference.verdict):
                self.listed.append(difference)

    def _has_room(self, verdict: str) -> bool:
        return sum(known.verdict == verdict for known in self.listed) < self.most

    @property
    def wrong(self) -> int:
        """How many documents are not as they should be."""
        return sum(self.counts[verdict] for verdict in WRONG)

    def summary(self) -> str:
        """One line: what was compared, and what came of it."""
        found = [f"{self.counts[name]:,} {name.replace('_', ' ')}" for name in VERDICTS if self.counts[name]]
        if not self.good and not found:
            return "there is nothing to compare"
        whole = counted(self.good, "document is as it", "documents are as they")
        return f"{whole} should be" + (f"; {', '.join(found)}" if found else "")

    def lines(self, sink: str) -> list[str]:
        """For people: the summary, what is wrong in the order of time, and whose the others are."""
        found = [self.summary()]
        for verdict in (*WRONG, "set_aside"):
            known = sorted((each for each in self.listed if each.verdict == verdict), key=lambda each: each.at)
            found += [each.line() for each in known]
            if self.counts[verdict] > len(known):
                found.append(f"  … and {self.counts[verdict] - len(known):,} more that are {verdict.replace('_', ' ')}")
        if self.authors:
            others = ", ".join(f"{author} ({number:,})" for author, number in self.authors.most_common(5))
            found.append(f"  of others, never touched: {others}")
        if self.twice:
            found.append(f"  {twice_text(self.twice, sink)}")
        return found

    def to_json(self) -> Mapping[str, int]:
        """The counts, for scripts."""
        return {"good": self.good, **{verdict: self.counts[verdict] for verdict in VERDICTS}, "twice": self.twice}
