"""How many documents one batch may hold: learned from what the receiver refused for its size, or did not finish in time."""

from __future__ import annotations

import attrs

HALVE_AFTER = 2
"""So many failures in a row: one alone is passing trouble."""
GROW_AFTER, GROW_AFTER_MOST = 3, 96
"""So many full batches have to pass before a greater one is tried; twice as many after each try that failed."""


@attrs.frozen(kw_only=True)
class BatchSize:
    """``limit``: the most documents, None where nothing was learned. ``failures`` in a row, and full batches that ``passed``.

    ``needed`` full batches have to pass before the limit grows. ``probing``: it has grown, and nothing so large passed yet.
    """

    limit: int | None = None
    failures: int = 0
    passed: int = 0
    needed: int = GROW_AFTER
    probing: bool = False

    def most(self, of_receiver: int) -> int:
        """The most documents of the next batch."""
        return of_receiver if self.limit is None else min(self.limit, of_receiver)

    def after_failure(self, size: int) -> BatchSize:
        """A batch of ``size`` failed, and a smaller one may pass."""
        if self.probing and self.limit is not None and size * 2 > self.limit:
            needed = min(self.needed * 2, GROW_AFTER_MOST)
            return BatchSize(limit=_half(size), needed=needed)
        failures = self.failures + 1
        if failures < HALVE_AFTER or size == 1:
            return attrs.evolve(self, failures=failures, passed=0)
        return attrs.evolve(self, limit=_half(size), failures=failures, passed=0)

    def after_refusal(self, size: int) -> BatchSize:
        """A batch of ``size`` was surely too large."""
        return attrs.evolve(self, failures=HALVE_AFTER).after_failure(size)

    def after_success(self, size: int, of_receiver: int) -> BatchSize:
        """A batch of ``size`` was dealt with."""
        if self.limit is None or (self.probing and self.limit >= of_receiver and size >= of_receiver):
            return BatchSize()
        if size < self.limit:
            return attrs.evolve(self, failures=0)
        needed = GROW_AFTER if self.probing else self.needed
        if self.passed + 1 < needed:
            return attrs.evolve(self, failures=0, passed=self.passed + 1, needed=needed, probing=False)
        return BatchSize(limit=min(self.limit * 2, of_receiver), needed=needed, probing=True)


ONE_BY_ONE = BatchSize(limit=1, failures=HALVE_AFTER)


def _half(size: int) -> int:
    return max(1, size // 2)
