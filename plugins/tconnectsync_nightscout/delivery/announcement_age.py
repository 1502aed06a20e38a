"""An announcement on its way to a site, which rings only for its newest treatment, and only if that is younger than ten minutes.

The fold has no clock: it says when the alarm was. The receiver says how long ago that is, and stamps it with now. Neither is
part of what the document says: identity, content hash and comparison are those of the fold's document.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from tconnectsync import Document, counted

ANNOUNCEMENT = "Announcement"
"""It rings phones, and lapses like a device status; what was sent of it stays."""
TOLD_LATE = frozenset({"created_at", "notes"})
"""What the receiver changes."""
LATE = timedelta(minutes=2)
"""From this age on it is told."""
_SECOND = timedelta(seconds=1)


def with_its_age(document: Document, now: datetime) -> Document:
    """``document`` as it is to be sent at ``now``: an announcement is stamped now, and a late one says its age."""
    if document.content.get("eventType") != ANNOUNCEMENT or document.at.tzinfo is None:
        return document
    # its own milliseconds keep it apart from others; the second before, so that it does not lie in the site's future
    at = (now - _SECOND).replace(microsecond=document.at.microsecond)
    age = now - document.at
    if age < LATE:
        return attrs.evolve(document, at=max(at, document.at))
    notes = f"{document.content.get('notes', 'Alarm')}, {age_words(age)} ago"
    return attrs.evolve(document, at=at, content={**document.content, "notes": notes})


def age_words(age: timedelta) -> str:
    """``43 minutes``, ``1 hour 5 minutes``."""
    hours, minutes = divmod(round(age / timedelta(minutes=1)), 60)
    return " ".join(counted(number, unit) for number, unit in ((hours, "hour"), (minutes, "minute")) if number)
