"""Fakes for the engine's tests: a fold with running and finished documents, a stream in memory, receivers that fail."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import attrs
import msgspec

from tconnectsync import (
    Accepted,
    Delivery,
    Document,
    Event,
    FieldDiff,
    Outcome,
    Postponed,
    ReceiverConflict,
    Refused,
    Rejected,
    Retryable,
    document_id,
)
from tconnectsync.events import BasalDelivered
from tconnectsync.plugin.receiver import CheckResult, StoredDocument

START = datetime(2026, 3, 1, tzinfo=timezone.utc)


def event(seq: int, minute: int, rate: float, *, group: int = 0, pump: str = "1") -> Event:
    at = START + timedelta(minutes=minute)
    return Event(
        id=f"test:{pump}:{group}:{seq}", kind="basal.delivered", pump=pump, group=group, seq=seq,
        pump_time=at.replace(tzinfo=None), source="test", received_at=at, body=BasalDelivered(rate_u_per_h=rate), at=at,
    )  # fmt: skip


@attrs.frozen(kw_only=True)
class Stretch:
    first: int
    begin: datetime
    last: datetime
    rate: float


@attrs.frozen(kw_only=True)
class State:
    running: Stretch | None = None


class StretchFold:
    """Consecutive equal rates are one document; a silence of more than an hour ends it."""

    name = "stretches"
    version = 1
    kinds = frozenset({"basal.delivered"})
    state_type = State

    def initial(self) -> State:
        return State()

    def step(self, state: State, event: Event) -> tuple[State, Sequence[Document]]:
        assert event.at is not None
        assert event.seq is not None
        running, rate = state.running, event.body.rate_u_per_h
        if running is not None and running.rate == rate and event.at - running.last <= timedelta(hours=1):
            return State(running=attrs.evolve(running, last=event.at)), ()
        fresh = State(running=Stretch(first=event.seq, begin=event.at, last=event.at, rate=rate))
        return fresh, () if running is None else (_document(running),)

    def running(self, state: State) -> Sequence[Document]:
        return () if state.running is None else (_document(state.running),)


def _document(stretch: Stretch) -> Document:
    minutes = (stretch.last - stretch.begin).total_seconds() / 60
    return Document(
        id=document_id("stretch", stretch.first), collection="things", unique_slot="stretch", at=stretch.begin,
        content={"rate": stretch.rate, "minutes": minutes},
    )  # fmt: skip


def one_pass(events: Sequence[Event]) -> dict[str, Document]:
    """The documents that should be there in the end."""
    fold, found = StretchFold(), {}
    state = fold.initial()
    for known in sorted(events, key=lambda known: known.seq or 0):
        state, finished = fold.step(state, known)
        found.update({document.id: document for document in finished})
    found.update({document.id: document for document in fold.running(state)})
    by_time: dict[datetime, int] = {}
    for id_ in sorted(found):  # of two at one time, the greater id moves by a millisecond
        document = found[id_]
        rank = by_time.get(document.at, 0)
        by_time[document.at] = rank + 1
        found[id_] = msgspec.structs.replace(document, at=document.at + timedelta(milliseconds=rank))
    return found


@attrs.define
class MemoryStream:
    """A stream of the log, in a list."""

    known: dict[int, Event] = attrs.field(factory=dict)
    name: str = "1:0"
    pump: str = "1"
    group: int | None = 0
    numbered: bool = True
    gaps: tuple[tuple[int, int], ...] = ()
    hand_overs: tuple[tuple[int, datetime, str], ...] = ()
    horizon: datetime | None = None

    def read(
        self, first_key: int, last_key: int, kinds: frozenset[str], only_times: frozenset[str], *, with_raw: bool
    ) -> list[Event]:
        return [
            self.known[key]
            for key in sorted(self.known)
            if first_key <= key <= last_key and self.known[key].kind in kinds | only_times
        ]

    def wear(self) -> tuple[tuple[int, datetime, str], ...]:
        return self.hand_overs

    def in_delivery_window(self, at: datetime) -> bool:
        return self.horizon is None or at >= self.horizon


@attrs.define
class FakeReceiver:
    """A receiver that keeps documents by identity and fails at random."""

    rng: random.Random = attrs.field(factory=lambda: random.Random(0))
    trouble: float = 0.0
    address: str = "shelf://one"
    batch_size: int = 7
    there: dict[str, Document] = attrs.field(factory=dict)
    poison: frozenset[str] = frozenset()
    hold: ReceiverConflict | None = None
    refuse_all: bool = False
    pump_of: dict[str, str] = attrs.field(factory=dict)
    calls: int = 0
    trouble_delivering: Exception | None = None

    def inspect(self, first: datetime, last: datetime) -> ReceiverConflict | None:
        return self.hold

    def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        self.calls += 1
        if self.trouble_delivering is not None:
            raise self.trouble_delivering
        if self.refuse_all:
            return [Refused(reason="nothing is taken here") for _ in batch]
        bad = self.rng.random() < self.trouble
        if bad and self.rng.random() < 0.3:
            raise Retryable("not reached", in_doubt=False)
        if any(delivery.document_id in self.poison for delivery in batch):
            if len(batch) == 1:
                return [Refused(reason="poison")]
            raise Rejected("somewhere in here")
        outcomes: list[Outcome] = []
        for delivery in batch:
            if bad and self.rng.random() < 0.2:
                outcomes.append(Postponed(reason="busy", after_s=0.0))
                continue
            if delivery.document is None:
                self.there.pop(delivery.document_id, None)
            else:
                self.there[delivery.document_id] = delivery.document
            outcomes.append(Accepted(receiver_key="here"))
        if bad and self.rng.random() < 0.5:
            raise Retryable("no answer came", in_doubt=True)
        return outcomes

    def read_back(self, first: datetime, last: datetime) -> Iterator[StoredDocument]:
        for document in self.there.values():
            yield StoredDocument(
                document_id=document.id,
                collection=document.collection,
                at=document.at,
                receiver_key="here",
                pump=self.pump_of.get(document.id, "1"),
            )

    def check(self) -> Iterator[CheckResult]:
        yield CheckResult(good=True, what="shelf")


@attrs.define
class ReadableFakeReceiver(FakeReceiver):
    """A receiver that can be read. In addition to our documents, it may have second copies and other programs' documents."""

    beside: list[StoredDocument] = attrs.field(factory=list)
    trouble_reading: Exception | None = None
    surveys: int = 0

    def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        outcomes = FakeReceiver.deliver(self, batch)
        looked_for = {each.document_id for each in batch if each.in_doubt or each.document is None}
        self.beside = [copy for copy in self.beside if copy.document_id not in looked_for]
        return outcomes

    def copy_of(self, document: Document, **changes: Any) -> StoredDocument:
        copy = StoredDocument(
            document_id=document.id, collection=document.collection, at=document.at, receiver_key="here", unique_slot=document.unique_slot,
            pump=self.pump_of.get(document.id, "1"), content=document.content, ephemeral=document.unique_slot == "ephemeral",
        )  # fmt: skip
        return msgspec.structs.replace(copy, **changes)

    def read_back(self, first: datetime, last: datetime) -> Iterator[StoredDocument]:
        yield from map(self.copy_of, list(self.there.values()))

    def shows(self, collection: str) -> bool:
        return True

    def survey(self, first: datetime, last: datetime) -> Iterator[StoredDocument]:
        self.surveys += 1
        if self.trouble_reading is not None:
            raise self.trouble_reading
        for copy in [*(self.copy_of(document) for document in self.there.values()), *self.beside]:
            if first <= copy.at <= last:
                yield copy

    def compare(self, document: Document, stored: StoredDocument) -> list[FieldDiff]:
        ours, theirs = ({"at": known.at, **known.content} for known in (document, stored))
        return [
            FieldDiff(field=name, ours=ours.get(name), theirs=theirs.get(name))
            for name in sorted(ours.keys() | theirs.keys())
            if ours.get(name) != theirs.get(name)
        ]
