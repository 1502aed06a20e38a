"""A record's bytes to an event and back; what is read is what was written, years and releases later.

The record is JSON: ``pos id kind pump group seq pump_time received_at source decoder body raw``; ``pump_time`` has no zone,
``received_at`` is UTC with a Z, what is None is left out. Reading tolerates keys that it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol, TypeAlias

import attrs
import cattrs
import msgspec
from cattrs.gen import make_dict_unstructure_fn, override

from tconnectsync.eventlog.json_safe import nested_too_deeply, storable
from tconnectsync.events import BODIES, FACTS, Body, Event, Unknown

EPOCH = datetime(2008, 1, 1)
"""Where pump times are counted from: the pump's own zero, on its wall clock."""

_MICROSECOND = timedelta(microseconds=1)
_EPOCH_UTC = EPOCH.replace(tzinfo=timezone.utc)

Pack: TypeAlias = Callable[[Any], dict[str, Any]]


class Decoder(Protocol):
    """What reads a vendor's record again: a Source is one."""

    decoder: int

    def decode(self, raw: Mapping[str, Any]) -> tuple[str, Body]:
        """The kind and body of ``raw``."""
        ...


class EventSlot(NamedTuple):
    """Where an event belongs, whenever it arrives; revisions of one event share it.

    A numbered event is at its sequence number in the stream (pump, group). One without a number is at the milliseconds of its
    pump time since 2008 in the stream (pump, source), and among equals at the hash of its id. A fact about the data (``pump``
    None) is in no stream; its ``tie`` is the hash of its id.
    """

    pump: str | None
    group: int | None
    source: str | None
    key: int
    tie: int


class IndexEntry(msgspec.Struct, gc=False):
    """What the index keeps of one record."""

    place: EventSlot
    kind: str
    pump: str
    source: str
    decoder: int
    pump_us: int
    digest: bytes
    pos: int = 0
    offset: int = 0


class PendingRecord(msgspec.Struct, gc=False):
    """An event that is about to be written: its body's bytes, and what the index will keep of it."""

    event: Event
    body: bytes
    entry: IndexEntry


class _Shape(NamedTuple):
    """How the bodies of one kind are written and read; ``tag`` tells their bytes from those of other kinds."""

    body: type[Any]
    pack: Pack
    read: Callable[[bytes | msgspec.Raw], Any]
    tag: bytes


