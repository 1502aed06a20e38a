"""Announcements: stamp them with the time of sending, and name their age if they are late.

Nightscout alerts only for the newest treatment, and only if it is younger than ten minutes. The fold has no clock, so
it gives the time of the alarm. The receiver stamps the copy that it sends with the current time. Stamp and age are not
part of the document: its identity, content hash and comparison come from the fold.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from tconnectsync import Document, counted

ANNOUNCEMENT = "Announcement"
"""It alerts phones, and expires like a device status; a copy that was sent stays."""
STAMPED_FIELDS = frozenset({"created_at", "notes"})
"""Fields that the receiver changes."""
SILENCE_WORDS = "No pump data since"
"""An announcement that begins like this names a time itself, so its age is not added."""
LATE = timedelta(minutes=2)
"""From this age on, the announcement names its age."""
_SECOND = timedelta(seconds=1)


def with_age(document: Document, now: datetime) -> Document:
    """Return ``document`` as it is sent at ``now``: stamped now, and with its age if it is late."""
    if document.content.get("eventType") != ANNOUNCEMENT or document.at.tzinfo is None:
        return document
    # the milliseconds keep announcements apart; one second earlier, so that the site does not see a future time
    at = (now - _SECOND).replace(microsecond=document.at.microsecond)
    age = now - document.at
    if str(document.content.get("notes", "")).startswith(SILENCE_WORDS):
        return msgspec.structs.replace(document, at=at)
    if age < LATE:
        return msgspec.structs.replace(document, at=max(at, document.at))
    notes = f"{document.content.get('notes', 'Alarm')}, {age_text(age)} ago"
    return msgspec.structs.replace(document, at=at, content={**document.content, "notes": notes})


def age_text(age: timedelta) -> str:
    """``43 minutes``, ``1 hour 5 minutes``."""
    hours, minutes = divmod(round(age / timedelta(minutes=1)), 60)
    return " ".join(counted(number, unit) for number, unit in ((hours, "hour"), (minutes, "minute")) if number)
