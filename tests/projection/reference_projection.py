"""Reference for the incremental run: three folds with long memories, and the documents of one pass over a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs
import msgspec

from tconnectsync import Document, Event, document_id
from tconnectsync.eventlog import EventLog
from tconnectsync.eventlog.codec import EPOCH
from tconnectsync.events import WearBegan
from tconnectsync.plugin.fold import Fold
from tconnectsync.timeline.event_stream import EventStream
from tconnectsync.timeline.resolver import TimelineResolver
from tconnectsync.timeline.zones import Zones

ALL = 1 << 62


def stream_of(event: Event) -> str:
    return f"{event.pump}:{event.source if event.seq is None else event.group}"


@attrs.frozen(kw_only=True)
class ReferenceStretch:
    first: str
    begin: datetime
    last: datetime
    rate: float


@attrs.frozen(kw_only=True)
class WearState:
    worn: bool = True
    running: ReferenceStretch | None = None


@attrs.frozen
class RateFold:
    """Equal rates in a row are one document, while the pump is worn; an hour of silence ends it."""

    words: int
    name = "rates"
    version = 1
    kinds = frozenset({"basal.delivered", "wear.began", "wear.ended"})
    state_type = WearState

    def initial(self) -> WearState:
        return WearState()

    def step(self, state: WearState, event: Event) -> tuple[WearState, Sequence[Document]]:
        assert event.at is not None
        running = state.running
        if event.kind != "basal.delivered":
            return WearState(worn=event.kind == "wear.began"), () if running is None else (
                self._document(running, event),
            )
        if not state.worn:
            return state, ()
        rate = event.body.rate_u_per_h
        near = running is not None and timedelta(0) <= event.at - running.last <= timedelta(hours=1)
        if running is not None and running.rate == rate and near:
            return attrs.evolve(state, running=attrs.evolve(running, last=event.at)), ()
        fresh = attrs.evolve(state, running=ReferenceStretch(first=event.id, begin=event.at, last=event.at, rate=rate))
        return fresh, () if running is None else (self._document(running, event),)

    def running(self, state: WearState) -> Sequence[Document]:
        return () if state.running is None else (self._document(state.running, None),)

    def _document(self, stretch: ReferenceStretch, event: Event | None) -> Document:
        minutes = (stretch.last - stretch.begin).total_seconds() / 60
        pump = stretch.first.split(":")[1]
        content = {"pump": pump, "rate": stretch.rate, "minutes": minutes, "words": self.words}
        content["ended"] = event is not None
        return Document(
            id=document_id("rate", stretch.first),
            collection="things",
            unique_slot="rate",
            at=stretch.begin,
            content=content,
        )


@attrs.frozen(kw_only=True)
class AskedBolus:
    bolus_id: int
    pump: str
    stream: str
    at: datetime


@attrs.frozen(kw_only=True)
class WaitingBolus:
    asked: tuple[AskedBolus, ...] = ()


@attrs.frozen
class ReferenceBolusFold:
    """A request and its completion are one document, however far apart; a request alone is a provisional one."""

    words: int
    name = "boluses"
    version = 1
    kinds = frozenset({"bolus.requested", "bolus.completed"})
    state_type = WaitingBolus

    def initial(self) -> WaitingBolus:
        return WaitingBolus()

    def step(self, state: WaitingBolus, event: Event) -> tuple[WaitingBolus, Sequence[Document]]:
        assert event.at is not None
        mine = AskedBolus(bolus_id=event.body.bolus_id, pump=event.pump, stream=stream_of(event), at=event.at)
        known = next((asked for asked in state.asked if asked.bolus_id == mine.bolus_id), None)
        if event.kind == "bolus.requested":
            return state if known else WaitingBolus(asked=(*state.asked, mine)), ()
        left = tuple(asked for asked in state.asked if asked is not known)
        return WaitingBolus(asked=left), (self._document(known or mine, event.body.delivered_u),)

    def running(self, state: WaitingBolus) -> Sequence[Document]:
        return [self._document(asked, None) for asked in state.asked]

    def _document(self, asked: AskedBolus, delivered_u: float | None) -> Document:
        content = {"pump": asked.pump, "bolus": asked.bolus_id, "delivered": delivered_u, "words": self.words}
        id_ = document_id("bolus", asked.stream, asked.bolus_id)
        return Document(id=id_, collection="things", unique_slot="dose", at=asked.at, content=content)


@attrs.frozen(kw_only=True)
class EmptyState:
    pass


@attrs.frozen
class ReferenceCarbsFold:
    """Every entry is a document of the boluses' slot, so that they get into each other's way."""

    words: int
    name = "carbs"
    version = 1
    kinds = frozenset({"carbs.entered"})
    state_type = EmptyState

    def initial(self) -> EmptyState:
        return EmptyState()

    def step(self, state: EmptyState, event: Event) -> tuple[EmptyState, Sequence[Document]]:
        assert event.at is not None
        content = {"pump": event.pump, "carbs": event.body.carbs_g, "words": self.words}
        id_ = document_id("carbs", event.id)
        return state, [Document(id=id_, collection="things", unique_slot="dose", at=event.at, content=content)]

    def running(self, state: EmptyState) -> Sequence[Document]:
        return ()


def sink_folds(words: int) -> dict[str, Fold[Any]]:
    """The sink as one of its releases words it."""
    return {fold.name: fold for fold in (RateFold(words), ReferenceBolusFold(words), ReferenceCarbsFold(words))}


def document_of_everything(log: EventLog, zones: Zones, folds: Mapping[str, Fold[Any]]) -> dict[str, Document]:
    """What should be there: each fold once over each stream, from its first event to its last."""
    found: dict[str, Document] = {}
    timelines = TimelineResolver(log, zones).resolve()
    for each in log.streams():
        stream = EventStream(log, each, timelines[each.id])
        for fold in folds.values():
            state, made = fold.initial(), {}
            for event in _with_hand_overs(stream, fold.kinds):
                state, finished = fold.step(state, event)
                made.update({document.id: document for document in finished})
            made.update({document.id: document for document in fold.running(state)})
            found.update({id_: document for id_, document in made.items() if stream.in_delivery_window(document.at)})
    taken: dict[tuple[str, datetime], int] = {}
    for id_ in sorted(found):  # of two in one place, the greater id moves by a millisecond
        place = found[id_].unique_slot, found[id_].at
        rank = taken[place] = taken.get(place, -1) + 1
        found[id_] = msgspec.structs.replace(found[id_], at=found[id_].at + timedelta(milliseconds=rank))
    return found


def _with_hand_overs(stream: EventStream, kinds: frozenset[str]) -> list[Event]:
    events = list(stream.read(-ALL, ALL, kinds))
    for first_key, at, kind in stream.hand_overs:
        if kind in kinds:
            place = next(
                (i for i, event in enumerate(events) if _key(event) >= first_key and event.at >= at), len(events)
            )
            events.insert(place, _wear(stream, first_key, at, kind))
    return events


def _key(event: Event) -> int:
    return event.seq if event.seq is not None else (event.pump_time - EPOCH) // timedelta(milliseconds=1)


def _wear(stream: EventStream, key: int, at: datetime, kind: str) -> Event:
    return Event(
        id=f"wear:{stream.name}:{at}", kind=kind, pump=stream.pump, group=stream.group, seq=key if stream.numbered else None,
        pump_time=EPOCH + timedelta(milliseconds=0 if stream.numbered else key), source="timeline", received_at=at, body=WearBegan(), at=at,
    )  # fmt: skip
