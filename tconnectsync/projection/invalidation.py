"""What has to be folded again: intervals with new events, or whose times, pumps or folds are others than before."""

from __future__ import annotations

from collections.abc import Mapping

from tconnectsync.eventlog import EventLog
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.facts import CURSOR_MARK, FINGERPRINT, GAPS, HAND_OVERS, PLACEMENT
from tconnectsync.projection.fold_runner import FoldRunner, interval_of
from tconnectsync.timeline.event_stream import EventStream
from tconnectsync.timeline.stream_timeline import timeline_from_json, timeline_to_json

TOUCHED_AT_ONCE = 20_000


def check_fingerprint(outbox: Outbox, fingerprint: str) -> None:
    """Other folds or options make other documents: fold everything again."""
    if outbox.facts.get(FINGERPRINT) != fingerprint:
        outbox.checkpoints.start_over()
        outbox.facts.put(FINGERPRINT, fingerprint)


def invalidate_retimed(folding: FoldRunner, view: EventStream) -> None:
    """Mark what a changed clock, hand-over or edge of history concerns."""
    outbox = folding.outbox
    known = outbox.facts.get(PLACEMENT.of(view.name))
    now = timeline_to_json(view.timeline)
    if known != now:
        folds = tuple(folding.folds)
        before = timeline_from_json(known) if known else None
        for first, last in view.changed_keys(before):
            low, high = (interval_of(key, numbered=view.numbered) for key in (first, last))
            outbox.checkpoints.invalidate_range(view.name, low, high, folds)
        for first_at, last_at in view.changed_windows(before):
            outbox.checkpoints.invalidate_out_of_range(view.name, first_at, last_at)
        outbox.facts.put(PLACEMENT.of(view.name), now)
    _invalidate_hand_overs(folding, view)


def _invalidate_hand_overs(folding: FoldRunner, view: EventStream) -> None:
    """Where one came, went or moved, its interval is folded again; what follows from it spreads by itself."""
    outbox = folding.outbox
    before = outbox.facts.get(HAND_OVERS.of(view.name))
    now = list(view.hand_overs)
    if now == before:
        return
    for key, _, kind in [*(row for row in before if row not in now), *(row for row in now if row not in before)]:
        interval = interval_of(key, numbered=view.numbered)
        outbox.checkpoints.invalidate(
            [(view.name, interval, name) for name, fold in folding.folds.items() if kind in fold.kinds]
        )
    outbox.facts.put(HAND_OVERS.of(view.name), now)


def recheck_protected(outbox: Outbox, view: EventStream) -> None:
    """What a gap kept from being taken back is judged again when its days were fetched."""
    now = list(view.gaps)
    if now != outbox.facts.get(GAPS.of(view.name)):
        for fold in outbox.documents.recheck_protected(view.name):
            if not outbox.checkpoints.has_invalid(view.name, fold):  # else when it is through
                outbox.documents.retire_unclaimed(fold, view.name, keep=view.gaps)
        outbox.facts.put(GAPS.of(view.name), now)


def invalidate_new(folding: FoldRunner, events: EventLog, views: Mapping[str, EventStream]) -> None:
    """Mark the intervals of what the log holds beyond the cursor, and move the cursor."""
    cursor = folding.outbox.checkpoints.cursor
    by_id = {view.stream.id: view for view in views.values()}
    touched, last = [], cursor
    for position, stream_id, key, kind in events.touched(cursor, limit=TOUCHED_AT_ONCE):
        last = position
        view = by_id[stream_id]
        touched.append((view.name, key, kind, view.numbered))
    if len(touched) < TOUCHED_AT_ONCE:
        last = events.end
    else:
        last -= 1  # a position may have several rows, of which the limit may have cut some
    if last != cursor:
        folding.invalidate_new(touched, cursor=last)
        folding.outbox.facts.put(CURSOR_MARK, events.mark(last) or "")
