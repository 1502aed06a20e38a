"""A daily comparison while it runs: what it has found so far, and the repair at its end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import attrs

from tconnectsync.outbox import Outbox
from tconnectsync.reconcile.comparison import Verifier, repair
from tconnectsync.reconcile.report import ComparisonChunk, ComparisonReport, Mismatch


@attrs.define
class RunningComparison:
    """The chunks of one comparison, added up."""

    _chunks: Iterator[ComparisonChunk]
    report: ComparisonReport = attrs.field(factory=ComparisonReport)
    _wrong: list[Mismatch] = attrs.field(factory=list)

    @classmethod
    def of(cls, verifier: Verifier, first: datetime, last: datetime) -> RunningComparison:
        """Begin to compare the documents from ``first`` to ``last`` (UTC)."""
        return cls(verifier.run(first, last))

    def step(self) -> bool:
        """Compare one chunk. Return False if there is none left. Errors: those of :meth:`Verifier.run`."""
        part = next(self._chunks, None)
        if part is None:
            return False
        self.report.add(part)
        self._wrong += [mismatch for mismatch in part.found if mismatch.repairable]
        return True

    def repair(self, outbox: Outbox, now: datetime, *, may_withdraw: bool) -> None:
        """Send wrong documents again, and if they may be, withdraw those that no record explains. Call it in a transaction."""
        wrong = self._wrong if may_withdraw else [each for each in self._wrong if each.verdict != "orphaned"]
        repair(outbox, wrong, now=now)
