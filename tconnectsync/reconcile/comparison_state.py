"""The stored result of the daily comparison, which `status` shows. It loads little, so that `status` starts quickly."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import attrs

from tconnectsync.json_converter import CONVERTER
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.stored_values import COMPARED
from tconnectsync.retry.deadline import RememberedDeadline
from tconnectsync.text.plural import counted

MANY, MANY_SHARE = 10, 0.1
"""A person edits fewer documents a day than this many, and than this share of three days' documents."""


@attrs.frozen(kw_only=True)
class ComparisonState:
    """The stored result of the last comparison: end time (UTC), counts, earliest time of the next one, and the last failure."""

    at: datetime | None = None
    not_before: RememberedDeadline | None = None
    failures: int = 0
    problem: str = attrs.field(default="", metadata={"json": "trouble"})
    counts: Mapping[str, int] = attrs.field(factory=dict)
    days_rewritten: int = 0
    """How many comparisons in a row, with the last one, found that somebody rewrites our documents."""

    def after(self, counts: Mapping[str, int], *, at: datetime, not_before: RememberedDeadline) -> ComparisonState:
        """Return the state after a comparison with this result. Its mismatches are repaired, so the next one should find few."""
        days = self.days_rewritten + 1 if _is_rewritten(counts) else 0
        return ComparisonState(at=at, not_before=not_before, counts=counts, days_rewritten=days)

    def rewritten_text(self) -> str:
        """Return the message about another installation; empty if there seems to be none."""
        if self.days_rewritten < 2:
            return ""
        changed, compared = _changed(self.counts), _compared(self.counts)
        return (
            f"{changed:,} of {counted(compared, 'document')} had been changed on the site,"
            f" {counted(self.days_rewritten, 'day')} in a row."
            " Another installation of tconnectsync, with other settings, seems to write to this site: doses may be there twice,"
            " or at a wrong time. Stop one of the two, or give both the same settings"
        )

    def to_json(self) -> str:
        """Return the state as text for the outbox."""
        return CONVERTER.dumps(self)

    @classmethod
    def from_json(cls, text: str) -> ComparisonState:
        """Return the state of :meth:`to_json`; a new state if the text is corrupt."""
        try:
            return CONVERTER.loads(text or "{}", cls)
        except Exception:  # noqa: BLE001 - whatever is wrong with it, the remedy is the same
            return cls()

    @classmethod
    def load(cls, outbox: Outbox) -> ComparisonState:
        """Return the state that an outbox has stored."""
        return cls.from_json(outbox.values.get(COMPARED))


def _changed(counts: Mapping[str, int]) -> int:
    return sum(counts.get(verdict, 0) for verdict in ("different", "doubled", "orphaned"))


def _compared(counts: Mapping[str, int]) -> int:
    return counts.get("good", 0) + counts.get("missing", 0) + _changed(counts)


def _is_rewritten(counts: Mapping[str, int]) -> bool:
    """Whether more documents are changed than a person edits in a day."""
    return _changed(counts) >= MANY and _changed(counts) >= MANY_SHARE * _compared(counts)


def twice_text(number: int, sink: str) -> str:
    """Return the message about documents of an older bridge that are there beside ours."""
    return (
        f"an older bridge wrote {counted(number, 'document')} for the same events, so these events are there twice."
        f" Stop that bridge, then run `tconnectsync adopt {sink}`"
    )
