"""A record as JSON values, the way it stands in the log."""

from __future__ import annotations

import json
from typing import Any

from tconnectsync.eventlog.codec import Codec
from tconnectsync.events import Event


def record_of(event: Event) -> dict[str, Any]:
    """The ``rec`` of ``event``'s line, its position included."""
    codec = Codec(None)
    _, body, kind = codec.draft(event)
    record: dict[str, Any] = json.loads(codec.record(event, event.pos, kind, body))
    return record
