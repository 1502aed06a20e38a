"""Receivers: the interface to an outside system that stores documents, and the values that it takes and returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeAlias, TypeGuard, runtime_checkable

import attrs
import msgspec

from tconnectsync.plugin.fold import Document
from tconnectsync.text.glucose_units import GlucoseUnits, parse_glucose_units


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One document to store, or to delete if ``document`` is None.

    ``receiver_key`` is the receiver's own text from the last time it accepted this document (None: never). It needs it to
    find the old copy. ``in_doubt``: an earlier attempt ended without an answer, so a copy may be there. ``content_hash`` and
    ``row`` (its number in the database, for one attempt) are the outbox's own; empty if the document does not come from an outbox.
    """

    document_id: str
    collection: str
    document: Document | None
    receiver_key: str | None = None
    in_doubt: bool = False
    content_hash: bytes = b""
    row: int = 0


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """The receiver stored or deleted it. ``receiver_key`` comes back with the next delivery of this document."""

    receiver_key: str


class Postponed(msgspec.Struct, frozen=True, kw_only=True):
    """Not now; ``after_s`` is the minimum wait in seconds.

    ``unconfirmed``: the receiver reported success, but does not show the document. If all documents of a sink are
    unconfirmed, delivery stops after a few rounds, because each round may store them again.
    """

    reason: str
    after_s: float | None = None
    unconfirmed: bool = False


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """Never: the document becomes a dead letter with this reason. ``receiver_fault`` as in :class:`tconnectsync.Rejected`."""

    reason: str
    receiver_fault: bool = False
    remedy: str | None = None


Outcome: TypeAlias = Accepted | Postponed | Refused


class StoredDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One stored copy of a document.

    - ``document_id`` is "" for a document of another program. Its ``receiver_key`` is "" too, unless no document of this sink
      with that key could be stored next to it.
    - ``unique_slot`` as in :class:`tconnectsync.plugin.fold.Document`.
    - ``pump``: the serial number, if the copy has one. A copy that no fold makes any more is deleted only if the log knows its
      pump and its time.
    - ``ephemeral``: it expires. It is never missed and never deleted.
    - ``content`` is the copy as it is stored, ``author`` is the other program or person that wrote it.
    """

    document_id: str
    collection: str
    at: datetime
    receiver_key: str
    unique_slot: str = ""
    pump: str = ""
    ephemeral: bool = False
    author: str = ""
    content: Mapping[str, Any] = msgspec.field(default_factory=dict)

    def __repr__(self) -> str:
        """Return it without its content, which is health data."""
        return f"StoredDocument(document_id={self.document_id!r}, collection={self.collection!r}, at={self.at!r})"


@attrs.frozen(kw_only=True)
class FieldDiff:
    """A field in which a stored copy differs from our document. None: the field is missing."""

    field: str
    ours: Any
    theirs: Any


@attrs.frozen(kw_only=True)
class ReceiverConflict:
    """A reason to wait for the user before the first delivery."""

    reason: str
    remedy: str


@attrs.frozen(kw_only=True)
class CheckResult:
    """One line of ``check``: whether it is good, what was tested, and what to do.

    ``upload``, from a source, for the active pump: the UTC time of its newest upload, and the newest time in that upload by
    the pump's own clock (naive). The configured time zone is compared with it.
    """

    good: bool
    what: str
    remedy: str | None = None
    upload: tuple[datetime, datetime] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of ``check --json``: ``good``, ``what``, ``remedy``."""
        return {"good": self.good, "what": self.what, "remedy": self.remedy}


class Receiver(Protocol):
    """An outside system. Any call may raise Retryable or CredentialsRefused; ``deliver`` also Rejected (whole batch)."""

    address: str
    """Names the place, without secrets. If it changes, delivery waits until the user replays the sink."""

    batch_size: int
    """The most deliveries that one call of ``deliver`` takes."""

    def inspect(self, first: datetime, last: datetime) -> ReceiverConflict | None:
        """Before the first delivery: return a conflict if another program stored copies of the same facts."""
        ...

    def deliver(self, batch: Sequence[Delivery]) -> Sequence[Outcome]:
        """Store or delete these, in order, and return one outcome for each. At most about one batch of network requests.

        It may run in another thread than the other methods, but not beside those of a receiver with the same ``address``.
        """
        ...

    def read_back(self, first: datetime, last: datetime) -> Iterator[StoredDocument]:
        """Yield every document of this sink from ``first`` to ``last``. Called once, if the outbox is empty (a lost disk)."""
        ...

    def check(self) -> Iterator[CheckResult]:
        """Test version, permissions and connection, and yield one result each."""
        ...


@runtime_checkable
class SupportsFormerAddress(Protocol):
    """A receiver whose place earlier releases named in another way."""

    former_address: str
    """The same place in the words of earlier releases. It is replaced by ``address`` once, without a question."""


