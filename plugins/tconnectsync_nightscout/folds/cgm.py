"""Sensor readings (256, 372, 399, 480) and finger sticks (16) as Nightscout entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import attrs

from tconnectsync import Document, Event, each
from tconnectsync.events.limits import GLUCOSE_MG_DL, is_possible
from tconnectsync.events.readings import ReadingMinutes, measured_at, shown_mg_dl, shown_trend, valid_trend, with_minute
from tconnectsync.events.source_record import SourceRecord, record_of
from tconnectsync_nightscout.api.document_format import ENTRIES
from tconnectsync_nightscout.folds.documents import impossible_note, milli, provenance, stream_id, whole_second

_SLOPES = (
    (3.0, "DoubleUp"), (2.0, "SingleUp"), (1.0, "FortyFiveUp"), (-1.0, "Flat"),
    (-2.0, "FortyFiveDown"), (-3.0, "SingleDown"),
)  # fmt: skip
"""Smallest change in mg/dL per minute for each of Nightscout's directions, as in Dexcom's arrows."""


@attrs.frozen(kw_only=True)
class ReadingsFold:
    """``glucose.reading`` as one ``sgv`` entry, at the time of measurement.

    A live reading and its backfilled copy are one entry, made from the first record in the pump's order: two records
    measured in the same minute are one reading. High and low are marks, not numbers, and have no direction.
    """

    name = "readings"
    version = 3
    kinds = frozenset({"glucose.reading"})
    state_type = ReadingMinutes

    def initial(self) -> ReadingMinutes:
        """No reading known."""
        return ReadingMinutes()

    def step(self, state: ReadingMinutes, event: Event) -> tuple[ReadingMinutes, Sequence[Document]]:
        """Return the state after ``event``, and its entry if it is the first of its minute."""
        body, record = event.body, record_of(event)
        sgv = shown_mg_dl(body)
        if sgv is None:
            return state, ()
        at = measured_at(event)
        fresh = with_minute(state, at)
        if fresh is None:
            return state, ()
        if not is_possible(sgv, *GLUCOSE_MG_DL):
            return fresh, (impossible_note("glucose in mg/dL", sgv, record, "sgv", record.key, collection=ENTRIES),)
        fields = {"sgv": round(sgv), "direction": direction(shown_trend(body))}
        return fresh, (_entry("sgv", record, at, fields=fields),)

    def running(self, state: ReadingMinutes) -> Sequence[Document]:  # noqa: ARG002 - the protocol's signature
        """Nothing: entries have no length."""
        return ()


@each("glucose.fingerstick", name="fingersticks", version=1)
def fingersticks(event: Event) -> Document | None:
    """``glucose.fingerstick`` as an ``mbg`` entry if the user typed it: a sensor's value already is an ``sgv``."""
    body, record = event.body, record_of(event)
    if body.entry != "manual" or body.glucose_mg_dl is None:
        return None
    if not is_possible(body.glucose_mg_dl, *GLUCOSE_MG_DL):
        return impossible_note("glucose in mg/dL", body.glucose_mg_dl, record, "mbg", record.key, collection=ENTRIES)
    return _entry("mbg", record, record.at, fields={"mbg": milli(body.glucose_mg_dl)})


def direction(trend_mg_dl_per_min: float | None) -> str | None:
    """Nightscout's name for a rate of change; None if the sensor's value is invalid."""
    trend = valid_trend(trend_mg_dl_per_min)
    if trend is None:
        return None
    for least, word in _SLOPES:
        if trend >= least:
            return word
    return "DoubleDown"


def _entry(kind: str, record: SourceRecord, at: datetime, *, fields: Mapping[str, object]) -> Document:
    content: dict[str, object] = {"type": kind, "device": f"tandem {record.pump}"}
    content |= {name: value for name, value in fields.items() if value is not None}
    content["pump"] = provenance(record.pump, [record.name])
    return Document(
        id=stream_id(record.pump, record.group, kind, record.key),
        collection=ENTRIES,
        at=whole_second(at),
        content=content,
        unique_slot=kind,
    )
