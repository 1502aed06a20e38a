"""What the fold tests share: events by the minute, and the laws that every fold keeps."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from cattrs.preconf.json import make_converter

from tconnectsync import Document, Event, Fold, events

KIND_OF = {body: kind for kind, body in events.BODIES.items()}
NOON = datetime(2026, 5, 14, 12, 0, tzinfo=timezone.utc)


def event(body: Any, seconds: float, seq: int | None, *, pump: str = "90556643", group: int | None = 0) -> Event:
    """``body`` as the event that a fold sees, ``seconds`` after noon UTC on a pump that is two hours ahead."""
    at = NOON + timedelta(seconds=seconds)
    return Event(
        id=f"tandem:{pump}:{group}:{seq}" if seq is not None else f"tconnect:{pump}:{seconds}:{KIND_OF[type(body)]}",
        kind=KIND_OF[type(body)],
        pump=pump,
        group=group if seq is not None else None,
        seq=seq,
        pump_time=(at + timedelta(hours=2)).replace(tzinfo=None),
        source="tandem",
        received_at=at,
        body=body,
        at=at,
    )


def timeline(*steps: tuple[float, Any], first_seq: int = 1000) -> list[Event]:
    """(minutes after noon, body) pairs as events, numbered in this order."""
    return [event(body, minute * 60, first_seq + i) for i, (minute, body) in enumerate(steps)]


def final_documents(fold: Fold[Any], world: Sequence[Event]) -> list[Document]:
    """What there is after all events in one pass: the finished documents, then the running ones."""
    state, finished = fold.initial(), []
    for item in world:
        if item.kind in fold.kinds:
            state, documents = fold.step(state, item)
            finished.extend(documents)
    return [*finished, *fold.running(state)]


def keep_laws(fold: Fold[Any], world: Sequence[Event], cuts: Sequence[int] = ()) -> list[Document]:
    """Run ``fold`` over ``world``; at ``cuts`` its state goes through JSON and back. Answers the final documents.

    Holds: no identity is finished twice, or finished and still running; no two documents share type and time; what is
    finished was decided by no more than the events so far; contents are plain JSON.
    """
    converter = make_converter()
    converter.register_unstructure_hook(datetime, datetime.isoformat)
    converter.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
    state, finished = fold.initial(), []
    for number, item in enumerate(world):
        if item.kind not in fold.kinds:
            continue
        if number in cuts:
            text = json.dumps(converter.unstructure(state), allow_nan=False)
            again = converter.structure(json.loads(text), fold.state_type)
            assert again == state
            assert json.dumps(converter.unstructure(again)) == text
            state = again
        state, documents = fold.step(state, item)
        finished.extend(documents)
    running = fold.running(state)
    documents = [*finished, *running]
    identities = [document.id for document in documents]
    assert len(set(identities)) == len(identities)
    for document in documents:
        json.dumps(document.content, allow_nan=False)
        assert not {"created_at", "identifier", "enteredBy"} & document.content.keys()
        assert document.at.tzinfo is not None
    sent = [document for document in documents if document.problem is None]
    places = [(document.collection, document.unique_slot, document.at) for document in sent if document.unique_slot]
    assert len(set(places)) == len(places)
    assert documents == final_documents(fold, world)
    return documents
