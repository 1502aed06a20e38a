"""What the fold tests share: events by the minute, and the laws that every Nightscout fold keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tconnectsync import Document, Event, Fold
from tconnectsync.testing import check_fold, final_documents
from tconnectsync.testing import make_event as event
from tconnectsync.testing.events import NOON

__all__ = ["NOON", "event", "final_documents", "keep_laws", "timeline"]


def timeline(*steps: tuple[float, Any], first_seq: int = 1000) -> list[Event]:
    """(minutes after noon, body) pairs as events, numbered in this order."""
    return [event(body, minute * 60, first_seq + i) for i, (minute, body) in enumerate(steps)]


def keep_laws(fold: Fold[Any], world: Sequence[Event], cuts: Sequence[int] = ()) -> list[Document]:
    """Run ``fold`` as :func:`tconnectsync.testing.check_fold` does, and return the final documents.

    Nightscout keeps one treatment for each type and time: no two documents share both. The receiver adds some fields. Only
    fingersticks share a time if two were typed in one second: the outbox moves one of them.
    """
    documents = check_fold(fold, world, cuts)
    for document in documents:
        assert not {"created_at", "identifier", "enteredBy"} & document.content.keys()
    sent = [document for document in documents if document.problem is None]
    places = [
        (document.collection, document.unique_slot, document.at)
        for document in sent
        if document.unique_slot not in ("", "mbg")
    ]
    assert len(set(places)) == len(places)
    return documents
