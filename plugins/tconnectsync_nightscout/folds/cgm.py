"""Sensor readings (256, 372, 399, 480) and finger sticks (16) as Nightscout entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import attrs

from tconnectsync import Document, Event, each, events
from tconnectsync.events.limits import GLUCOSE_MG_DL, possible
from tconnectsync_nightscout.folds.documents import Mark, impossible, mark_of, milli, provenance
from tconnectsync_nightscout.site.wire import ENTRIES

HIGH_SGV, LOW_SGV = 401, 39
"""What Nightscout's own uploaders write for a reading above and below the sensor's range."""
SENSOR_MG_DL = (40.0, 400.0)
REMEMBERED = timedelta(days=2)
"""A sensor hands in readings that the pump missed for up to a day; the source sets aside what is further off than this."""

_SLOPES = (
    (3.0, "DoubleUp"), (2.0, "SingleUp"), (1.0, "FortyFiveUp"), (-1.0, "Flat"),
    (-2.0, "FortyFiveDown"), (-3.0, "SingleDown"),
)  # fmt: skip
"""Least change in mg/dL per minute for each of Nightscout's directions, as Dexcom draws its arrows."""
_STEEPEST = 8.0
"""A change beyond this is no measurement: sensors send such values for "unknown"."""


@attrs.frozen(kw_only=True)
class ReadingsState:
    """Which minutes of the last days have their entry: bit n of ``seen`` (hexadecimal) is n minutes before ``newest``."""

    newest: datetime | None = None
    seen: str = "0"


@attrs.frozen(kw_only=True)
class ReadingsFold:
    """``glucose.reading`` to one ``sgv`` entry each, at the time that the sensor measured.

    A reading that comes live and again as a backfilled copy is one entry, made by the first record of it in the pump's order:
    two records that were measured in the same minute are one reading. High and low are marks, not numbers.
    """

    name = "readings"
    version = 1
    kinds = frozenset({"glucose.reading"})
    state_type = ReadingsState

    def initial(self) -> ReadingsState:
        """No reading known."""
        return ReadingsState()

    def step(self, state: ReadingsState, event: Event) -> tuple[ReadingsState, Sequence[Document]]:
        """The state after ``event``, and the entry that it makes, if it is the first to tell of its minute."""
        body, mark = event.body, mark_of(event)
        sgv = _sgv(body)
        if sgv is None:
            return state, ()
        at = mark.at + (body.reading_time - event.pump_time)
        fresh = _noted(state, at.replace(second=0, microsecond=0))
        if fresh is None:
            return state, ()
        if not possible(sgv, *GLUCOSE_MG_DL):
            return fresh, (impossible("glucose in mg/dL", sgv, mark, "sgv", mark.key, collection=ENTRIES),)
        fields = {"sgv": round(sgv), "direction": direction(body.trend_mg_dl_per_min)}
        return fresh, (_entry("sgv", mark, at, fields=fields),)

    def running(self, state: ReadingsState) -> Sequence[Document]:  # noqa: ARG002 - the protocol's signature
        """Nothing goes on."""
        return ()


@each("glucose.fingerstick", name="fingersticks", version=1)
def fingersticks(event: Event) -> Document | None:
    """``glucose.fingerstick`` to an ``mbg`` entry if the wearer typed it: a value from the sensor is an ``sgv`` already."""
    body, mark = event.body, mark_of(event)
    if body.entry != "manual" or body.glucose_mg_dl is None:
        return None
    if not possible(body.glucose_mg_dl, *GLUCOSE_MG_DL):
        return impossible("glucose in mg/dL", body.glucose_mg_dl, mark, "mbg", mark.key, collection=ENTRIES)
    return _entry("mbg", mark, mark.at, fields={"mbg": milli(body.glucose_mg_dl)})


def direction(trend_mg_dl_per_min: float | None) -> str | None:
    """Nightscout's word for a rate of change; None where the sensor did not say one that can be."""
    if trend_mg_dl_per_min is None or not possible(trend_mg_dl_per_min, -_STEEPEST, _STEEPEST):
        return None
    return next((word for least, word in _SLOPES if trend_mg_dl_per_min >= least), "DoubleDown")


def _sgv(body: events.GlucoseReading) -> float | None:
    """The number to show; None where there is none."""
    if body.mark in ("high", "low"):
        return HIGH_SGV if body.mark == "high" else LOW_SGV
    if body.mark != "value" or body.glucose_mg_dl is None:
        return None
    low, high = SENSOR_MG_DL
    if not possible(body.glucose_mg_dl, *GLUCOSE_MG_DL):
        return body.glucose_mg_dl
    return LOW_SGV if body.glucose_mg_dl < low else HIGH_SGV if body.glucose_mg_dl > high else body.glucose_mg_dl


def _noted(state: ReadingsState, minute: datetime) -> ReadingsState | None:
    """The state that knows ``minute`` too; None where it had its entry."""
    if state.newest is None or abs(minute - state.newest) >= REMEMBERED:
        return ReadingsState(newest=minute, seen="1")
    seen, before = int(state.seen, 16), (state.newest - minute) // timedelta(minutes=1)
    if before < 0:
        kept = (seen << -before) % (1 << REMEMBERED // timedelta(minutes=1))
        return ReadingsState(newest=minute, seen=f"{kept | 1:x}")
    if seen >> before & 1:
        return None
    return attrs.evolve(state, seen=f"{seen | 1 << before:x}")


def _entry(kind: str, mark: Mark, at: datetime, *, fields: Mapping[str, object]) -> Document:
    content: dict[str, object] = {"type": kind, "device": f"tandem {mark.pump}"}
    content |= {name: value for name, value in fields.items() if value is not None}
    content["pump"] = provenance(mark.pump, [mark.source])
    return Document(
        id=mark.id(kind, mark.key), collection=ENTRIES, at=at.replace(microsecond=0), content=content, unique_slot=kind
    )
