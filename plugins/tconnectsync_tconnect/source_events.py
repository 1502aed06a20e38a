"""Events of the source: the rows' facts, and the uploads."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tconnectsync import Event, events
from tconnectsync.events.source_facts import unnumbered_event, utc_text
from tconnectsync_tconnect.rows.decoder import DECODER
from tconnectsync_tconnect.rows.provenance import ProvenancedRow

SOURCE = "tconnect"


def event_of(one: ProvenancedRow, pump: str, received_at: datetime) -> Event:
    """Return a pump's fact as an event."""
    fact = one.fact
    return unnumbered_event(
        SOURCE, pump, fact.name, fact.kind, fact.body,
        received_at=received_at, pump_time=fact.at, raw=one.raw, decoder=DECODER,
    )  # fmt: skip


def upload_seen(pump: str, index: Mapping[str, Any], now: datetime) -> Event:
    """``upload.seen``: a new upload since the last poll. The time of the upload itself is unknown."""
    body = events.UploadSeen(uploaded_at=now)
    name, at = f"upload:{index['maxPumpEventIndex']}:{utc_text(now)}", now.replace(tzinfo=None, microsecond=0)
    return unnumbered_event(SOURCE, pump, name, "upload.seen", body, received_at=now, pump_time=at, raw=index)
