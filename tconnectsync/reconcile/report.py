"""The results of a comparison with the receiver, as values, text and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from tconnectsync.outbox import DocumentRow
from tconnectsync.plugin.receiver import FieldDiff, StoredDocument
from tconnectsync.reconcile.comparison_state import twice_text
from tconnectsync.text.plural import counted

WRONG = ("missing", "different", "doubled", "orphaned")
"""Documents of ours that are wrong. Doubled: stored more than once. Orphaned: no fold makes it."""
VERDICTS = (*WRONG, "waiting", "set_aside", "foreign")
"""Waiting: not delivered yet, or it changed meanwhile. Set aside: a dead letter. Foreign: another program's, never changed."""


def cannot_verify_text(sink: str) -> str:
    """Return the message for a receiver whose documents cannot be read."""
    return f"{sink} cannot be verified: its receiver cannot show the documents that it has"


@attrs.frozen(kw_only=True)
class Mismatch:
    """One document that is not as it should be. ``kind``: its slot, else its collection; ``at``: its UTC time.

    ``row``: its row in the outbox; ``copy``: a copy at the receiver. ``repairable``: :func:`repair` sends it again, or withdraws
    it if it is orphaned. ``origin``: (fold, stream, interval) that make it, if the outbox does not have it.
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
        """Return one line of text."""
        parts = [self.note, *(_diff_text(diff) for diff in self.diffs)]
        words = "; ".join(part for part in parts if part) or {"missing": "it is not there"}.get(self.verdict, "")
        return f"  {self.verdict:<9}  {self.at:%Y-%m-%d %H:%M:%S} UTC  {self.kind}: {words}".rstrip(": ")

    def to_json(self) -> dict[str, Any]:
        """Return JSON for scripts: see ``docs/user/scripts.md``."""
        return {
            "verdict": self.verdict,
            "id": self.id,
            "collection": self.collection,
            "kind": self.kind,
            "at": self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "note": self.note,
            "fields": {each.field: {"ours": each.ours, "theirs": each.theirs} for each in self.diffs},
            "author": self.author,
            "repairable": self.repairable,
        }


def _diff_text(diff: FieldDiff) -> str:
    ours, theirs = (("nothing" if value is None else value) for value in (diff.ours, diff.theirs))
    return f"{diff.field} should be {ours} and is {theirs}"


@attrs.frozen(kw_only=True)
class ComparisonChunk:
    """The result of one slice of a comparison: number of correct documents, mismatches, and a corruption of the log, if any.

    ``twice``: how many documents an older bridge wrote for events of which we have documents too.
    """

    good: int = 0
    found: tuple[Mismatch, ...] = ()
    corruption: str = ""
    twice: int = 0
    done: float = 0.0
    """The share of the time span that was compared before."""


@attrs.define
class ComparisonReport:
    """The result of a comparison: counts, and the first ``max_listed`` documents of each verdict."""

    max_listed: int = 20
    good: int = 0
    corruption: str = ""
    twice: int = 0
    counts: Counter[str] = attrs.field(factory=Counter)
    authors: Counter[str] = attrs.field(factory=Counter)
    listed: list[Mismatch] = attrs.field(factory=list)

    def add(self, part: ComparisonChunk) -> None:
        """Add a slice."""
        self.good += part.good
        self.corruption = self.corruption or part.corruption
        self.twice += part.twice
        for mismatch in part.found:
            verdict = mismatch.verdict
            self.counts[verdict] += 1
            if verdict == "foreign":
                self.authors[mismatch.author or "unnamed"] += 1
            elif verdict != "waiting" and sum(each.verdict == verdict for each in self.listed) < self.max_listed:
                self.listed.append(mismatch)

    @property
    def wrong(self) -> int:
        """The number of wrong documents of ours."""
        return sum(self.counts[verdict] for verdict in WRONG)

    @property
    def wrong_counts(self) -> str:
        """The verdicts of wrong documents with their numbers, for the program's log."""
        return " ".join(f"{verdict}={self.counts[verdict]}" for verdict in WRONG if self.counts[verdict])

    def summary(self) -> str:
        """Return one line of text with the counts."""
        found = [f"{self.counts[name]:,} {name.replace('_', ' ')}" for name in VERDICTS if self.counts[name]]
        if not self.good and not found:
            return "there is nothing to compare"
        good = counted(self.good, "document is as it", "documents are as they")
        return f"{good} should be" + (f"; {', '.join(found)}" if found else "")

    def lines(self, sink: str) -> list[str]:
        """Return the summary, the wrong documents by time, and the authors of foreign documents as text."""
        found = [self.summary()]
        for verdict in (*WRONG, "set_aside"):
            known = sorted((each for each in self.listed if each.verdict == verdict), key=lambda each: each.at)
            found += [each.line() for each in known]
            if self.counts[verdict] > len(known):
                found.append(f"  … and {self.counts[verdict] - len(known):,} more that are {verdict.replace('_', ' ')}")
        if self.authors:
            others = ", ".join(f"{author} ({number:,})" for author, number in self.authors.most_common(5))
            found.append(f"  of other programs, never changed: {others}")
        if self.twice:
            found.append(f"  {twice_text(self.twice, sink)}")
        return found

    def to_json(self) -> Mapping[str, int]:
        """Return the counts for scripts."""
        return {"good": self.good, **{verdict: self.counts[verdict] for verdict in VERDICTS}, "twice": self.twice}
