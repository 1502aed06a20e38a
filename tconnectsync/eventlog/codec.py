"""Converts events to the log's records and back. Records of every release stay readable.

A record is JSON: ``pos id kind pump group seq pump_time received_at source decoder body raw``. ``pump_time`` has no zone,
``received_at`` is UTC with a Z, and keys with None are omitted. Unknown keys are ignored when a record is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from hashlib import blake2b
from typing import Any, Protocol, cast

import msgspec

from tconnectsync import events
from tconnectsync.eventlog.body_codec import body_codecs
from tconnectsync.eventlog.json_safe import is_too_deep, json_safe
from tconnectsync.events import FACTS, Body, Event

EPOCH = datetime(2008, 1, 1)
"""The pump's own time zero, on its wall clock."""

_MICROSECOND = timedelta(microseconds=1)
_EPOCH_UTC = EPOCH.replace(tzinfo=timezone.utc)
_EMPTY_HASH = blake2b(digest_size=8)


class Decoder(Protocol):
    """Decodes a vendor's record again. Every Source is one; ``decoder`` is its version."""

    decoder: int

    def decode(self, raw: Mapping[str, Any]) -> tuple[str, Body]:
        """Return the kind and body of ``raw``."""
        ...


class EventSlot(msgspec.Struct, frozen=True, gc=False):
    """An event's place in its stream, independent of when it arrived. All revisions of an event have the same slot.

    The key of a numbered event is its sequence number in the stream (pump, group). The key of an event without a number is its
    pump time in milliseconds since 2008 in the stream (pump, source); ``tie``, a hash of its id, orders equal keys. A fact about
    the data (``pump`` None) is in no stream; its ``tie`` is the hash of its id.
    """

    pump: str | None
    group: int | None
    source: str | None
    key: int
    tie: int


class IndexEntry(msgspec.Struct, gc=False):
    """One record as the index stores it. ``pump_us``: see :func:`micros`; ``offset``: of its line in the segment, in bytes."""

    slot: EventSlot
    kind: str
    pump: str
    source: str
    decoder: int
    pump_us: int
    digest: bytes
    pos: int = 0
    offset: int = 0


class PendingRecord(msgspec.Struct, gc=False):
    """An event that is about to be written: its body's bytes, and its index entry."""

    event: Event
    body: bytes
    entry: IndexEntry


class _Record(msgspec.Struct, kw_only=True, gc=False):
    pos: int
    id: str
    kind: str
    pump: str
    group: int | None = None
    seq: int | None = None
    pump_time: datetime
    received_at: datetime
    source: str
    decoder: int = 1
    body: msgspec.Raw
    raw: msgspec.Raw = msgspec.Raw()


class _WrittenRecord(msgspec.Struct, omit_defaults=True, gc=False):
    """The same keys in the same order, to be made by position: that takes half the time. So all after ``group`` have a default."""

    pos: int
    id: str
    kind: str
    pump: str
    group: int | None = None
    seq: int | None = None
    pump_time: datetime | None = None
    received_at: datetime | None = None
    source: str | None = None
    decoder: int | None = None
    body: msgspec.Raw | None = None
    raw: Mapping[str, Any] | None = None


class _Envelope(msgspec.Struct, kw_only=True, gc=False):
    pos: int
    id: str
    kind: str
    pump: str
    group: int | None = None
    seq: int | None = None
    pump_time: datetime
    source: str
    decoder: int = 1
    body: msgspec.Raw


def micros(pump_time: datetime) -> int:
    """Return the microseconds of a pump's wall clock since 2008."""
    return (pump_time - EPOCH) // _MICROSECOND


def pump_time_of(micros: int) -> datetime:
    """Return the pump's wall clock for microseconds since 2008: the inverse of :func:`micros`."""
    return EPOCH + micros * _MICROSECOND


