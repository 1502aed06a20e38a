"""Boluses, normal and extended: the records of one bolus joined into one treatment."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs
import msgspec

from tconnectsync import Document, Event, events
from tconnectsync.events.bolus_join import KINDS, join_record
from tconnectsync.events.limits import is_possible
from tconnectsync.events.source_record import SourceRecord, record_of
from tconnectsync_nightscout.folds.bolus_documents import LabelledBolus, bolus_documents
from tconnectsync_nightscout.folds.documents import amount

FINGERSTICK_BEFORE = timedelta(minutes=15)
"""A request refers to a glucose value that was typed at most this long before it."""
REMEMBERED = timedelta(days=30)
"""How long a bolus without an end is reported."""
EPOCH = 1 << 18
"""Sequence numbers per epoch, about ten weeks.

Ids are 16 bits and a bolus writes seven records or more, so an id does not repeat within an epoch. A bolus spans tens
of numbers, an extended one a thousand, so few cross an edge.
"""
EPOCH_DAYS = 64
"""The same for sources without numbers."""
_MOST_UNFINISHED = 20


class Fingerstick(msgspec.Struct, frozen=True, kw_only=True):
    """The newest glucose value entered in the bolus calculator (record 16)."""

    at: datetime
    glucose_mg_dl: float
    typed: bool


class UnfinishedBolus(msgspec.Struct, frozen=True, kw_only=True):
    """A bolus that was dropped without an end."""

    bolus_id: int
    at: datetime
    text: str


class BolusState(msgspec.Struct, frozen=True, kw_only=True):
    """Boluses of the last hours, those without an end, and data to tell repeated ids apart."""

    open: tuple[LabelledBolus, ...] = ()
    unfinished: tuple[UnfinishedBolus, ...] = ()
    fingerstick: Fingerstick | None = None
    epoch: int = -1
    newest_id: int = -1


@attrs.frozen(kw_only=True)
class BolusFold:
    """Records 64, 65, 66, 55, 59, 280, 20, 21 and 16 as one treatment per bolus.

    ``carbs``: "on" (a field), "note" (in the notes) or "off"; ``glucose``: whether the calculator's glucose is shown.
    A bolus is provisional for six hours after its last record, so that late records are joined; for twelve if it may be
    extended.
    """

    carbs: str = "on"
    glucose: bool = True

    name = "boluses"
    version = 3
    kinds = KINDS | {"glucose.fingerstick"}
    state_type = BolusState

    def initial(self) -> BolusState:
        """No bolus known."""
        return BolusState()

    def step(self, state: BolusState, event: Event) -> tuple[BolusState, Sequence[Document]]:
        """Return the state after ``event``, and the boluses that are now finished."""
        record, body = record_of(event), event.body
        if isinstance(body, events.GlucoseFingerstick):
            return msgspec.structs.replace(state, fingerstick=_fingerstick(body, record)), ()
        still_open, finished = join_record(state.open, event, LabelledBolus)
        bolus, epoch, newest_id = still_open[-1], state.epoch, state.newest_id
        changes: dict[str, Any] = {}
        if not bolus.label:
            if _epoch_of(event) != epoch:
                epoch, newest_id = _epoch_of(event), -1
            # an id that does not rise may be reused in this epoch; its first record tells it apart
            changes["label"] = str(epoch) if bolus.bolus_id > newest_id else f"{epoch}/{record.key}"
            newest_id = max(newest_id, bolus.bolus_id)
        if isinstance(body, events.BolusRequested) and body.part == 1 and body.glucose_mg_dl is not None:
            changes["glucose_typed"] = _is_typed(body.glucose_mg_dl, record, state.fingerstick)
        state = msgspec.structs.replace(
            state,
            open=(*still_open[:-1], msgspec.structs.replace(bolus, **changes)) if changes else still_open,
            unfinished=_unfinished(state.unfinished, finished, bolus.bolus_id, record.at),
            epoch=epoch,
            newest_id=newest_id,
        )
        return state, self._documents(finished)

    def running(self, state: BolusState) -> Sequence[Document]:
        """The boluses of the last hours, and extended ones with the amount so far."""
        return self._documents(state.open)

    def waiting(self, state: BolusState) -> Sequence[tuple[str, datetime]]:
        """Boluses without a recorded end, as text, and since when."""
        still = (_missing(bolus) for bolus in state.open if not _is_told(bolus))
        return tuple((missing.text, missing.at) for missing in (*state.unfinished, *still))

    def _documents(self, boluses: Iterable[LabelledBolus]) -> Sequence[Document]:
        documents = (bolus_documents(bolus, carbs=self.carbs, glucose=self.glucose) for bolus in boluses)
        return list(itertools.chain.from_iterable(documents))


def _epoch_of(event: Event) -> int:
    """The epoch of the event in the pump's own order; not by UTC, which may be corrected later."""
    return event.pump_time.toordinal() // EPOCH_DAYS if event.seq is None else event.seq // EPOCH


def _is_told(bolus: LabelledBolus) -> bool:
    return bolus.over and bolus.amounts is not None


def _unfinished(
    before: Sequence[UnfinishedBolus], closing: Iterable[LabelledBolus], bolus_id: int, now: datetime
) -> tuple[UnfinishedBolus, ...]:
    kept = [missing for missing in before if missing.bolus_id != bolus_id and now - missing.at <= REMEMBERED]
    kept += [_missing(bolus) for bolus in closing if not _is_told(bolus)]
    return tuple(kept[-_MOST_UNFINISHED:])


def _missing(bolus: LabelledBolus) -> UnfinishedBolus:
    asked = bolus.total_u if bolus.total_u is not None else bolus.requested_now_u
    size = f" of {amount(asked)} U" if asked is not None else ""
    return UnfinishedBolus(
        bolus_id=bolus.bolus_id,
        at=bolus.first.at,
        text=f"bolus {bolus.bolus_id}{size}: the pump's data does not say how it ended",
    )


def _fingerstick(body: events.GlucoseFingerstick, record: SourceRecord) -> Fingerstick | None:
    if body.glucose_mg_dl is None or not is_possible(body.glucose_mg_dl, 0.0, 10_000.0):
        return None
    return Fingerstick(at=record.at, glucose_mg_dl=float(body.glucose_mg_dl), typed=body.entry == "manual")


def _is_typed(glucose_mg_dl: float, record: SourceRecord, fingerstick: Fingerstick | None) -> bool:
    return (
        fingerstick is not None
        and fingerstick.typed
        and fingerstick.glucose_mg_dl == glucose_mg_dl
        and timedelta() <= record.at - fingerstick.at <= FINGERSTICK_BEFORE
    )
