"""What stands between the outbox and an outside system: takes a batch, answers per document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeAlias, TypeGuard, runtime_checkable

import attrs

from tconnectsync.plugin.fold import Document


@attrs.frozen(kw_only=True)
class Delivery:
    """One thing to do: put ``document``, or, where it is None, take back what is stored under ``stored``.

    ``stored`` is the receiver's own text from the last time it took this document (None: never); it is what the receiver
    needs to find the old copy again. ``unsure``: an earlier attempt ended without an answer, so the document may be there.
    """

    document_id: str
    collection: str
    document: Document | None
    receiver_key: str | None = None
    in_doubt: bool = False


@attrs.frozen(kw_only=True)
class Accepted:
    """The receiver said so. ``stored`` is handed back with the next delivery of this document."""

    receiver_key: str


@attrs.frozen(kw_only=True)
class Postponed:
    """Not now; ``after_s`` is the least wait in seconds.

    ``unconfirmed``: the receiver says that it took it, and nothing that it shows is known as this document. A sink whose
    documents are all so stops after a few rounds, because each round may store them once more.
    """

    reason: str
    after_s: float | None = None
    unconfirmed: bool = False


@attrs.frozen(kw_only=True)
class Refused:
    """Never: the document goes to the dead letters with this reason. ``passing`` as in :class:`tconnectsync.Rejected`."""

    reason: str
    passing: bool = False
    remedy: str | None = None


Outcome: TypeAlias = Accepted | Postponed | Refused


@attrs.frozen(kw_only=True)
class StoredDocument:
    """One stored copy of a document: its identity, our ``stored`` text for it, and its UTC time.

    ``document_id`` is "" for what others wrote; their ``stored`` text is "" too, unless the receiver could not hold a document
    of ours with that text beside it. ``slot`` as in :class:`tconnectsync.plugin.fold.Document`. ``pump``: serial number of the
    pump that it tells of, where it says so: one that is not made any more is taken back only if this log knows its pump and
    its time. ``passing``: of a class that is worth something for a while only, never missed and never taken back afterwards.
    ``content`` is the copy as it is there, ``author`` who wrote it, where others did.
    """

    document_id: str
    collection: str
    at: datetime
    receiver_key: str
    unique_slot: str = ""
    pump: str = ""
    ephemeral: bool = False
    author: str = ""
    content: Mapping[str, Any] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class FieldDiff:
    """A field in which a stored copy differs from our document. None: not there."""

    field: str
    ours: Any
    theirs: Any


@attrs.frozen(kw_only=True)
class SiteConflict:
    """A reason to wait for the user before the first delivery."""

    reason: str
    remedy: str


@attrs.frozen(kw_only=True)
class CheckResult:
    """One line of ``check``: good or bad, what was looked at, and what to do about it.

    ``upload``, from a source and of the pump that is worn: the UTC time of its newest upload, and the newest time in that upload
    by the pump's own clock (naive). The configured zone is held against it.
    """

    good: bool
    what: str
    remedy: str | None = None
    upload: tuple[datetime, datetime] | None = None

    def told(self) -> dict[str, Any]:
        """What is printed: ``good``, ``what``, ``remedy``."""
        return {"good": self.good, "what": self.what, "remedy": self.remedy}


class Receiver(Protocol):
    """An outside system. Any call may raise Retryable or CredentialsRefused; ``deliver`` also Rejected (whole batch)."""

    address: str
    """Names the place (no secrets): when it changes, the sink stops and asks for a replay."""

    batch_size: int
    """The most deliveries that one call of ``deliver`` takes."""

    def inspect(self, first: datetime, last: datetime) -> SiteConflict | None:
        """Before the first delivery ever: is the place inhabited by someone else's copies of the same facts?"""
        ...

    def deliver(self, batch: Sequence[Delivery]) -> Sequence[Outcome]:
        """Do these, in order; one outcome each. At most about one batch of network requests."""
        ...

    def read_back(self, first: datetime, last: datetime) -> Iterator[StoredDocument]:
        """Every document of ours from ``first`` to ``last``: asked once when the outbox is empty (a wiped disk)."""
        ...

    def check(self) -> Iterator[CheckResult]:
        """Version, rights and reachability, by trying them."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """A receiver that learns something about its place that is worth keeping over a restart."""

    def memory(self) -> str:
        """What it learned, as text; "" for nothing."""
        ...

    def recall(self, memory: str) -> None:
        """What it learned before, from :meth:`memory`. Asked once, before the first delivery."""
        ...


@runtime_checkable
class SupportsRender(Protocol):
    """A receiver that can say beforehand what it sends. Not every one can: ask :func:`rendered`."""

    def rendered(self, document: Document) -> Mapping[str, Any] | Refused:
        """What would be sent for this document, JSON-able, or why it never can be. Without any request."""
        ...


def rendered(receiver: Receiver, document: Document) -> Mapping[str, Any] | Refused:
    """What ``receiver`` would send for ``document``; the fold's content where the receiver does not say."""
    if document.problem is not None:
        return Refused(reason=document.problem)
    if isinstance(receiver, SupportsRender):
        return receiver.rendered(document)
    return document.content


@attrs.frozen(kw_only=True)
class LegacyMatch:
    """A document of an older bridge beside ours. ``same``: ours describe the same fact; None: nobody can tell.

    ``impossible`` (with ``same``): it says what cannot be, and goes though nothing of ours takes its place.
    """

    stored: StoredDocument
    same: bool | None
    impossible: bool = False


@runtime_checkable
class SupportsAdoption(Protocol):
    """What a receiver that is :class:`Surveyed` may do besides, for ``adopt``: tell an older bridge's documents, and remove them."""

    @property
    def adopts(self) -> bool:
        """Whether an older bridge wrote of the kinds of facts that this sink tells."""
        ...

    def recognise_older(
        self, documents: Sequence[Document], others: Sequence[StoredDocument], claimed: set[str]
    ) -> Sequence[LegacyMatch]:
        """Which of ``others`` (of the survey, not ours) an older bridge wrote, of the kinds of facts that this sink tells.

        ``documents`` are all of ours from two days before to two days after the others. ``claimed``, which this adds to, holds the
        identities of those whose likeness was found already, in these days or in others. Everybody else's are left out.
        """
        ...

    def remove(self, others: Sequence[StoredDocument]) -> None:
        """Delete exactly these, each by the place's own name for it; one that is gone already is no error.

        Raises Retryable also where the place says that it did so, and holds some of them still.
        """
        ...


def can_adopt(receiver: object) -> TypeGuard[SupportsAdoption]:
    """Whether it tells and removes what an older bridge wrote of its sink's facts."""
    return isinstance(receiver, SupportsAdoption) and receiver.adopts


@runtime_checkable
class ReadableReceiver(Protocol):
    """What a receiver may do besides, so that ``verify`` and the daily comparison can be done: show all that is there.

    One that cannot read back what it wrote leaves it out. The calls may raise as those of :class:`Receiver`.
    """

    def shows(self, collection: str) -> bool:
        """Whether the survey shows documents of this collection: others are not compared."""
        ...

    def survey(self, first: datetime, last: datetime) -> Iterator[StoredDocument]:
        """Every stored copy from ``first`` to ``last`` (UTC, both inclusive): this sink's, two of one document too, and others'.

        Without documents of other sinks of this product. It may be slow: others get their turn after every few hundred.
        """
        ...

    def compare(self, document: Document, stored: StoredDocument) -> Sequence[FieldDiff]:
        """In what a copy differs from ``document``; what the receiver adds, drops or writes in another way is no difference."""
        ...
