"""The contract for sinks refuses small sinks with mistakes that would show a wrong dose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import attrs
import pytest

from tconnectsync import (
    Accepted,
    BaseReceiver,
    Delivery,
    Document,
    Event,
    Outcome,
    Sink,
    StoredDocument,
    document_id,
    each,
)
from tconnectsync.testing import SinkContract


@each("bolus.completed", "bolus.delivered", name="doses")
def doses(event: Event) -> Document:
    assert event.at is not None
    return Document(
        id=document_id(event.id), collection="doses", at=event.at, content={"insulin": event.body.delivered_u}
    )


@attrs.define
class NamingPlace(BaseReceiver):
    """An outside system that names each new copy itself, and so needs care after an attempt without an answer."""

    address = "place"
    copies: dict[str, StoredDocument] = attrs.field(factory=dict)
    made: int = 0

    def deliver(self, batch: Sequence[Delivery]) -> Sequence[Outcome]:
        return [Accepted(receiver_key=self.deliver_one(each_one)) for each_one in batch]

    def deliver_one(self, delivery: Delivery) -> str:
        for key in self.old_copies(delivery):
            self.copies.pop(key, None)
        return "" if delivery.document is None else self.insert(delivery.document)

    def old_copies(self, delivery: Delivery) -> list[str]:
        known = [] if delivery.receiver_key is None else [delivery.receiver_key]
        return [*known, *self.found(delivery)] if delivery.in_doubt else known

    def found(self, delivery: Delivery) -> list[str]:
        return [key for key, copy in self.copies.items() if copy.document_id == delivery.document_id]

    def insert(self, document: Document) -> str:
        self.made += 1
        self.copies[str(self.made)] = StoredDocument(
            document_id=document.id, collection=document.collection, at=document.at,
            receiver_key=str(self.made), content=document.content,
        )  # fmt: skip
        return str(self.made)

    def read_back(self, first: datetime, last: datetime) -> Iterator[StoredDocument]:
        return (copy for copy in list(self.copies.values()) if first <= copy.at <= last)


class IgnoresDoubt(NamingPlace):
    def found(self, delivery: Delivery) -> list[str]:
        return []


class LeavesGhosts(NamingPlace):
    """Looks for an old copy only if it stores a new one."""

    def found(self, delivery: Delivery) -> list[str]:
        return super().found(delivery) if delivery.document is not None else []


class KnowsEqualCopiesOnly(NamingPlace):
    def found(self, delivery: Delivery) -> list[str]:
        content = None if delivery.document is None else delivery.document.content
        return [key for key in super().found(delivery) if content in (None, self.copies[key].content)]


class KeepsOldContent(NamingPlace):
    def deliver_one(self, delivery: Delivery) -> str:
        if delivery.document is not None and (found := NamingPlace.found(self, delivery)):
            return found[0]
        return super().deliver_one(delivery)


class OfPlace(SinkContract):
    place: type[NamingPlace] = NamingPlace

    @contextmanager
    def open_sink(self, folder: Path) -> Iterator[Sink]:
        yield Sink(folds=[doses], receiver=self.place())


class TestCarefulPlace(OfPlace):
    """The place without a mistake keeps the contract."""


CAUGHT: tuple[tuple[type[NamingPlace], str, Callable[[OfPlace, Sink, Path], None]], ...] = (
    (IgnoresDoubt, "stored twice", lambda suite, sink, _: suite.test_delivering_twice(sink)),
    (LeavesGhosts, "left something", lambda suite, sink, _: suite.test_withdrawal(sink, True)),
    (KnowsEqualCopiesOnly, "stored twice", lambda suite, _, folder: suite.test_other_content(folder, True)),
    (KeepsOldContent, "not stored as", lambda suite, _, folder: suite.test_other_content(folder, False)),
)


@pytest.mark.parametrize(("place", "complaint", "check"), CAUGHT, ids=lambda value: getattr(value, "__name__", ""))
def test_a_careless_place_is_caught(
    place: type[NamingPlace], complaint: str, check: Callable[[OfPlace, Sink, Path], None], tmp_path: Path
) -> None:
    suite = OfPlace()
    suite.place = place
    with suite.open_sink(tmp_path) as sink, pytest.raises(AssertionError, match=complaint):
        check(suite, sink, tmp_path)
