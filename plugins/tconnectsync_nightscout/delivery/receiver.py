"""The receiver for a Nightscout site: delivers the documents of one sink."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from tconnectsync import (
    CheckResult,
    Delivery,
    Document,
    FieldDiff,
    GlucoseUnits,
    LegacyMatch,
    Outcome,
    ReceiverConflict,
    Refused,
    Retryable,
    StoredDocument,
    counted,
    parse_glucose_units,
    units_in_memory,
    units_word,
)
from tconnectsync_nightscout.api.client import Find, NightscoutClient
from tconnectsync_nightscout.api.diff import diff
from tconnectsync_nightscout.api.document_format import ENTRIES, SINK_FIELD, Key, Task, prepare, slot_of, stored_text
from tconnectsync_nightscout.api.find_copies import REACH, copy_of, pages, time_of
from tconnectsync_nightscout.api.glucose_units import in_units
from tconnectsync_nightscout.api.match_copies import is_ours
from tconnectsync_nightscout.api.time_budget import TimeBudget
from tconnectsync_nightscout.delivery.announcement_age import ANNOUNCEMENT, STAMPED_FIELDS, with_age
from tconnectsync_nightscout.delivery.legacy_documents import (
    KINDS_OF_SINK,
    LEGACY_AUTHOR,
    Covered,
    belongs_to_sink,
    is_deletable,
    is_legacy,
    match_legacy,
)
from tconnectsync_nightscout.delivery.legacy_readings import match_legacy_readings
from tconnectsync_nightscout.delivery.profile import ADD, deliver_profiles
from tconnectsync_nightscout.delivery.profile import COLLECTION as PROFILE
from tconnectsync_nightscout.delivery.replace import ACTIVITY, deliver_unkeyed
from tconnectsync_nightscout.delivery.upsert import TREATMENTS, deliver_keyed

DEVICESTATUS = "devicestatus"
DROPS_IDENTIFIER = "drops-identifier:"
BATCH_SIZE = 500
"""Treatments per request: the fastest size. Ten times as many take most of a minute or fail."""
COUNT_UP_TO = 1000
CURRENT = timedelta(hours=1)
"""Device statuses older than this have expired and are ignored."""

_ORDER = (TREATMENTS, ENTRIES, PROFILE, ACTIVITY, DEVICESTATUS)
"""Collections in the order of delivery.

