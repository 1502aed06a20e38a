"""A source and a sink that cost almost nothing: numbered carbs from one HTTP address, posted to another.

The receiver on the other side replaces a document that has the same id, as Nightscout does. It counts each POST that
finds one there: its sender did not know that it had been sent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import requests

from tconnectsync import (
    Accepted,
    BaseReceiver,
    Batch,
    CheckResult,
    Context,
    Delivery,
    Document,
    Event,
    History,
    Outcome,
    Retryable,
    Secret,
    Sink,
    SinkSpec,
    SourceSpec,
    StoredDocument,
    document_id,
    each,
    events,
    hookimpl,
    option,
    waiting,
)

FIRST = datetime.fromisoformat(Path(__file__).with_name("first").read_text())
"""The time of number 0. A second later each."""
TIMEOUT_S = 20.0
CONNECTIONS = requests.Session()
"""Connections stay open, so that a request costs the worker little."""
CONNECTIONS.trust_env = False


@attrs.frozen(kw_only=True)
class Options:
    """Where the person's numbers are, and the password."""

    url: str = option(help="address")
    password: Secret = option(help="password")


def request_json(method: str, url: str, **arguments: Any) -> Any:
    """The JSON of an answer. Errors: Retryable."""
    try:
        headers = {"User-Agent": f"process {os.getpid()}"}
        with waiting():
            answer = CONNECTIONS.request(method, url, timeout=TIMEOUT_S, headers=headers, **arguments)
        answer.raise_for_status()
        return answer.json()
    except requests.RequestException as error:
        raise Retryable(f"no answer from {url}", in_doubt=True) from error


@attrs.frozen
class NumberSource:
    """The source: everything after the last number in the log, ten at a time."""

    options: Options
    context: Context
    decoder: int = 1

    def poll(self, history: History) -> Iterator[Batch]:
        newest = history.facts("carbs.entered", limit=1)
        after = newest[0].seq or 0 if newest else 0
        while True:
            self.context.pace()
            numbers = request_json("GET", f"{self.options.url}/numbers", params={"after": after})
            if not numbers:
                return
            after = numbers[-1]
            yield Batch(events=[self._event(number) for number in numbers])

    def backfill(self, history: History, first: date, last: date) -> Iterator[Batch]:
        yield Batch(events=[self._event(number) for number in request_json("GET", f"{self.options.url}/numbers")])

    def decode(self, raw: Mapping[str, Any]) -> tuple[str, events.Body]:
        return "carbs.entered", events.CarbsEntered(carbs_g=float(raw["number"] % 90))

    def check(self) -> Iterator[CheckResult]:
        yield CheckResult(good=True, what="numbers")

    def _event(self, number: int) -> Event:
        kind, body = self.decode({"number": number})
        at = FIRST + timedelta(seconds=number)
        return Event(
            id=f"light:{number}", kind=kind, pump="1", group=0, seq=number, pump_time=at.replace(tzinfo=None),
            source="light", received_at=self.context.clock.now(), body=body, raw={"number": number},
        )  # fmt: skip


@each("carbs.entered", name="light-carbs", version=1)
def carbs(event: Event) -> Document:
    content = {"seq": event.seq, "carbs_g": event.body.carbs_g}
    return Document(id=document_id(event.id, "carbs"), collection="carbs", at=event.at, content=content)


class Posts(BaseReceiver):
    """The receiver. It posts; only a document in doubt is looked up before."""

    batch_size = 5

    def __init__(self, options: Options) -> None:
        self.options, self.address = options, options.url

    def deliver(self, batch: Sequence[Delivery]) -> Sequence[Outcome]:
        doubtful = [item.document_id for item in batch if item.in_doubt]
        stored = request_json("POST", f"{self.options.url}/find", json=doubtful) if doubtful else []
        bodies: dict[str, list[Any]] = {"DELETE": [], "PUT": [], "POST": []}
        for item in batch:
            if item.document is None:
                bodies["DELETE"].append(item.document_id)
            else:
                known = item.receiver_key is not None or item.document_id in stored
                bodies["PUT" if known else "POST"].append({"id": item.document_id, **item.document.content})
        for method, documents in bodies.items():
            if documents:
                request_json(method, f"{self.options.url}/documents", json=documents)
        return [Accepted(receiver_key=item.document_id) for item in batch]

    def read_back(self, first: datetime, last: datetime) -> Iterator[StoredDocument]:
        after = int((first - FIRST).total_seconds()) - 1
        while page := request_json("GET", f"{self.options.url}/documents", params={"after": after}):
            after = page[-1]["seq"]
            for document in page:
                at = FIRST + timedelta(seconds=document["seq"])
                if first <= at < last:
                    yield StoredDocument(
                        document_id=document["id"], collection="carbs", at=at, receiver_key=document["id"]
                    )


@hookimpl
def tconnectsync_sources() -> Sequence[SourceSpec]:
    return [SourceSpec(name="light", options=Options, open=NumberSource, enabled=lambda options: True)]


@hookimpl
def tconnectsync_sinks() -> Sequence[SinkSpec]:
    return [
        SinkSpec(
            name="light", options=Options, open=lambda options, context: Sink(folds=[carbs], receiver=Posts(options))
        )
    ]
