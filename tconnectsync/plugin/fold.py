"""Folds: pure functions of events into documents, which a sink author writes.

A fold has no I/O, no clock but the times of events, and no memory but its state. The engine runs it from checkpoints, so that
late and re-ordered events give the same documents as one pass (see ``docs/engineering/architecture.md``).
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar, runtime_checkable

import msgspec

from tconnectsync.events import Event

NAMESPACE = uuid.UUID("b8f7f0f4-6c0b-5d53-9d0e-7a2f9c1d4e60")
"""The UUIDv5 namespace of all document identities. It never changes."""
_NAMESPACE_BYTES = NAMESPACE.bytes


def document_id(*parts: str | int) -> str:
    """Return the identity of the document that ``parts`` name: the event's id, or pump, group and number, and the role."""
    name = "\x1f".join([str(part) for part in parts])
    digest = hashlib.sha1(_NAMESPACE_BYTES + name.encode(), usedforsecurity=False).hexdigest()
    # a UUIDv5 as uuid.uuid5 makes it, in a third of the time: every event has one or several
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """Something that an outside system should store. ``msgspec.structs.replace`` returns a changed copy.

    - ``id`` comes from :func:`document_id`, never from the current time or chance.
    - ``at`` is the UTC time of the fact. ``content`` has JSON values.
    - ``unique_slot`` names a class of documents of which the receiver can store only one for each ``at`` (Nightscout's
      eventType). The outbox moves one of two by a millisecond, so a receiver takes the time from ``at``.
    - ``ttl_s``: the document expires so many seconds after ``at``.
    - ``problem``: the value is impossible. The document becomes a dead letter with this reason and is never sent.
    """

    id: str
    collection: str
    at: datetime
    content: Mapping[str, Any]
    unique_slot: str = ""
    ttl_s: float | None = None
    problem: str | None = None


S = TypeVar("S")


class Fold(Protocol[S]):
    """Events in, documents out. Write one fold for each kind of fact, so that its state stays small.

    ``name`` is unique within the sink. Raise ``version`` when the same events give other documents. ``step`` sees the event
    ``kinds`` in the pump's own order, each with ``event.at`` set. The state (``state_type``) is a frozen attrs class
    or msgspec struct of comparable JSON values; datetimes and tuples of such classes are allowed.
    """

    name: str
    version: int
    kinds: frozenset[str]
    state_type: type[S]

    def initial(self) -> S:
        """Return the state before the first event."""
        ...

    def step(self, state: S, event: Event) -> tuple[S, Sequence[Document]]:
        """Return the state after ``event``, and the documents that are now finished. No id is finished twice."""
        ...

    def running(self, state: S) -> Sequence[Document]:
        """Return the documents that can still change. They are delivered too, and replaced when they change or finish."""
        ...


@runtime_checkable
class ReportsPending(Protocol):
    """An optional part of a fold: it reports what it still waits for."""

    def waiting(self, state: Any) -> Sequence[tuple[str, datetime]]:
        """Return what it waits for, in words, each with the UTC time since when."""
        ...


@runtime_checkable
class NeedsOnlyTimes(Protocol):
    """An optional part of a fold: of some of its ``kinds`` it uses only when an event happened, such as a sign of life.

    Their events may come with ``kind``, ``pump``, ``group``, ``seq``, ``pump_time`` and ``at`` alone, because only the index is
    read for them: no ``id``, ``body`` or ``raw``, and ``source``, ``received_at``, ``decoder`` and ``pos`` mean nothing.
    """

    only_times: frozenset[str]


def times_of(fold: Fold[Any]) -> frozenset[str]:
    """Return the kinds of which ``fold`` uses only the times; by default none."""
    found: frozenset[str] = getattr(fold, "only_times", frozenset())  # a third of the time of isinstance
    return found


@runtime_checkable
class SentOnce(Protocol):
    """An optional part of a fold: its documents with a ``ttl_s`` are notifications, so a replay never sends them again.

    In other folds, documents with a ``ttl_s`` are current values: a replay sends them again, and `status` reports a missing one.
    """

    sent_once: bool


@runtime_checkable
class HasTitle(Protocol):
    """An optional part of a fold: the name that `status` shows in "no current TITLE"."""

    title: str


def title_of(fold: Fold[Any]) -> str:
    """Return the fold's title; by default its name."""
    return fold.title if isinstance(fold, HasTitle) else fold.name
