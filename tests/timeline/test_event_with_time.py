"""``Event.with_time``."""

from __future__ import annotations

from datetime import datetime, timezone

import attrs

from tconnectsync.events import Event

AT = datetime(2026, 3, 1, 8, tzinfo=timezone.utc)


def test_every_other_field_is_kept() -> None:
    """A field that is added to the envelope later must not get lost on the way to a fold."""
    event = Event(**{field.name: object() for field in attrs.fields(Event)})
    assert event.with_time(AT) == attrs.evolve(event, at=AT)
