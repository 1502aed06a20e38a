"""Shows an event as the JSON record that the log stores."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from tconnectsync.eventlog.codec import Codec
from tconnectsync.events import Event


def record_json(event: Event) -> dict[str, Any]:
    """Return the ``rec`` object of the event's line, with its position."""
    codec = _codec()
    draft = codec.draft(event)
    draft.entry.pos = event.pos
    record: dict[str, Any] = json.loads(codec.record(draft))
    return record


@cache
def _codec() -> Codec:
    return Codec()