_UNITS_WORD = "glucose_units="


def units_word(units: GlucoseUnits) -> str:
    """Return the word of :meth:`SupportsMemory.memory` that names the receiver's units."""
    return f"{_UNITS_WORD}{units.value}"


def units_in_memory(memory: str) -> GlucoseUnits | None:
    """Return the units that a :func:`units_word` in ``memory`` names; None if there is none."""
    words = (word for word in memory.split() if word.startswith(_UNITS_WORD))
    return next((parse_glucose_units(word.removeprefix(_UNITS_WORD)) for word in words), None)


@runtime_checkable
class SupportsMemory(Protocol):
    """A receiver that learns something about its site and remembers it over a restart."""

    def memory(self) -> str:
        """Return what it learned as words; "" for nothing.

        A :func:`units_word` gives the units in which reports show glucose, if the configuration does not say.
        """
        ...

    def recall(self, memory: str) -> None:
        """Take back the text of :meth:`memory`. Called before the first delivery, comparison or :meth:`SupportsPresence.show`."""
        ...


@runtime_checkable
class SupportsReplay(Protocol):
    """A receiver that stops if what it stored is gone, until the user replays everything."""

    def begin_replay(self) -> None:
        """The user ran ``replay`` for all days, or for a new address: expect nothing at the place. May be called beside ``deliver``."""
        ...


@runtime_checkable
class SupportsPresence(Protocol):
    """A receiver that shows whether the daemon works, also when there is nothing to deliver. For example by a last will.

    Both methods are called from a thread of their own, beside ``deliver``.
    """

    def show(self, problems: Sequence[str]) -> None:
        """The daemon runs, and these are its problems, one line each. Called at its start and then about once a minute."""
        ...

    def leave(self) -> None:
        """The daemon stops, or opens its sinks again with another configuration. Return within a second or two."""
        ...


@runtime_checkable
class SupportsRendering(Protocol):
    """A receiver that can show what it would send. Use :func:`rendered`, which works for every receiver."""

    def rendered(self, document: Document) -> Mapping[str, Any] | Refused:
        """Return what would be sent for this document as JSON values, or why it never can be. Makes no request."""
        ...


def rendered(receiver: Receiver, document: Document) -> Mapping[str, Any] | Refused:
    """Return what ``receiver`` would send for ``document``; by default the content that the fold made."""
    if document.problem is not None:
        return Refused(reason=document.problem)
    if isinstance(receiver, SupportsRendering):
        return receiver.rendered(document)
    return document.content


@attrs.frozen(kw_only=True)
class LegacyMatch:
    """A document of an older bridge. ``same``: one of our documents describes the same fact; None: unknown.

    ``impossible`` (with ``same``): its value is impossible. It is deleted, and none of our documents replaces it.
    """

    stored: StoredDocument
    same: bool | None
    impossible: bool = False


@runtime_checkable
class SupportsAdoption(Protocol):
    """A :class:`ReadableReceiver` that can recognise and remove an older bridge's documents, for ``adopt``."""

    @property
    def adopts(self) -> bool:
        """Whether an older bridge wrote the kinds of facts of this sink."""
        ...

    def recognise_legacy(
        self, documents: Sequence[Document], foreign: Sequence[StoredDocument], claimed: set[str]
    ) -> Sequence[LegacyMatch]:
        """Return which of ``foreign`` an older bridge wrote about the events of this sink. ``foreign`` come from the survey.

        ``documents`` are this sink's own, from two days before to two days after those. ``claimed`` has the identities that
        were matched already, on these days or on others; add the new matches. Leave out the documents of other programs.
        """
        ...

    def remove(self, foreign: Sequence[StoredDocument]) -> None:
        """Delete exactly these, each by the receiver's own name for it. A missing one is no error.

        Raises Retryable also if the receiver reports success but still has some of them.
        """
        ...


def can_adopt(receiver: object) -> TypeGuard[SupportsAdoption]:
    """Whether it recognises and removes an older bridge's documents."""
    return isinstance(receiver, SupportsAdoption) and receiver.adopts


@runtime_checkable
class ReadableReceiver(Protocol):
    """A receiver that can list all stored copies, for ``verify`` and the daily comparison.

    The calls may raise the same errors as those of :class:`Receiver`.
    """

    def shows(self, collection: str) -> bool:
        """Whether the survey lists documents of this collection. Other collections are not compared."""
        ...

    def survey(self, first: datetime, last: datetime) -> Iterator[StoredDocument]:
        """Yield every stored copy from ``first`` to ``last`` (UTC, both inclusive), duplicates and other programs' documents too.

        Leave out the documents of other sinks of this product. It may be slow: others get their turn after every few hundred.
        """
        ...

    def compare(self, document: Document, stored: StoredDocument) -> Sequence[FieldDiff]:
        """Return the differences of a copy from ``document``. Leave out fields that the receiver adds, drops or rewrites."""
        ...