class _Record(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    pos: int
    id: str
    kind: str
    pump: str
    group: int | None = None
    seq: int | None = None
    pump_time: datetime
    received_at: datetime
    source: str
    decoder: int = -1  # a line without it counts as decoder 1
    body: msgspec.Raw
    raw: dict[str, Any] | None = None


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
    """Microseconds of a pump's wall clock since 2008."""
    return (pump_time - EPOCH) // _MICROSECOND


def pump_time_of(micros: int) -> datetime:
    """The pump's wall clock, of microseconds since 2008."""
    return EPOCH + timedelta(microseconds=micros)


def place_of(event: Event | _Envelope, pump_us: int) -> EventSlot:
    """Where ``event`` belongs; ``pump_us`` is its pump time as :func:`micros` counts it."""
    if event.kind in FACTS:
        return EventSlot(None, None, None, 0, _hash(event.id))
    if event.seq is not None:
        return EventSlot(event.pump, -1 if event.group is None else event.group, None, event.seq, 0)
    return EventSlot(event.pump, None, event.source, pump_us // 1000, _hash(event.id))


def make_event_converter() -> cattrs.Converter:
    """A converter that turns every body into a dict of JSON values by field name, without the fields that are None."""
    converter = cattrs.Converter()
    converter.register_unstructure_hook(datetime, _utc_if_aware)
    for body in BODIES.values():
        attrs.resolve_types(body)
        optional = {field.name: override(omit_if_default=True) for field in attrs.fields(body) if field.default is None}
        hook: Pack = make_dict_unstructure_fn(body, converter, **optional)  # type: ignore[arg-type]  # names vary
        converter.register_unstructure_hook(body, hook)
    return converter


class Codec:
    """Records and events. ``decoders`` are by source: one with another version than a record's reads its ``raw`` again."""

    def __init__(self, decoders: Mapping[str, Decoder] | None = None) -> None:
        self.decoders = dict(decoders or {})
        converter = make_event_converter()
        self._shapes = {
            kind: _Shape(
                body, converter.get_unstructure_hook(body), msgspec.json.Decoder(body).decode, kind.encode() + b"\0"
            )
            for kind, body in BODIES.items()
        }
        self._encode = msgspec.json.Encoder().encode
        self._sorted = msgspec.json.Encoder(order="sorted").encode
        self._record = msgspec.json.Decoder(_Record).decode
        self._envelope = msgspec.json.Decoder(_Envelope).decode

    # --- writing ----------------------------------------------------------------------------------------------------

    def draft(self, event: Event) -> PendingRecord:
        """``event`` as it will be written.

        A body that would not read back (a text where a number belongs) is written as ``unknown``, with the reason. Raises
        ValueError for a fact about the data that would not, and for a zone in ``pump_time`` or none in ``received_at``.
        """
        if event.pump_time.tzinfo is not None or event.received_at.tzinfo is None:
            raise ValueError(f"{event.id}: pump_time has no zone and received_at has one, as they come from the source")
        kind = event.kind
        try:
            shape = self._shapes[kind]
            if type(event.body) is not shape.body:
                raise TypeError(f"not a {shape.body.__name__}")
            body = self._encode(shape.pack(event.body))
            if nested_too_deeply(body):
                raise ValueError("nested too deeply")
            shape.read(body)
        except (msgspec.MsgspecError, TypeError, ValueError, KeyError, OverflowError, RecursionError) as error:
            if kind in FACTS:
                raise ValueError(f"{event.id}: the body of {kind} cannot be written: {error}") from error
            shape, reason = self._shapes["unknown"], storable(f"body: {error}")
            kind, body = "unknown", self._encode(shape.pack(Unknown(code=kind, reason=reason)))
        pump_us = (event.pump_time - EPOCH) // _MICROSECOND
        place = place_of(event, pump_us)
        return PendingRecord(
            event,
            body,
            IndexEntry(place, kind, event.pump, event.source, event.decoder, pump_us, digest(shape.tag + body)),
        )

    def record(self, draft: PendingRecord) -> bytes:
        """The bytes of the record, at the position that the draft's entry has by now."""
        event, entry = draft.event, draft.entry
        received_at = event.received_at
        if received_at.tzinfo is not timezone.utc:
            received_at = received_at.astimezone(timezone.utc)
        record = _Record(
            pos=entry.pos,
            id=event.id,
            kind=entry.kind,
            pump=event.pump,
            group=event.group,
            seq=event.seq,
            pump_time=event.pump_time,
            received_at=received_at,
            source=event.source,
            decoder=event.decoder,
            body=msgspec.Raw(draft.body),
            raw=event.raw,  # type: ignore[arg-type]  # any mapping of JSON values is written as it is
        )
        try:
            text = self._encode(record)
        except (TypeError, ValueError, OverflowError, RecursionError):
            text = b""
        if not text or nested_too_deeply(text):
            record.raw = storable(event.raw)
            text = self._encode(record)
        return text

    # --- reading ----------------------------------------------------------------------------------------------------

    def event(self, record: bytes) -> Event:
        """The event of a record, read by today's decoder; ``unknown`` with the reason where it cannot be read."""
        found = self._record(record)
        kind, body, version = found.kind, None, 1 if found.decoder == -1 else found.decoder
        decoder = self.decoders.get(found.source)
        if decoder is not None and decoder.decoder != version and found.raw is not None and kind not in FACTS:
            kind, body = decoder.decode(found.raw)
            version = decoder.decoder
        else:
            shape = self._shapes.get(kind)
            try:
                if shape is not None:
                    body = shape.read(found.body)
            except msgspec.MsgspecError as error:
                kind, body = "unknown", Unknown(code=kind, reason=f"body: {error}")
            if body is None:
                kind, body = "unknown", Unknown(code=kind, reason="this release does not know this kind of event")
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
            raw=found.raw,
            decoder=version,
            pos=found.pos,
        )

    def entry(self, record: bytes, offset: int) -> IndexEntry:
        """What the index keeps of a record that stands at ``offset``: as :meth:`draft` said, or as decoders say now."""
        found = self._envelope(record)
        decoder = self.decoders.get(found.source)
        kind, body = found.kind, bytes(found.body)
        stale = decoder is not None and decoder.decoder != found.decoder and kind not in FACTS
        try:
            shape = self._shapes.get(kind)
            readable = shape is not None and shape.read(body) is not None
        except msgspec.MsgspecError:
            readable = False
        if stale or not readable:
            event = self.event(record)
            kind, shape = event.kind, self._shapes[event.kind]
            body = self._encode(shape.pack(event.body))
        assert shape is not None  # noqa: S101 - it was read
        pump_us = micros(found.pump_time)
        return IndexEntry(
            place_of(found, pump_us),
            kind,
            found.pump,
            found.source,
            found.decoder,
            pump_us,
            digest(shape.tag + body),
            found.pos,
            offset,
        )

    def rank(self, event: Event) -> tuple[bool, int, int, int, bytes]:
        """Of several revisions of one event the greatest rank is the best, in whatever order they are folded.

        Decodable before not, more fields before fewer; without a number, what a source read last (a vendor's rows are
        corrected, a pump's records are not); a longer vendor record, then the bytes.
        """
        read_us = 0 if event.seq is not None else (event.received_at - _EPOCH_UTC) // _MICROSECOND
        body = self._shapes[event.kind].pack(event.body)
        raw = self._sorted(event.raw)
        rest = self._sorted([event.kind, body, event.pump_time, event.id, event.source])
        return event.kind != "unknown", len(body), read_us, len(raw), raw + rest


def digest(content: bytes) -> bytes:
    """Eight bytes that tell contents apart."""
    return blake2b(content, digest_size=8).digest()


def _hash(event_id: str) -> int:
    return int.from_bytes(blake2b(event_id.encode("utf-8", "replace"), digest_size=8).digest(), "big") >> 1


def _utc_if_aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is None else moment.astimezone(timezone.utc)
