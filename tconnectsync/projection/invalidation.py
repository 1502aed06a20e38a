"""Invalidates intervals: those with new events, and those whose times, pump or folds changed."""

from __future__ import annotations

from collections.abc import Mapping

from tconnectsync.eventlog import EventLog
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.stored_values import CURSOR_CHECKSUM, FINGERPRINT, GAPS, HAND_OVERS, PLACEMENT
from tconnectsync.projection.fold_runner import FoldRunner
from tconnectsync.projection.intervals import NUMBERED_INTERVAL, UNNUMBERED_INTERVAL, interval_of
from tconnectsync.timeline.event_stream import EventStream
from tconnectsync.timeline.stream_timeline import timeline_from_json, timeline_to_json

TOUCHED_AT_ONCE = 100_000
"""Positions of one slice."""


def check_fingerprint(outbox: Outbox, fingerprint: str) -> None:
    """Fold everything again if the sink's folds or options changed: they can give other documents."""
    if outbox.values.get(FINGERPRINT) != fingerprint:
        outbox.checkpoints.start_over()
        outbox.values.put(FINGERPRINT, fingerprint)


def invalidate_retimed(fold_runner: FoldRunner, stream: EventStream) -> None:
    """Invalidate what a changed clock, a changed hand-over or a changed delivery window affects."""
    outbox = fold_runner.outbox
    known = outbox.values.get(PLACEMENT.of(stream.name))
    now = timeline_to_json(stream.timeline)
    if known != now:
        folds = tuple(fold_runner.folds)
        before = timeline_from_json(known) if known else None
        for first, last in stream.changed_keys(before):
            low, high = (interval_of(key, numbered=stream.numbered) for key in (first, last))
            outbox.checkpoints.invalidate_range(stream.name, low, high, folds)
        for first_at, last_at in stream.changed_windows(before):
            outbox.checkpoints.invalidate_times(stream.name, first_at, last_at)
        outbox.values.put(PLACEMENT.of(stream.name), now)
    _invalidate_hand_overs(fold_runner, stream)


def _invalidate_hand_overs(fold_runner: FoldRunner, stream: EventStream) -> None:
    """Invalidate the interval of each hand-over that was added, removed or moved. Later intervals follow if its state changes."""
    outbox = fold_runner.outbox
    before = outbox.values.get(HAND_OVERS.of(stream.name))
    now = list(stream.hand_overs)
    if now == before:
        return
    for key, _, kind in [*(row for row in before if row not in now), *(row for row in now if row not in before)]:
        interval = interval_of(key, numbered=stream.numbered)
        outbox.checkpoints.invalidate(
            [(stream.name, interval, name) for name, fold in fold_runner.folds.items() if kind in fold.kinds]
        )
    outbox.values.put(HAND_OVERS.of(stream.name), now)


def recheck_protected(outbox: Outbox, stream: EventStream) -> None:
    """Once the days of a gap are fetched again, withdraw the documents that only the gap protected."""
    now = list(stream.gaps)
    if now != outbox.values.get(GAPS.of(stream.name)):
        for fold in outbox.documents.recheck_protected(stream.name):
            if not outbox.checkpoints.has_invalid(stream.name, fold):  # else it is done after the last interval
                outbox.documents.retire_unclaimed(fold, stream.name, keep=stream.gaps)
        outbox.values.put(GAPS.of(stream.name), now)


def invalidate_new(fold_runner: FoldRunner, events: EventLog, streams: Mapping[str, EventStream]) -> None:
    """Invalidate the intervals of the events after the cursor, and move the cursor."""
    cursor = fold_runner.outbox.checkpoints.cursor
    names = {stream.id: stream.name for stream in streams.values()}
    kinds = frozenset[str]().union(*(fold.kinds for fold in fold_runner.folds.values()))
    last = min(events.end, cursor + TOUCHED_AT_ONCE)
    if last > cursor:
        touched = events.touched_intervals(
            cursor, last, kinds, numbered_width=NUMBERED_INTERVAL, unnumbered_width=UNNUMBERED_INTERVAL
        )
        fold_runner.invalidate_new(((names[id_], interval, kind) for id_, interval, kind in touched), cursor=last)
        fold_runner.outbox.values.put(CURSOR_CHECKSUM, events.checksum_at(last) or "")
