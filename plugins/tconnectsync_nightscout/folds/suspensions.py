"""Suspensions and resumptions (records 11, 12) as notes; the basal fold shows them as 0 U/h."""

from __future__ import annotations

from tconnectsync import Document, Event, each, events
from tconnectsync.events.source_record import record_of
from tconnectsync_nightscout.folds.basal_spans import suspension_words
from tconnectsync_nightscout.folds.documents import treatment


@each("pumping.resumed", "pumping.suspended", name="suspension-notes", version=1)
def suspension_notes(event: Event) -> Document:
    """A note with the reason. The Temp Basal shows the length."""
    body, record = event.body, record_of(event)
    notes = suspension_words(body.reason) if isinstance(body, events.PumpingSuspended) else "Delivery resumed"
    return treatment("Note", record, "suspension-note", record.key, fields={"notes": notes})
