"""A record as JSON values, the way it stands in the log."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from tconnectsync.eventlog.codec import Codec
from tconnectsync.events import Event


def record_of(event: Event) -> dict[str, Any]:
    """The ``rec`` of ``event``'s line, its position included."""
    codec = _codec()
    draft = codec.draft(event)
    draft.entry.pos = event.pos
    record: dict[str, Any] = json.loads(codec.record(draft))
    return record


@cache
def _codec() -> Codec:
    return Codec()
