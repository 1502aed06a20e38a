"""Run a fold in one pass, from checkpoints, and as the engine does when events arrive late, and compare."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import msgspec

from tconnectsync.events import Event
from tconnectsync.outbox import Outbox
from tconnectsync.plugin.fold import Document, Fold
from tconnectsync.projection.fold_runner import FoldRunner, dump_state, load_state
from tconnectsync.projection.intervals import interval_of, order_key

_FOREVER = datetime(9000, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)


def require(condition: bool, message: str) -> None:
    """Raise AssertionError with ``message``, which works without pytest's assertion rewriting."""
    if not condition:
        raise AssertionError(message)


def final_documents(fold: Fold[Any], events: Sequence[Event]) -> list[Document]:
    """Return what one pass over ``events`` makes: the finished documents, then the running ones."""
    finished: list[Document] = []
    state = fold.initial()
    for event in events:
        if event.kind in fold.kinds:
            state, documents = fold.step(state, event)
            finished.extend(documents)
    return [*finished, *fold.running(state)]


def check_fold(fold: Fold[Any], events: Sequence[Event], cuts: Collection[int] = ()) -> list[Document]:
    """Run ``fold`` over ``events`` and return the final documents. Before the events ``cuts`` the state is saved and loaded.

    Raises AssertionError unless all of this holds:

    - a saved state is loaded as it was, and the documents are those of a run without saving
    - no identity is finished twice, or finished and still running
    - contents are JSON, and times are aware
    """
    finished: list[Document] = []
    state = fold.initial()
    for number, event in enumerate(events):
        if event.kind not in fold.kinds:
            continue
        if number in cuts:
            text = dump_state(state)
            loaded = load_state(fold, text)
            same = loaded == state and dump_state(loaded) == text  # 5 and 5.0 are equal, but not in a document
            require(same, f"a saved state is loaded as another one:\n{state}\n{loaded}")
            state = loaded
        state, documents = fold.step(state, event)
        finished.extend(documents)
    documents = [*finished, *fold.running(state)]
    identities = [document.id for document in documents]
    twice = sorted({identity for identity in identities if identities.count(identity) > 1})
    require(not twice, f"made twice in one run: {twice}")
    for document in documents:
        json.dumps(document.content, allow_nan=False)
        require(document.at.tzinfo is not None, f"a document without a time zone: {document}")
    require(documents == final_documents(fold, events), "a run from saved states makes other documents than one pass")
    return documents


@attrs.define
class _Arrivals:
    """The events that arrived so far, as one stream of the log."""

    numbered: bool
    known: dict[int, Event] = attrs.field(factory=dict)
    name: str = "contract"
    pump: str = "1"
    group: int | None = None
    gaps: Sequence[tuple[int, int]] = ()
    hand_overs: Sequence[tuple[int, datetime, str]] = ()

    def key(self, event: Event) -> int:
        return order_key(event)

    def in_order(self) -> list[Event]:
        return [self.known[key] for key in sorted(self.known)]

    def read(
        self, first_key: int, last_key: int, kinds: frozenset[str], only_times: frozenset[str], *, with_raw: bool
    ) -> Sequence[Event]:
        return [
            _time_alone(event) if self.numbered and event.kind in only_times else _as_read(event, with_raw=with_raw)
            for event in self.in_order()
            if event.kind in kinds | only_times and first_key <= self.key(event) <= last_key
        ]

    def in_delivery_window(self, at: datetime) -> bool:  # noqa: ARG002 - the protocol's signature
        return True


def _as_read(event: Event, *, with_raw: bool) -> Event:
    """What the engine reads of an event for a fold."""
    return event if with_raw or event.kind == "unknown" else msgspec.structs.replace(event, raw=None)


def _time_alone(event: Event) -> Event:
    """What the index knows of an event: see :class:`tconnectsync.NeedsOnlyTimes`."""
    return Event(
        id="", kind=event.kind, pump=event.pump, group=event.group, seq=event.seq, pump_time=event.pump_time, source="",
        received_at=datetime.min.replace(tzinfo=timezone.utc), body=None, at=event.at,
    )  # fmt: skip


def check_arrival(fold: Fold[Any], batches: Sequence[Sequence[Event]], *, replay: bool = False) -> None:
    """Let events of one pump arrive in ``batches``, some late or twice, and compare with one pass in the pump's order.

    This is the engine's own incremental run, with its checkpoints. With ``replay`` everything is folded again at the end.
    Raises AssertionError if the fold raises, or if the documents differ.
    """
    known = {event.id: event for batch in batches for event in batch}
    stream = _Arrivals(numbered=all(event.seq is not None for event in known.values()))
    with TemporaryDirectory() as folder, closing(Outbox(Path(folder) / "outbox.sqlite")) as outbox:
        runner = FoldRunner(outbox, {fold.name: fold})
        for batch in [*batches, *([list(known.values())] if replay else [])]:
            stream.known.update({stream.key(event): event for event in batch})
            with outbox.transaction():
                touched = [
                    (stream.name, interval_of(stream.key(event), numbered=stream.numbered), event.kind)
                    for event in batch
                ]
                runner.invalidate_new(touched, cursor=len(stream.known))
                while runner.fold_next(lambda _name: stream):
                    pass
            for error in runner.blocked.values():
                raise AssertionError(f"the fold raised: {error}") from error.__cause__
        made = {
            delivery.document_id: (delivery.document.at, delivery.document.content)
            for delivery in outbox.queue.pending(_FOREVER, 1_000_000)
            if delivery.document is not None
        }
        made |= {letter.id: (letter.at, letter.content) for letter in outbox.dead_letters.all()}
    expected = {document.id: document for document in final_documents(fold, stream.in_order())}
    require(made.keys() == expected.keys(), f"other documents than in one pass: {made.keys() ^ expected.keys()}")
    for identity, document in expected.items():
        at, content = made[identity]
        # of two documents in one slot and time, the outbox moves one by a millisecond
        moved, most = at - document.at, timedelta(seconds=1 if document.unique_slot else 0)
        require(-_MILLISECOND < moved <= most, f"another time than in one pass: {at} for {document}")
        require(content == json.loads(json.dumps(document.content)), f"another content: {content} for {document}")
