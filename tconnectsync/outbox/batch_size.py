"""The maximum size of a batch, learned from batches that the receiver refused for their size or did not finish in time."""

from __future__ import annotations

import attrs

HALVE_AFTER = 2
"""Failures in a row before the batch is halved. A single failure may have another reason."""
GROW_AFTER, GROW_AFTER_MOST = 3, 96
"""Full batches that must succeed before a larger one is tried. The number doubles after each larger one that fails."""


@attrs.frozen(kw_only=True)
class BatchSize:
    """``limit``: the maximum number of documents; None: nothing was learned. ``failures`` in a row; full batches that ``succeeded``.

    The limit grows after ``needed`` full batches. ``probing``: it has grown, and no batch of the new size succeeded yet.
    """

    limit: int | None = None
    failures: int = 0
    succeeded: int = attrs.field(default=0, metadata={"json": "passed"})
    needed: int = GROW_AFTER
    probing: bool = False

    def current_limit(self, of_receiver: int) -> int:
        """Return the maximum number of documents in the next batch."""
        return of_receiver if self.limit is None else min(self.limit, of_receiver)

    def after_failure(self, size: int) -> BatchSize:
        """Return the size after a batch of ``size`` failed and a smaller one may succeed."""
        if self.probing and self.limit is not None and size * 2 > self.limit:
            needed = min(self.needed * 2, GROW_AFTER_MOST)
            return BatchSize(limit=_half(size), needed=needed)
        failures = self.failures + 1
        if failures < HALVE_AFTER or size == 1:
            return attrs.evolve(self, failures=failures, succeeded=0)
        return attrs.evolve(self, limit=_half(size), failures=failures, succeeded=0)

    def after_refusal(self, size: int) -> BatchSize:
        """Return the size after the receiver said that a batch of ``size`` is too large."""
        return attrs.evolve(self, failures=HALVE_AFTER).after_failure(size)

    def after_success(self, size: int, of_receiver: int) -> BatchSize:
        """Return the size after the receiver processed a batch of ``size``."""
        if self.limit is None or (self.probing and self.limit >= of_receiver and size >= of_receiver):
            return BatchSize()
        if size < self.limit:
            return attrs.evolve(self, failures=0)
        needed = GROW_AFTER if self.probing else self.needed
        if self.succeeded + 1 < needed:
            return attrs.evolve(self, failures=0, succeeded=self.succeeded + 1, needed=needed, probing=False)
        return BatchSize(limit=min(self.limit * 2, of_receiver), needed=needed, probing=True)


ONE_BY_ONE = BatchSize(limit=1, failures=HALVE_AFTER)


def _half(size: int) -> int:
    return max(1, size // 2)
