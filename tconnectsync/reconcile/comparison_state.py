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


@attrs.frozen(kw_only=True)
class ComparisonState:
    """The stored result of the last comparison: end time (UTC), counts, earliest time of the next one, and the last failure."""

    at: datetime | None = None
    not_before: RememberedDeadline | None = None
    failures: int = 0
    problem: str = attrs.field(default="", metadata={"json": "trouble"})
    counts: Mapping[str, int] = attrs.field(factory=dict)

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


def twice_text(number: int, sink: str) -> str:
    """Return the message about documents of an older bridge that are there beside ours."""
    return (
        f"an older bridge wrote {counted(number, 'document')} for the same events, so these events are there twice."
        f" Stop that bridge, then run `tconnectsync adopt {sink}`"
    )
