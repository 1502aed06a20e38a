"""Sets of UTC times: sorted, half-open spans that do not overlap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone

import msgspec

EARLIEST = datetime(1, 1, 2, tzinfo=timezone.utc)
LATEST = datetime(9999, 12, 30, tzinfo=timezone.utc)


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """From ``begin`` until just before ``end``, aware UTC. None: unlimited."""

    begin: datetime | None = None
    end: datetime | None = None

    def contains(self, at: datetime) -> bool:
        return (self.begin is None or self.begin <= at) and (self.end is None or at < self.end)

    def to_json(self) -> list[str | None]:
        """Return ``[begin, end]`` as ISO texts."""
        return [None if bound is None else bound.isoformat() for bound in (self.begin, self.end)]

    @classmethod
    def from_json(cls, pair: Sequence[str | None]) -> Span:
        """Return the span of :meth:`to_json`."""
        begin, end = (None if text is None else datetime.fromisoformat(text) for text in pair)
        return cls(begin=begin, end=end)


def any_contains(spans: Iterable[Span], at: datetime) -> bool:
    return any(span.contains(at) for span in spans)


def union(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return the same times as sorted spans that neither overlap nor touch."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda span: span.begin or EARLIEST):
        last = joined[-1] if joined else None
        if last is not None and (last.end is None or (span.begin or EARLIEST) <= last.end):
            end = None if last.end is None or span.end is None else max(last.end, span.end)
            joined[-1] = Span(begin=last.begin, end=end)
        else:
            joined.append(span)
    return tuple(joined)


def intersection(these: Iterable[Span], those: Sequence[Span]) -> tuple[Span, ...]:
    """Return the times that are in both sets."""
    both = []
    for this in these:
        for that in those:
            begins = [begin for begin in (this.begin, that.begin) if begin is not None]
            ends = [end for end in (this.end, that.end) if end is not None]
            span = Span(begin=max(begins, default=None), end=min(ends, default=None))
            if span.begin is None or span.end is None or span.begin < span.end:
                both.append(span)
    return union(both)


def difference(these: Sequence[Span], those: Sequence[Span]) -> tuple[Span, ...]:
    """Return the times that are in exactly one of two sets."""
    bounds: set[datetime] = set()
    for span in (*union(these), *union(those)):
        bounds ^= {span.begin or EARLIEST}  # a bound of both sets cancels out
        bounds ^= {span.end or LATEST}
    turns = iter(sorted(bounds))
    return tuple(
        Span(begin=None if begin == EARLIEST else begin, end=None if end == LATEST else end)
        for begin, end in zip(turns, turns, strict=True)
    )
