"""What a row says, before it is known of which pump."""

from __future__ import annotations

from datetime import datetime

import attrs

from tconnectsync.events import Body


@attrs.frozen(kw_only=True)
class RowEvent:
    """``name`` is what the event's id ends with; ``at`` is the wearer's wall clock, naive."""

    name: str
    kind: str
    at: datetime
    body: Body