Those that must not be sent twice are last, so no later failure resends them.
"""


class NightscoutReceiver:
    """A :class:`tconnectsync.Receiver` for the documents of one sink.

    ``sink`` is written into every document, so that sinks of one site can tell their documents apart. ``collections``
    are those of the sink; ``in_use`` are those of all sinks of the site, filled while they are opened, so that
    ``check`` tests a site once. ``profile_mode``: whether a changed profile is added or replaces the current one.
    """

    def __init__(
        self,
        client: NightscoutClient,
        *,
        sink: str,
        collections: Sequence[str],
        entered_by: str = "tconnectsync",
        in_use: Iterable[str] = (),
        profile_mode: str = ADD,
    ) -> None:
        self.address = client.url
        self.batch_size = BATCH_SIZE
        self.client = client
        self.sink = sink
        self.collections = tuple(collections)
        self.entered_by = entered_by
        self._in_use = in_use
        self._profile_mode = profile_mode
        self._units: GlucoseUnits | None = None

    def __repr__(self) -> str:
        return f"NightscoutReceiver(sink={self.sink!r}, address={self.address!r})"

    def deliver(self, batch: Sequence[Delivery]) -> Sequence[Outcome]:
        """Delete withdrawn documents, then put the others. See :class:`tconnectsync.Receiver`."""
        outcomes: dict[str, Outcome] = {}
        tasks: dict[str, list[Task]] = {collection: [] for collection in _ORDER}
        now = self.client.clock.now()
        if any(delivery.document is not None and "glucose" in delivery.document.content for delivery in batch):
            self.client.status()  # for the site's units
        for delivery in batch:
            document = None if delivery.document is None else with_age(delivery.document, now)
            is_same = document is delivery.document
            task = self._prepare(delivery if is_same else msgspec.structs.replace(delivery, document=document))
            if isinstance(task, Refused):
                outcomes[delivery.document_id] = task
            else:
                tasks[delivery.collection].append(task)
        outcomes |= self._deliver_tasks(tasks)
        return [outcomes[delivery.document_id] for delivery in batch]

    def rendered(self, document: Document) -> Mapping[str, Any] | Refused:
        """Return the body that is posted for a document. See :class:`tconnectsync.plugin.receiver.SupportsRendering`."""
        delivery = Delivery(document_id=document.id, collection=document.collection, document=document)
        task = self._prepare(delivery)
        return task if isinstance(task, Refused) else task.body or {}

    def memory(self) -> str:
        """What is remembered: whether this site accepts compressed bodies and keeps identifiers, and its units."""
        words = [f"{DROPS_IDENTIFIER}{collection}" for collection in sorted(self.client.drops_identifier)]
        if self.client.known_units is not None:
            self._units = parse_glucose_units(self.client.known_units)
        units = "" if self._units is None else units_word(self._units)
        return " ".join(word for word in (self.client.compression.memory, *words, units) if word)

    def recall(self, memory: str) -> None:
        """Restore what was remembered. See :class:`tconnectsync.plugin.receiver.SupportsMemory`."""
        words = memory.split()
        self._units = units_in_memory(memory) or self._units
        self.client.compression.recall(words)
        drops = (word for word in words if word.startswith(DROPS_IDENTIFIER))
        self.client.drops_identifier |= {word.removeprefix(DROPS_IDENTIFIER) for word in drops}

    def _prepare(self, delivery: Delivery) -> Task | Refused:
        if delivery.collection not in _ORDER:
            return Refused(
                reason=f"Nightscout has no collection {delivery.collection!r} that this release can write to"
            )
        document = delivery.document
        if document is not None and document.collection == TREATMENTS:
            content = in_units(document.content, self.client.known_units)
            if content is not document.content:
                delivery = msgspec.structs.replace(
                    delivery, document=msgspec.structs.replace(document, content=content)
                )
        return prepare(delivery, entered_by=self.entered_by, sink=self.sink)

    def _deliver_tasks(self, tasks: Mapping[str, Sequence[Task]]) -> dict[str, Outcome]:
        """After the first write, a failure is marked ``in_doubt``; otherwise the outbox would assume that nothing
        changed.
        """
        changed, patience = self.client.changed_count, TimeBudget(self.client.clock)
        try:
            outcomes = deliver_keyed(self.client, TREATMENTS, tasks[TREATMENTS], patience)
            outcomes |= deliver_keyed(self.client, ENTRIES, tasks[ENTRIES], patience)
            outcomes |= deliver_profiles(self.client, tasks[PROFILE], mode=self._profile_mode)
            for collection in (ACTIVITY, DEVICESTATUS):
                outcomes |= deliver_unkeyed(self.client, collection, tasks[collection], patience)
        except Retryable as error:
            if error.in_doubt or self.client.changed_count == changed:
                raise
            raise Retryable(
                error.message, after_s=error.after_s, in_doubt=True, narrow=error.narrow, remedy=error.remedy
            ) from error
        return outcomes

    def inspect(self, first: datetime, last: datetime) -> ReceiverConflict | None:
        """Pause for the user if somebody else wrote the same events in this span: sending would show them twice."""
        hold = self._legacy_conflict(first, last) if self.adopts else None
        return hold or (self._readings_conflict(first, last) if ENTRIES in self.collections else None)

    def _legacy_conflict(self, first: datetime, last: datetime) -> ReceiverConflict | None:
        """Documents where this sink already delivered do not count: the user has seen them."""
        found: set[object] = set()
        covered: Covered | None = None
        collection, mark = (ENTRIES, "device") if ENTRIES in self.collections else (TREATMENTS, "enteredBy")
        marks: tuple[Find, ...] = ([(mark, LEGACY_AUTHOR)], [("pump_event_id[$regex]", "[0-9]")])
        for find in marks:
            for item in pages(self.client, collection, first, last, find):
                if not belongs_to_sink(self.sink, item):
                    continue
                if covered is None:
                    covered = Covered()
                    for ours in self.read_back(first, last):
                        covered.add(ours)
                at = time_of(item)
                if at is None or not covered.holds(slot_of(item), at):
                    found.add(item.get("_id"))
                if len(found) >= COUNT_UP_TO:
                    break
        if not found:
            return None
        what, facts = ("reading", "readings") if collection == ENTRIES else ("treatment", "doses")
        number = counted(len(found), what)
        if len(found) >= COUNT_UP_TO:
            number = f"{COUNT_UP_TO:,} or more {what}s"
        return ReceiverConflict(
            reason=f"{self.address} already holds {number} of an older bridge ({LEGACY_AUTHOR!r})"
            f" between {first:%Y-%m-%d} and {last:%Y-%m-%d}; sending now would show the same {facts} twice",
            remedy=f"Stop the older bridge first. `tconnectsync adopt {self.sink} --dry-run` shows what would be replaced."
            f" Run `tconnectsync adopt {self.sink}` to replace it, or `tconnectsync adopt {self.sink} --skip` to keep both.",
        )

    def _readings_conflict(self, first: datetime, last: datetime) -> ReceiverConflict | None:
        """Sensor readings of another uploader, which nearly every site has. Legacy readings were checked before."""
        others = (item for item in pages(self.client, ENTRIES, first, last) if item.get(SINK_FIELD) != self.sink)
        reading = next((item for item in others if item.get("type") == "sgv" and not is_legacy(item)), None)
        if reading is None:
            return None
        return ReceiverConflict(
            reason=f"{self.address} already receives glucose readings from {reading.get('device') or 'someone else'};"
            " with the pump's copies, each reading would be shown twice",
            remedy=f"Leave sinks.{self.sink} off, or run `tconnectsync adopt {self.sink} --skip` to send them anyway.",
        )

    def read_back(self, first: datetime, last: datetime) -> Iterator[StoredDocument]:
        """Every document that this sink made (:data:`SINK_FIELD`), newest first."""
        for found in self._found(first, last, [(SINK_FIELD, self.sink)]):
            if found.document_id:
                yield found

    def shows(self, collection: str) -> bool:
        """See :class:`tconnectsync.ReadableReceiver`. All but profiles, which are read on each delivery.

        Empty for a collection in which the site drops our identifiers: all documents would look missing and be sent
        again.
        """
        return collection in self.collections and collection not in {PROFILE, *self.client.drops_identifier}

    def survey(self, first: datetime, last: datetime) -> Iterator[StoredDocument]:
        """See :class:`tconnectsync.ReadableReceiver`.

        If a site keeps one treatment per key, the survey includes other programs' keys.
        """
        yield from self._found(first, last, ())

    def _found(self, first: datetime, last: datetime, find: Find) -> Iterator[StoredDocument]:
        for collection in self.collections:
            if not self.shows(collection):
                continue
            begin = max(first, self.client.clock.now() - CURRENT) if collection == DEVICESTATUS else first
            for item in pages(self.client, collection, begin, last, find) if begin <= last else ():
                if item.get(SINK_FIELD) == self.sink or not is_ours(item.get("identifier")) or not item.get(SINK_FIELD):
                    yield self._stored(collection, item, begin)

    def _stored(self, collection: str, item: Mapping[str, Any], begin: datetime) -> StoredDocument:
        copy, event_type = copy_of(item), slot_of(item)
        ephemeral = collection == DEVICESTATUS or event_type == ANNOUNCEMENT
        if copy is not None and item.get(SINK_FIELD) == self.sink and is_ours(copy.identifier):
            return StoredDocument(
                document_id=copy.identifier, collection=collection, at=copy.key.at, receiver_key=stored_text(copy.key),
                unique_slot=event_type, pump=_pump_of(item), ephemeral=ephemeral, content=item,
            )  # fmt: skip
        at = time_of(item)
        alone = collection == ENTRIES or (collection == TREATMENTS and not self.client.status().identifier_is_key)
        return StoredDocument(
            document_id="", collection=collection, at=at or begin, unique_slot=event_type, ephemeral=ephemeral, content=item,
            author=str(item.get("enteredBy") or item.get("device") or ""),
            receiver_key=stored_text(Key(at=at, event_type=event_type)) if alone and at is not None else "",
        )  # fmt: skip

    def compare(self, document: Document, stored: StoredDocument) -> Sequence[FieldDiff]:
        """See :class:`tconnectsync.ReadableReceiver`."""
        body = self.rendered(document)
        if isinstance(body, Refused):
            return [FieldDiff(field="content", ours=body.reason, theirs=None)]
        return [
            each
            for each in diff(body, stored.content)
            if document.content.get("eventType") != ANNOUNCEMENT or each.field not in STAMPED_FIELDS
        ]

    @property
    def adopts(self) -> bool:
        """See :class:`tconnectsync.SupportsAdoption`."""
        return self.sink in KINDS_OF_SINK

    def recognise_legacy(
        self, documents: Sequence[Document], foreign: Sequence[StoredDocument], claimed: set[str]
    ) -> Sequence[LegacyMatch]:
        """See :class:`tconnectsync.SupportsAdoption`."""
        if ENTRIES in self.collections:
            return match_legacy_readings(documents, foreign)
        return match_legacy(documents, foreign, claimed, kinds=KINDS_OF_SINK.get(self.sink, frozenset()))

    def remove(self, foreign: Sequence[StoredDocument]) -> None:
        """See :class:`tconnectsync.SupportsAdoption`."""
        going = {item["_id"]: stored.collection for stored in foreign if is_deletable(item := stored.content)}
        for mongo_id, collection in going.items():
            self.client.delete(collection, mongo_id)
        times = [stored.at for stored in foreign]
        first, last = min(times) - REACH, max(times) + REACH
        stayed = sum(
            item.get("_id") in going
            for collection in sorted(set(going.values()))
            for item in pages(self.client, collection, first, last)
        )
        if stayed:
            raise Retryable(
                f"{self.address} still holds {stayed:,} of {counted(len(going), 'document')} although it was asked to delete them",
                remedy="Give the token of nightscout.token the right to delete, or use the site's API secret.",
            )

    def check(self) -> Iterator[CheckResult]:
        """Check version, clock and rights by using them. Errors become findings; nothing is raised."""
        from tconnectsync_nightscout.delivery.check import check_site

        collections = list(dict.fromkeys([*self.collections, *self._in_use]))
        return check_site(self.client, collections, entered_by=self.entered_by)


def _pump_of(item: Mapping[str, Any]) -> str:
    pump = item.get("pump")
    return str(pump.get("serial", "")) if isinstance(pump, Mapping) else ""
