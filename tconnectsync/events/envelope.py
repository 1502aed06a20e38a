"""The envelope around one body: the event's source, time, and place in the pump's order."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

Body: TypeAlias = Any
"""An instance of one of the classes in :data:`tconnectsync.events.BODIES`."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One fact that the pump reported, as the log stores it. ``msgspec.structs.replace`` returns a changed copy.

    - ``seq``: the pump's sequence number within ``group``; None if the source has no numbers, and then ``pump_time`` gives the
      order and ``id`` the identity.
    - ``pump_time``: the pump's wall clock, naive on purpose.
    - ``raw``: the vendor's record, unchanged. A fold gets it only with events of kind ``unknown``.
    - ``pos``: the position in the log; 0: not stored yet.
    - ``at``: the UTC time by the timeline, set only on events that a fold gets.
    """

    id: str
    kind: str
    pump: str
    group: int | None
    seq: int | None
    pump_time: datetime
    source: str
    received_at: datetime
    body: Body
    raw: Mapping[str, Any] | None = None
    decoder: int = 1
    pos: int = 0
    at: datetime | None = None
