"""What a sink author writes: pure folds of events into documents.

A fold has no I/O, no clock but the event's and no memory but its state. The engine runs it incrementally, from checkpoints,
so that late and re-ordered events end in the same documents as one pass (see ``docs/engineering/architecture.md``).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

import attrs

from tconnectsync.events import Event

NAMESPACE = uuid.UUID("b8f7f0f4-6c0b-5d53-9d0e-7a2f9c1d4e60")
"""The UUIDv5 namespace of all document identities. It never changes."""


def document_id(*parts: str | int) -> str:
    """The identity of the document that ``parts`` name: pump, group, what names the fact, role."""
    return str(uuid.uuid5(NAMESPACE, "\x1f".join(str(part) for part in parts)))


@attrs.frozen(kw_only=True)
class Document:
    """Something that an outside system should hold.

    ``id`` comes from :func:`document_id` and never from time or chance. ``at`` is the fact's UTC time with its own
    milliseconds (sequence number mod 1000). ``slot`` names a class of documents of which the receiver can hold only one per
    ``at`` (Nightscout's eventType); the outbox shifts one of two that would collide by a millisecond, so a receiver takes
    the time from ``at``, and ``content`` does not repeat it. ``content`` is JSON-able. ``worth_s``: not worth sending when
    ``at`` is older than this. ``problem``: a value that cannot be; the document is set aside with this reason, never sent.
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
    """Events in, documents out. One fold is one kind of fact, so that its state stays small.

    ``name`` is unique within the sink; raise ``version`` when the same events give other documents. ``kinds`` are the event
    kinds that ``step`` sees, in the pump's own order, each with ``event.at`` set. The ``state`` is a frozen attrs class of
    JSON-able, comparable values (``state_type``; datetimes and tuples of attrs classes are fine).
    """

    name: str
    version: int
    kinds: frozenset[str]
    state_type: type[S]

    def initial(self) -> S:
        """The state before the first event."""
        ...

    def step(self, state: S, event: Event) -> tuple[S, Sequence[Document]]:
        """The state after ``event``, and the documents that are now finished. A finished id is not finished again."""
        ...

    def running(self, state: S) -> Sequence[Document]:
        """Documents of what is still going on; sent too, and replaced when they change or finish."""
        ...