def slot_of(event: Event | _Envelope, pump_us: int) -> EventSlot:
    """Return the slot of ``event``; ``pump_us`` is its pump time as :func:`micros` counts it."""
    if event.kind in FACTS:
        return EventSlot(None, None, None, 0, _hash(event.id))
    if event.seq is not None:
        return EventSlot(event.pump, -1 if event.group is None else event.group, None, event.seq, 0)
    return EventSlot(event.pump, None, event.source, pump_us // 1000, _hash(event.id))


class Codec:
    """Converts between events and records.

    ``decoders`` by source. If a decoder has another version than a record, it decodes the record's ``raw`` again.
    """

    def __init__(self, decoders: Mapping[str, Decoder] | None = None) -> None:
        self.decoders = dict(decoders or {})
        self._bodies = body_codecs()
        encoder = msgspec.json.Encoder()
        self._encode, self._encode_into = encoder.encode, encoder.encode_into
        self._sorted = msgspec.json.Encoder(order="sorted").encode
        self._record = msgspec.json.Decoder(_Record).decode
        self._envelope = msgspec.json.Decoder(_Envelope).decode
        self._raw = msgspec.json.Decoder(dict[str, Any] | None).decode

    # --- writing ----------------------------------------------------------------------------------------------------

    def draft(self, event: Event) -> PendingRecord:
        """Return ``event`` ready to be written.

        A body that could not be read back (such as a text in a number's field) becomes ``unknown`` with the reason. Errors:
        ValueError if that body is a fact about the data, if ``pump_time`` has a zone, or if ``received_at`` has none.
        """
        if event.pump_time.tzinfo is not None or event.received_at.tzinfo is None:
            raise ValueError(f"{event.id}: pump_time must not have a zone, and received_at must have one")
        kind = event.kind
        try:
            body_class, pack, read, tag, any_depth = self._bodies[kind]
            if type(event.body) is not body_class:
                raise TypeError(f"not a {body_class.__name__}")
            body = self._encode(pack(event.body))
            if any_depth and is_too_deep(body):
                raise ValueError("nested too deeply")
            read(body)
        except (msgspec.MsgspecError, TypeError, ValueError, KeyError, OverflowError, RecursionError) as error:
            if kind in FACTS:
                raise ValueError(f"{event.id}: the body of {kind} cannot be written: {error}") from error
            _, pack, _, tag, _ = self._bodies["unknown"]
            unknown = events.Unknown(code=kind, reason=json_safe(f"body: {error}"))
            kind, body = "unknown", self._encode(pack(unknown))
        pump_us = micros(event.pump_time)
        slot, content = slot_of(event, pump_us), digest(tag + body)
        entry = IndexEntry(slot, kind, event.pump, event.source, event.decoder, pump_us, content)
        return PendingRecord(event, body, entry)

    def record(self, draft: PendingRecord) -> bytes:
        """Return the record's bytes, with the position in the draft's entry."""
        [text] = self.records([draft])
        return text

    def records(self, drafts: Iterable[PendingRecord]) -> Iterator[bytes]:
        """Yield the bytes of each record, as :meth:`record` returns them."""
        buffer = bytearray()  # one for all: a new one for each record would grow many times
        for draft in drafts:
            event, entry = draft.event, draft.entry
            received_at = event.received_at
            if received_at.tzinfo is not timezone.utc:
                received_at = received_at.astimezone(timezone.utc)
            record = _WrittenRecord(
                entry.pos, event.id, entry.kind, event.pump, event.group, event.seq, event.pump_time, received_at,
                event.source, event.decoder, msgspec.Raw(draft.body), event.raw,
            )  # fmt: skip
            try:
                self._encode_into(record, buffer)
                text = bytes(buffer)
            except (TypeError, ValueError, OverflowError, RecursionError):
                text = b""
            if not text or is_too_deep(text):
                record.raw = json_safe(event.raw)
                text = self._encode(record)
            yield text

    # --- reading ----------------------------------------------------------------------------------------------------

    def event(self, record: bytes, *, with_raw: bool = True) -> Event:
        """Return the event of a record, decoded by the present decoder; ``unknown`` with the reason if that fails.

        Without ``with_raw``, only ``unknown`` events have their ``raw``: parsing it takes longer than all the rest.
        """
        found = self._record(record)
        kind, version, raw = found.kind, found.decoder, None
        decoder = self.decoders.get(found.source)
        stale = decoder is not None and decoder.decoder != version and kind not in FACTS
        if found.raw and (with_raw or stale):
            raw = self._raw(found.raw)
        if decoder is not None and stale and raw is not None:
            kind, body = decoder.decode(raw)
            version = decoder.decoder
        else:
            try:
                body = self._bodies[kind].read(found.body)
            except msgspec.MsgspecError as error:
                kind, body = "unknown", events.Unknown(code=kind, reason=f"body: {error}")
            except KeyError:
                reason = "this release does not know this kind of event"
                kind, body = "unknown", events.Unknown(code=kind, reason=reason)
        if not with_raw:
            raw = self._raw(found.raw) if kind == "unknown" and found.raw else None
        return Event(
            id=found.id,
            kind=kind,
            pump=found.pump,
            group=found.group,
            seq=found.seq,
            pump_time=found.pump_time,
            source=found.source,
            received_at=found.received_at,
            body=body,
            raw=raw,
            decoder=version,
            pos=found.pos,
        )

    def entry(self, record: bytes, offset: int) -> IndexEntry:
        """Return the index entry of a record at ``offset``, decoded again if the decoder has another version now."""
        found = self._envelope(record)
        kind, body = found.kind, cast(bytes, found.body)  # it is used as one, without a copy
        decoder = self.decoders.get(found.source)
        stale = decoder is not None and decoder.decoder != found.decoder and kind not in FACTS
        try:
            bodies = self._bodies[kind]
            bodies.read(body)
        except (KeyError, msgspec.MsgspecError):
            stale = True
        if stale:
            event = self.event(record)
            kind, bodies = event.kind, self._bodies[event.kind]
            body = self._encode(bodies.pack(event.body))
        pump_us = micros(found.pump_time)
        slot, content = slot_of(found, pump_us), digest(bodies.tag + body)
        return IndexEntry(slot, kind, found.pump, found.source, found.decoder, pump_us, content, found.pos, offset)

    def rank(self, event: Event) -> tuple[bool, int, int, int, bytes]:
        """Return the rank of a revision: the greatest rank wins, whichever revision came first.

        In this order: decodable; more fields; for events without a number the latest read (vendors correct rows, but pumps do
        not change records); a longer vendor record; the bytes.
        A field at its default was not reported.
        """
        read_us = 0 if event.seq is not None else (event.received_at - _EPOCH_UTC) // _MICROSECOND
        body = self._bodies[event.kind].pack(event.body)
        raw = self._sorted(event.raw)
        rest = self._sorted([event.kind, body, event.pump_time, event.id, event.source])
        return event.kind != "unknown", _reported_fields(event.body), read_us, len(raw), raw + rest


def digest(content: bytes) -> bytes:
    """Return eight bytes that differ if the contents differ."""
    state = _EMPTY_HASH.copy()  # faster than a new one
    state.update(content)
    return state.digest()


def _reported_fields(body: Body) -> int:
    """How many fields of a body are neither unknown nor at their default."""
    values = ((getattr(body, field.name), field.default) for field in msgspec.structs.fields(body))
    return sum(value is not None and value != default for value, default in values)


def _hash(event_id: str) -> int:
    return int.from_bytes(digest(event_id.encode("utf-8", "replace")), "big") >> 1
