"""Folds the new part of the event log into one sink's outbox, a slice at a time."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping
from datetime import datetime

import attrs

from tconnectsync.clock import Clock
from tconnectsync.errors import LogCorrupt
from tconnectsync.eventlog import EventLog
from tconnectsync.health.states import HealthState
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.stored_values import CURSOR_CHECKSUM, READ_BACK, REWRITES_ALLOWED, ReadBack
from tconnectsync.projection.fold_runner import FoldRunner
from tconnectsync.projection.invalidation import (
    check_fingerprint,
    invalidate_new,
    invalidate_retimed,
    recheck_protected,
)
from tconnectsync.projection.pending_notes import NOTES
from tconnectsync.runtime.sink_health import SinkHealth, outbox_failure
from tconnectsync.text.plural import counted
from tconnectsync.timeline.event_stream import EventStream

log = logging.getLogger("tconnectsync.sinks")
SLICE_S = 0.5
"""The maximum duration of one slice of folding, so that other sinks and sources get their turn."""


@attrs.define
class SinkFolding:
    """The folding side of one sink. ``fingerprint`` stands for its folds and options: another one folds everything again."""

    name: str
    fingerprint: str
    fold_runner: FoldRunner
    events: EventLog
    clock: Clock
    health: SinkHealth
    rewrite_limit: int
    """The number of old documents (delivered more than two days ago) that may change without the user's consent."""
    delivery_begin: datetime | None = None
    """The earliest time whose documents are delivered; None: not known yet, or unlimited."""
    _seen_version: int = -1

    @property
    def outbox(self) -> Outbox:
        return self.fold_runner.outbox

    def has_cursor_of_log(self) -> bool:
        """Whether the cursor belongs to this log: not after a restored backup, or if the disk lost the end of the log."""
        cursor = self.outbox.checkpoints.cursor
        if cursor > self.events.end:
            return False
        try:
            return self.outbox.values.get(CURSOR_CHECKSUM) in ("", self.events.checksum_at(cursor))
        except LogCorrupt:
            return True  # the fold that needs the corrupt part will report it
        except sqlite3.DatabaseError:
            self.events.discard_corrupt_index()
            raise

    def is_behind(self) -> bool:
        """Whether the log has events that are not folded yet."""
        if self.outbox.checkpoints.cursor < self.events.end:
            return True
        return self.outbox.checkpoints.first_invalid(except_for=self.fold_runner.blocked) is not None

    def fold(self, streams: Mapping[str, EventStream], *, version: int) -> bool:
        """Fold one slice. Return True while there is more to do. ``version`` changes with the streams."""
        if not self.is_behind() and version == self._seen_version:
            return False
        if self.health.state is HealthState.WAITING and self.health.is_postponed():
            return False
        try:
            self._fold_slice(streams, retimed=version != self._seen_version)
        except LogCorrupt as error:
            self.health.set(HealthState.DAMAGED, error.message, remedy=error.remedy)
            return False
        except sqlite3.OperationalError as error:
            message, remedy = outbox_failure(self.outbox.path, error)
            self.health.set(HealthState.WAITING, message, remedy=remedy, wait_s=60.0)
            return False
        self._seen_version = version
        more = self.is_behind()
        if not more:
            self._check_rewrites()
        return more

    def _fold_slice(self, streams: Mapping[str, EventStream], *, retimed: bool) -> None:
        until = self.clock.monotonic() + SLICE_S
        with self.outbox.transaction(durable=False):  # what a power cut undoes is folded again
            check_fingerprint(self.outbox, self.fingerprint)
            if retimed:
                begins = [stream.delivery_begin for stream in streams.values()]
                self.delivery_begin = min((begin for begin in begins if begin is not None), default=None)
                for stream in streams.values():
                    invalidate_retimed(self.fold_runner, stream)
            invalidate_new(self.fold_runner, self.events, streams)
            while self.fold_runner.fold_next(streams.get) and self.clock.monotonic() < until:
                pass
            done = not self.is_behind()
            for stream in streams.values() if done else ():
                recheck_protected(self.outbox, stream)
            self.outbox.queue.expire(self.clock.now())
            if done and not self.is_behind():
                self._write_notes(streams)

    def _write_notes(self, streams: Mapping[str, EventStream]) -> None:
        try:
            self.outbox.values.put(NOTES, self.fold_runner.notes(streams))
        except sqlite3.Error:
            raise
        except Exception:
            # the border to a plugin: a failed note must not stop the sink
            log.exception("notes_failed sink=%s", self.name)

    def _check_rewrites(self) -> None:
        """Pause the delivery if too many old documents would change; lift the pause once they would not."""
        if self.health.state in (HealthState.HALTED, HealthState.REFUSED):
            return
        rewrites = self.outbox.queue.rewrites(self.clock.now())
        if rewrites > self.rewrite_limit and not self.outbox.values.get(REWRITES_ALLOWED):
            self.health.set(
                HealthState.BRAKED,
                f"{counted(rewrites, 'document')} delivered more than two days ago would be changed or deleted"
                f" (limit {self.rewrite_limit:,}): delivery is paused until you confirm",
                remedy=f"Look with `tconnectsync sync --dry-run`, then run `tconnectsync resume {self.name}`.",
            )
        elif (
            self.health.state in (HealthState.BRAKED, HealthState.DAMAGED, HealthState.WAITING)
            or self.fold_runner.blocked
        ):
            self.health.recover()

    def resolve_unclaimed(
        self, streams: Mapping[str, EventStream], *, is_current: Callable[[datetime | None], bool]
    ) -> bool:
        """Withdraw documents that were read back and that no fold makes; True if that was done.

        It is done only if all events are fetched (``is_current``) and folded, and not for a pump some of whose times are unknown. If another machine also delivers here, it may have
        newer data, so everything must be fetched once more first.
        """
        outbox = self.outbox
        found = outbox.values.get(READ_BACK)
        if found is not None and found.since is not None and found.since > self.clock.now():  # the clock was ahead
            found = ReadBack(since=self.clock.now())
            outbox.values.put(READ_BACK, found)
        if found is None or self.fold_runner.blocked or self.is_behind() or not is_current(found.since):
            return False
        waiting = {stream.pump for stream in streams.values() if stream.has_unknown_times}
        with outbox.transaction():
            count = outbox.found.resolve(
                lambda pump, at: (
                    pump not in waiting
                    and any(stream.pump == pump and stream.in_delivery_window(at) for stream in streams.values())
                ),
                keep=[gap for stream in streams.values() for gap in stream.gaps],
            )
            outbox.values.forget(READ_BACK)
        if count:
            log.info("unclaimed_documents_withdrawn sink=%s count=%d", self.name, count)
        self._check_rewrites()
        return True

    def fold_all_streams_again(self) -> None:
        """Fold everything again, because the outbox is new."""
        self.fold_runner.blocked.clear()
        self._seen_version = -1
