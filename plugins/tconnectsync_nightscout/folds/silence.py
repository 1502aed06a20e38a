"""An announcement that no pump data came: planned for the future after each event, and withdrawn by the next one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import attrs
import msgspec

from tconnectsync import Document, Event, events
from tconnectsync.events.source_record import SourceRecord, record_of
from tconnectsync_nightscout.delivery.announcement_age import SILENCE_WORDS
from tconnectsync_nightscout.folds.documents import stamp, treatment

SENT_BEFORE = timedelta(minutes=5)
"""The outbox sends a document this time before its own. Silence must not be announced early."""


class SilenceState(msgspec.Struct, frozen=True, kw_only=True):
    """The newest event, the time that the pump showed, and whether the pump is worn."""

    newest: SourceRecord | None = None
    pump_time: str = ""
    worn: bool = True


@attrs.frozen(kw_only=True)
class SilenceFold:
    """One unfinished announcement for ``after`` from the newest event on. A fold has no clock, but the outbox has.

    Its identity is the newest event's: with the next event it is another one, and the one that was sent is deleted.
    """

    after: timedelta

    name = "silence"
    version = 1
    kinds = events.PUMP_KINDS | {"wear.began", "wear.ended"}
    only_times = events.PUMP_KINDS
    state_type = SilenceState

    def initial(self) -> SilenceState:
        """No data yet: nothing to announce."""
        return SilenceState()

    def step(self, state: SilenceState, event: Event) -> tuple[SilenceState, Sequence[Document]]:
        """Return the newest event."""
        if isinstance(event.body, events.WearBegan | events.WearEnded):
            return msgspec.structs.replace(state, worn=isinstance(event.body, events.WearBegan)), ()
        record = record_of(event)
        if state.newest is not None and record.at < state.newest.at:
            return state, ()
        return msgspec.structs.replace(state, newest=record, pump_time=f"{event.pump_time:%H:%M}"), ()

    def running(self, state: SilenceState) -> Sequence[Document]:
        """Return the announcement, while this pump is worn."""
        if state.newest is None or not state.worn:
            return ()
        fields = {"notes": f"{SILENCE_WORDS} {state.pump_time}", "isAnnouncement": True}
        at = stamp(state.newest.at, state.newest.seq) + self.after + SENT_BEFORE
        return (treatment("Announcement", state.newest, "silence", state.newest.key, fields=fields, at=at),)
