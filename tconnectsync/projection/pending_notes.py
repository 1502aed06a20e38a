"""What a sink's folds still miss, as `status` tells it: boluses without an end, a current value that is too old."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta

import attrs

from tconnectsync.text.plural import counted
from tconnectsync.timeline.pump_clock import span_text

WAITED = timedelta(days=1)
"""What a fold waits for is told after this; sooner it is the ordinary course of things."""


@attrs.frozen(kw_only=True)
class PendingNote:
    """``words`` are told once ``since`` (UTC) is longer ago than ``after``. ``current``: it is about a value's age."""

    words: str
    since: datetime
    after: timedelta = WAITED
    current: bool = False

    def text(self, now: datetime) -> str:
        """A sentence, without its full stop."""
        if self.current:
            minutes = round((now - self.since).total_seconds() / 60)
            age = counted(minutes, "minute") if minutes < 120 else span_text(minutes * 60)
            return f"{self.words}: the pump last told it {age} ago"
        return f"{self.words} (since {self.since:%Y-%m-%d %H:%M} UTC)"


def notes_to_json(notes: Iterable[PendingNote]) -> str:
    """As text for the outbox."""
    return json.dumps(
        [[note.words, note.since.isoformat(), note.after.total_seconds(), note.current] for note in notes]
    )


def due_texts(text: str, now: datetime) -> list[str]:
    """The sentences, from :func:`notes_to_json`, that are due at ``now``."""
    notes = [
        PendingNote(words=words, since=datetime.fromisoformat(since), after=timedelta(seconds=after_s), current=current)
        for words, since, after_s, current in json.loads(text or "[]")
    ]
    return [note.text(now) for note in notes if now - note.since > note.after]
