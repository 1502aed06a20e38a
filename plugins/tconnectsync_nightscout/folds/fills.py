"""Cannula, cartridge and tubing fills: three different things, so that Nightscout's age counters are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tconnectsync import Document, Event, Fold, each, events
from tconnectsync.events.limits import MAX_VOLUME_U, is_possible
from tconnectsync.events.source_record import SourceRecord, record_of
from tconnectsync_nightscout.folds.documents import amount, impossible_note, milli, plain_notes, treatment, words

_NOT_SENT = frozenset({"", "off", "none"})


def fills_fold(*, cannula: str = "Site Change", cartridge: str = "Insulin Change", tubing: str = "Note") -> Fold[Any]:
    """Records 61, 33 and 63 to the eventTypes given for each; "" leaves that kind out.

    An interrupted fill is a Note whatever its eventType: the site or the cartridge is not new.
    """

    @each("cannula.filled", "cartridge.filled", "tubing.filled", name="fills", version=1)
    def fill(event: Event) -> Sequence[Document]:
        body, record = event.body, record_of(event)
        if isinstance(body, events.CartridgeFilled):
            return _cartridge(body, record, cartridge)
        if isinstance(body, events.CannulaFilled):
            return _prime(body, record, cannula, "Cannula")
        return _prime(body, record, tubing, "Tubing")

    return fill


def _cartridge(body: events.CartridgeFilled, record: SourceRecord, event_type: str) -> Sequence[Document]:
    if event_type.lower() in _NOT_SENT:
        return ()
    # the shown amount first: the measured one is 0 on newer pumps
    volume_u = next((volume for volume in (body.volume_u, body.measured_u) if volume), None)
    problems: Sequence[Document] = ()
    fields: dict[str, Any] = {"notes": "Cartridge filled"}
    if volume_u is not None and is_possible(volume_u, 0.0, MAX_VOLUME_U):
        fields = {"notes": f"Cartridge filled with {amount(volume_u)} U", "insulinVolume": milli(volume_u)}
    elif volume_u is not None:
        problems = (impossible_note("cartridge volume in U", volume_u, record, "fill-impossible", record.key),)
    return (treatment(event_type, record, "fill", record.key, fields=fields), *problems)


def _prime(
    body: events.CannulaFilled | events.TubingFilled, record: SourceRecord, event_type: str, what: str
) -> Sequence[Document]:
    if event_type.lower() in _NOT_SENT:
        return ()
    size = f" with {amount(body.prime_u)} U" if body.prime_u and is_possible(body.prime_u, 0.0, MAX_VOLUME_U) else ""
    if body.completed:
        fields = {"notes": f"{what} filled{size}"}
    else:
        event_type = "Note"
        fields = {"notes": plain_notes(f"{what} fill not completed{size}", words(body.status or ""))}
    return (treatment(event_type, record, "fill", record.key, fields=fields),)
