"""Invalidates intervals: those with new events, and those whose times, pump or folds changed."""

from __future__ import annotations

from collections.abc import Mapping

from tconnectsync.eventlog import EventLog
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.stored_values import CURSOR_CHECKSUM, FINGERPRINT, GAPS, HAND_OVERS, PLACEMENT
from tconnectsync.projection.fold_runner import FoldRunner, interval_of
from tconnectsync.timeline.event_stream import EventStream
from tconnectsync.timeline.stream_timeline import timeline_from_json, timeline_to_json

TOUCHED_AT_ONCE = 20_000


def check_fingerprint(outbox: Outbox, fingerprint: str) -> None:
    """Fold everything again if the sink's folds or options changed: they can give other documents."""
    if outbox.values.get(FINGERPRINT) != fingerprint:
        outbox.checkpoints.start_over()
        outbox.values.put(FINGERPRINT, fingerprint)


def invalidate_retimed(fold_runner: FoldRunner, view: EventStream) -> None:
    """Invalidate what a changed clock, a changed hand-over or a changed delivery window affects."""
    outbox = fold_runner.outbox
    known = outbox.values.get(PLACEMENT.of(view.name))
    now = timeline_to_json(view.timeline)
    if known != now:
        folds = tuple(fold_runner.folds)
        before = timeline_from_json(known) if known else None
        for first, last in view.changed_keys(before):
            low, high = (interval_of(key, numbered=view.numbered) for key in (first, last))
            outbox.checkpoints.invalidate_range(view.name, low, high, folds)
        for first_at, last_at in view.changed_windows(before):
            outbox.checkpoints.invalidate_out_of_range(view.name, first_at, last_at)
        outbox.values.put(PLACEMENT.of(view.name), now)
    _invalidate_hand_overs(fold_runner, view)


def _invalidate_hand_overs(fold_runner: FoldRunner, view: EventStream) -> None:
    """Invalidate the interval of each hand-over that was added, removed or moved. Later intervals follow if its state changes."""
    outbox = fold_runner.outbox
    before = outbox.values.get(HAND_OVERS.of(view.name))
    now = list(view.hand_overs)
    if now == before:
        return
    for key, _, kind in [*(row for row in before if row not in now), *(row for row in now if row not in before)]:
        interval = interval_of(key, numbered=view.numbered)
        outbox.checkpoints.invalidate(
            [(view.name, interval, name) for name, fold in fold_runner.folds.items() if kind in fold.kinds]
        )
    outbox.values.put(HAND_OVERS.of(view.name), now)


def recheck_protected(outbox: Outbox, view: EventStream) -> None:
    """Once the days of a gap are fetched again, withdraw the documents that only the gap protected."""
    now = list(view.gaps)
    if now != outbox.values.get(GAPS.of(view.name)):
        for fold in outbox.documents.recheck_protected(view.name):
            if not outbox.checkpoints.has_invalid(view.name, fold):  # else it is done after the last interval
                outbox.documents.retire_unclaimed(fold, view.name, keep=view.gaps)
        outbox.values.put(GAPS.of(view.name), now)


def invalidate_new(fold_runner: FoldRunner, events: EventLog, views: Mapping[str, EventStream]) -> None:
    """Invalidate the intervals of the events after the cursor, and move the cursor."""
    cursor = fold_runner.outbox.checkpoints.cursor
    by_id = {view.stream.id: (view.name, view.numbered) for view in views.values()}
    touched, last = [], cursor
    for position, stream_id, key, kind in events.touched(cursor, limit=TOUCHED_AT_ONCE):
        last = position
        name, numbered = by_id[stream_id]
        touched.append((name, key, kind, numbered))
    if len(touched) < TOUCHED_AT_ONCE:
        last = events.end
    else:
        last -= 1  # a position may have several rows, and the limit may have cut off some
    if last != cursor:
        fold_runner.invalidate_new(touched, cursor=last)
        fold_runner.outbox.values.put(CURSOR_CHECKSUM, events.checksum_at(last) or "")
