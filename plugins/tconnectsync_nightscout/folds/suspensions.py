"""Delivery stopped and resumed (records 11, 12) as notes; the basal fold draws the same as 0 U/h."""

from __future__ import annotations

from tconnectsync import Document, Event, each, events
from tconnectsync_nightscout.folds.documents import mark_of, treatment
from tconnectsync_nightscout.folds.stretches import suspension_words


@each("pumping.resumed", "pumping.suspended", name="suspension-notes", version=1)
def suspension_notes(event: Event) -> Document:
    """A Note each, with the reason. The Temp Basal shows how long it lasts."""
    body, mark = event.body, mark_of(event)
    notes = suspension_words(body.reason) if isinstance(body, events.PumpingSuspended) else "Delivery resumed"
    return treatment("Note", mark, "suspension-note", mark.key, fields={"notes": notes})
