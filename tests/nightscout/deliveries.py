"""Sample deliveries for receiver tests, and a minimal sender that treats a receiver as the outbox does."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from tconnectsync import Accepted, Delivery, Document, Outcome, Rejected, Retryable, document_id
from tconnectsync_nightscout.delivery.receiver import NightscoutReceiver
from tests.nightscout.stub_site import NOW


def minutes(number: float) -> datetime:
    return NOW + timedelta(minutes=number, milliseconds=123)


START = minutes(0)


def put(
    name: object,
    at: datetime = START,
    *,
    collection: str = "treatments",
    stored: str | None = None,
    in_doubt: bool = False,
    problem: str | None = None,
    **content: Any,
) -> Delivery:
    identity = document_id("test", str(name))
    if collection == "treatments":
        content = {"eventType": "Bolus", "insulin": 1.0, **content}
    document = Document(id=identity, collection=collection, at=at, content=content, problem=problem)
    return Delivery(
        document_id=identity, collection=collection, document=document, receiver_key=stored, in_doubt=in_doubt
    )


def take_back(name: object, stored: str | None, *, collection: str = "treatments", in_doubt: bool = False) -> Delivery:
    identity = document_id("test", str(name))
    return Delivery(document_id=identity, collection=collection, document=None, receiver_key=stored, in_doubt=in_doubt)


def taken(outcomes: object) -> list[str]:
    assert isinstance(outcomes, list)
    assert all(isinstance(outcome, Accepted) for outcome in outcomes), outcomes
    return [outcome.receiver_key for outcome in outcomes]


_places = st.tuples(st.integers(0, 4), st.sampled_from(["Bolus", "Note"]))
_troubles = st.sampled_from(["", "", "", "before", "after", "after", "500", "null"])
rounds = st.lists(
    st.tuples(
        st.dictionaries(st.integers(0, 3), st.one_of(_places, _places, _places, st.none()), min_size=1),
        _troubles,
        st.integers(1, 6),
        st.sampled_from(["", "", "", "upgrade", "hours pass"]),
    ),
    min_size=2,
    max_size=8,
)


class DirectSender:
    """What an outbox does with a receiver, and nothing more."""

    def __init__(self, receiver: NightscoutReceiver) -> None:
        self.receiver = receiver
        self.wanted: dict[str, Document] = {}
        self.sent: dict[str, Document] = {}
        self.receiver_key: dict[str, str] = {}
        self.in_doubt: set[str] = set()

    def want(self, name: int, slot: int, event_type: str, revision: int) -> None:
        document = put(name, minutes(slot), eventType=event_type, revision=revision).document
        assert document is not None
        key = (document.at, event_type)
        if all((other.at, other.content["eventType"]) != key for other in self.wanted.values()):
            self.wanted[document.id] = document

    def pending(self) -> list[Delivery]:
        names = sorted(self.wanted.keys() | self.sent.keys() | self.in_doubt)
        found = [
            Delivery(
                document_id=name,
                collection="treatments",
                document=self.wanted.get(name),
                receiver_key=self.receiver_key.get(name),
                in_doubt=name in self.in_doubt,
            )
            for name in names
            if self.wanted.get(name) != self.sent.get(name) or name in self.in_doubt
        ]
        return [delivery for delivery in found if delivery.document is None] or found

    def deliver(self, limit: int) -> None:
        batch = self.pending()[:limit]
        before = set(self.in_doubt)
        self.in_doubt |= {delivery.document_id for delivery in batch}
        try:
            outcomes: list[Outcome] = list(self.receiver.deliver(batch)) if batch else []
        except Rejected:
            return
        except Retryable as error:
            if not error.in_doubt:
                self.in_doubt = before
            return
        for delivery, outcome in zip(batch, outcomes, strict=True):
            assert isinstance(outcome, Accepted)
            self.in_doubt.discard(delivery.document_id)
            if delivery.document is None:
                self.sent.pop(delivery.document_id, None)
                self.receiver_key.pop(delivery.document_id, None)
            else:
                self.sent[delivery.document_id] = delivery.document
                self.receiver_key[delivery.document_id] = outcome.receiver_key
