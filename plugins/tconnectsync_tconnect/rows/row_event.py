"""A fact from a row, before its pump is known."""

from __future__ import annotations

from datetime import datetime

import attrs

from tconnectsync.events import Body


@attrs.frozen(kw_only=True)
class RowEvent:
    """``name`` is the end of the event's id; ``at`` is the user's wall clock, naive."""

    name: str
    kind: str
    at: datetime
    body: Body
