"""Sites that speak Nightscout's API and keep documents in their own way: nothing is posted again and again, nothing is doubled."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import attrs
import pytest

from tconnectsync import Document, Retryable, Secret, StoredDocument, document_id, units_in_memory
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.sender import Sender
from tconnectsync.outbox.stored_values import RECEIVER_MEMORY
from tconnectsync_nightscout.api.client import NightscoutClient, header_of
from tconnectsync_nightscout.api.document_format import moment_of
from tconnectsync_nightscout.delivery.receiver import NightscoutReceiver
from tests.nightscout.deliveries import minutes, put
from tests.nightscout.stub_site import NOW, SECRET, StubFault, StubSite, running
from tests.support.clocks import FakeClock

SINK = "nightscout-treatments"


@attrs.frozen(kw_only=True)
class SiteBehaviour:
    """``keeps``: of our marks, these; ``own``: writes an identifier of its own; ``answer``: what a POST is answered with."""

    keeps: frozenset[str] = frozenset({"enteredBy"})
    own: bool = False
    uuids: bool = False
    answer: str = "stored"
    offset: bool = False
    """Writes times with ``+00:00``."""


MARKS = frozenset({"identifier", "syncIdentifier", "enteredBy", "sink"})
MANNERS = {
    "keeps syncIdentifier": SiteBehaviour(keeps=frozenset({"syncIdentifier", "enteredBy"})),
    "keeps neither": SiteBehaviour(),
    "has UUIDs for _id": SiteBehaviour(uuids=True),
    "writes an identifier of its own": SiteBehaviour(own=True, keeps=frozenset({"syncIdentifier", "enteredBy"})),
    "writes times in another way": SiteBehaviour(offset=True),
    "keeps syncIdentifier and answers with an empty list": SiteBehaviour(
        answer="[]", keeps=frozenset({"syncIdentifier", "enteredBy"})
    ),
    "keeps neither and answers with an empty list": SiteBehaviour(answer="[]"),
    "keeps our identifier and answers with nothing": SiteBehaviour(answer="", keeps=MARKS),
    "answers with a count": SiteBehaviour(answer="{}"),
}


class CompatibleSite(StubSite):
    """Stores everything that it is sent, twice if it is sent twice, and keeps only some of its fields."""

    def __init__(self, manner: SiteBehaviour) -> None:
        super().__init__("15.0.7")
        self.manner = manner
        self.judge = self._judge

    def _store(self, collection: str, document: dict[str, Any]) -> dict[str, Any]:
        for name in MARKS - self.manner.keeps:
            document.pop(name, None)
        if self.manner.own:
            document["identifier"] = str(uuid.uuid4())
        if self.manner.offset:
            document["created_at"] = document["created_at"].replace("Z", "+00:00")
        document["_id"] = str(uuid.uuid4()) if self.manner.uuids else self._new_id()
        self.receiver_key[collection].append(document)
        return dict(document)

    def _meets(self, document: Mapping[str, Any], name: str, value: str) -> bool:
        plain = {**document, "created_at": document["created_at"].replace("+00:00", "Z")}
        return super()._meets(plain, name, value)

    def _judge(self, request: Any) -> StubFault | None:
        if request.method != "POST" or self.manner.answer == "stored":
            return None
        self.serve(request)
        if self.manner.answer:
            return StubFault(status=200, body=self.manner.answer.encode())
        return StubFault(status=201, body=b"")


@pytest.mark.parametrize(
    "told",
    [
        "2026-11-20T08:15:30.250Z", "2026-11-20T08:15:30.2500000Z", "2026-11-20T08:15:30.25Z", "2026-11-20 08:15:30.250999z",
        "2026-11-20T10:15:30.250+02:00", "2026-11-20T10:15:30.250+0200", "2026-11-20T10:15:30.250+02", 1795162530250,
        1795162530250.0,
    ],
)  # fmt: skip
def test_a_time_is_read_however_a_site_writes_it(told: object) -> None:
    assert moment_of(told) == datetime(2026, 11, 20, 8, 15, 30, 250_000, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "told", [None, "", "2026-11-20T08:15:30", "2026-11-20", "20 Nov 2026", True, 0, 1795162530, 1e300, float("nan"), {}]
)
def test_what_may_be_another_time_is_none(told: object) -> None:
    assert moment_of(told) is None


@pytest.fixture
def clock() -> FakeClock:
    """A moving clock."""
    return FakeClock(NOW)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """An empty outbox."""
    outbox = Outbox(tmp_path / "sink.sqlite")
    yield outbox
    outbox.close()


def receiver_of(site: StubSite, clock: FakeClock) -> NightscoutReceiver:
    client = NightscoutClient(url=site.url, key=header_of(Secret(SECRET), None), clock=clock)
    return NightscoutReceiver(client, sink=SINK, collections=("treatments", "activity", "devicestatus"))


def want(outbox: Outbox, *documents: Document) -> None:
    with outbox.transaction():
        for known in documents:
            outbox.documents.upsert(known, "fold", "1:0", 0)


def deliver(outbox: Outbox, site: StubSite, clock: FakeClock) -> None:
    """Act as a daemon does in an hour, with another process each time."""
    for _ in range(6):
        clock.advance(seconds=600)
        receiver = receiver_of(site, clock)
        sender = Sender(outbox, receiver)
        try:
            while sender.send_next(clock.now()):
                pass
        except Retryable:
            assert not sender.is_unconfirmed()
        finally:
            receiver.client.close()


def basal(number: int, duration: float, *, shift: float = 0.0, collection: str = "treatments") -> Document:
    kind = {"eventType": "Temp Basal"} if collection == "treatments" else {}
    document = put(number, minutes(-5 * number + shift), collection=collection, duration=duration, **kind).document
    assert document is not None
    return document


def shown(site: StubSite, collection: str = "treatments") -> list[tuple[str, float]]:
    return sorted(
        (item["created_at"].replace("+00:00", "Z"), item["duration"]) for item in site.receiver_key[collection]
    )


@pytest.mark.parametrize("manner", MANNERS.values(), ids=MANNERS)
def test_document_once_through_changes(outbox: Outbox, clock: FakeClock, manner: SiteBehaviour) -> None:
    """Each document is there once, also when it grows, moves or is deleted."""
    with running(CompatibleSite(manner)) as site:
        want(outbox, *(basal(number, 5.0) for number in range(30)))
        deliver(outbox, site, clock)
        assert len(site.requests_of("POST")) <= 3
        assert len(shown(site)) == 30
        for growth in range(1, 4):
            want(outbox, basal(0, 5.0 + growth))
            deliver(outbox, site, clock)
        want(outbox, basal(1, 5.0, shift=2.0))
        deliver(outbox, site, clock)
        with outbox.transaction():
            outbox.documents.mark_unclaimed([basal(2, 5.0).id])
            outbox.documents.retire_unclaimed("fold", "1:0")
        deliver(outbox, site, clock)
        wanted = [basal(0, 8.0), basal(1, 5.0, shift=2.0), *(basal(number, 5.0) for number in range(3, 30))]
        assert [duration for _, duration in shown(site)] == [
            document.content["duration"] for document in sorted(wanted, key=lambda document: document.at)
        ]
        assert outbox.queue.waiting(clock.now()) == 0
        assert len(site.requests_of("POST")) <= 12


@pytest.mark.parametrize("collection", ["activity", "devicestatus"])
@pytest.mark.parametrize("manner", MANNERS.values(), ids=MANNERS)
def test_keyless_document_replaced(outbox: Outbox, clock: FakeClock, manner: SiteBehaviour, collection: str) -> None:
    """A document without a key is replaced, not doubled."""
    with running(CompatibleSite(manner)) as site:
        for value in range(4):
            want(outbox, basal(0, float(value), shift=value, collection=collection))
            deliver(outbox, site, clock)
        assert [duration for _, duration in shown(site, collection)] == [3.0]
        assert len(site.requests_of("POST")) <= 6


@pytest.mark.parametrize("manner", ["keeps syncIdentifier", "keeps neither"])
def test_lost_answer_on_compatible_site(outbox: Outbox, clock: FakeClock, manner: str) -> None:
    """A lost answer doubles nothing."""
    with running(CompatibleSite(MANNERS[manner])) as site:
        want(outbox, basal(9, 5.0))
        deliver(outbox, site, clock)
        site.fail("POST", "treatments", StubFault(broken="after"), times=2)
        want(outbox, *(basal(number, 5.0) for number in range(3)))
        deliver(outbox, site, clock)
        assert len(shown(site)) == 4


def test_others_documents_not_ours(outbox: Outbox, clock: FakeClock) -> None:
    """Other programs' documents never count as ours.

    They have the same time and type; one of ours belongs to another identity.
    """
    with running(CompatibleSite(MANNERS["keeps neither"])) as site:
        ours = basal(0, 5.0)
        want(outbox, ours)
        deliver(outbox, site, clock)
        fields = {name: value for name, value in site.receiver_key["treatments"][0].items() if name != "_id"}
        others = [
            site.add("treatments", **{**fields, "enteredBy": "Loop"}),
            site.add("treatments", **fields, identifier=document_id("another", "sink")),
        ]
        with outbox.transaction():
            outbox.documents.mark_unclaimed([ours.id])
            outbox.documents.retire_unclaimed("fold", "1:0")
        deliver(outbox, site, clock)
        assert site.receiver_key["treatments"] == others


def test_site_shows_nothing_of_ours(outbox: Outbox, clock: FakeClock) -> None:
    """A site that shows none of our documents stops the sink."""
    with running(CompatibleSite(SiteBehaviour(keeps=frozenset(), answer="[]"))) as site:
        want(outbox, *(basal(number, 5.0) for number in range(30)))
        sender = None
        for _ in range(3):
            clock.advance(seconds=600)
            receiver = receiver_of(site, clock)
            sender = Sender(outbox, receiver)
            with pytest.raises(Retryable, match="no such document") as told:
                sender.send_next(clock.now())
            receiver.client.close()
            assert site.url in told.value.message
        assert sender is not None
        assert sender.is_unconfirmed()
        assert len(site.requests_of("POST")) == 3


def test_document_kept_without_identifier(outbox: Outbox, clock: FakeClock) -> None:
    """A document that is kept without our identifier is not reported as missing."""
    with running(CompatibleSite(MANNERS["keeps neither"])) as site:
        want(outbox, basal(0, 5.0))
        deliver(outbox, site, clock)
        again = receiver_of(site, clock)
        again.recall(outbox.values.get(RECEIVER_MEMORY))
        assert not again.shows("treatments")
        assert again.shows("devicestatus")
        found: list[StoredDocument] = list(again.survey(minutes(-60), minutes(60)))
        assert found == []
        again.client.close()


def test_site_id_remembered_if_needed(outbox: Outbox, clock: FakeClock) -> None:
    """A site's own id of a document is remembered only if it keeps no identifier of ours."""
    for manner, expected in (("keeps neither", True), ("keeps our identifier and answers with nothing", False)):
        with running(CompatibleSite(MANNERS[manner])) as site:
            receiver = receiver_of(site, clock)
            (outcome,) = receiver.deliver([put("a")])
            receiver.client.close()
        assert ("_id" in json.loads(getattr(outcome, "receiver_key", "{}"))) is expected


def test_units_of_the_site_are_remembered(outbox: Outbox, clock: FakeClock) -> None:
    """The site's units are kept for reports, also by a process that has not asked the site."""
    with running(CompatibleSite(MANNERS["keeps neither"])) as site:
        receiver = receiver_of(site, clock)
        assert units_in_memory(receiver.memory()) is None
        receiver.client.status()
        memory = receiver.memory()
        receiver.client.close()
        again = receiver_of(site, clock)
        again.recall(memory)
        assert again.memory() == memory
        again.client.close()
    assert memory.split()[-1] in ("glucose_units=mg/dl", "glucose_units=mmol")
