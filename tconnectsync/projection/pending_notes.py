"""What a sink's folds still wait for, as `status` shows it: boluses without an end, a current value that is too old."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from tconnectsync.outbox.stored_values import StoredValue
from tconnectsync.text.durations import exact_span_words
from tconnectsync.text.plural import counted

USUAL_WAIT = timedelta(days=1)
"""A fold often waits for less than this. `status` does not mention it."""


@attrs.frozen(kw_only=True)
class PendingNote:
    """``words`` are shown once ``since`` (UTC) is longer ago than ``after``. ``current``: the note is about a value's age."""

    words: str
    since: datetime
    after: timedelta = USUAL_WAIT
    current: bool = False

    def is_due(self, now: datetime) -> bool:
        """Whether the user should see it at ``now``."""
        return now - self.since > self.after

    def text(self, now: datetime) -> str:
        """Return a sentence without its full stop."""
        if self.current:
            minutes = round((now - self.since).total_seconds() / 60)
            age = counted(minutes, "minute") if minutes < 120 else exact_span_words(minutes * 60)
            return f"{self.words}: the pump last reported it {age} ago"
        return f"{self.words} (since {self.since:%Y-%m-%d %H:%M} UTC)"


NOTES: StoredValue[list[PendingNote]] = StoredValue("notes", list[PendingNote], [])
"""The notes of one sink, stored after each run of its folds."""
