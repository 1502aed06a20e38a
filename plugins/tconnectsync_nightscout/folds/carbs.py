"""Carbs entered without insulin (record 48) as Carb Correction."""

from __future__ import annotations

from typing import Any

from tconnectsync import Document, Event, Fold, each
from tconnectsync.events.limits import MAX_CARBS_G, is_possible
from tconnectsync.events.source_record import record_of
from tconnectsync_nightscout.folds.documents import amount, impossible_note, milli, treatment


def carbs_fold(*, as_note: bool = False) -> Fold[Any]:
    """``carbs.entered`` to a Carb Correction, or to a Note with the amount; nothing for 0 g."""

    @each("carbs.entered", name="carbs", version=1)
    def carb_entry(event: Event) -> Document | None:
        record, carbs_g = record_of(event), event.body.carbs_g
        if not is_possible(carbs_g, 0.0, MAX_CARBS_G):
            return impossible_note("carbs in g", carbs_g, record, "carbs", record.key)
        if milli(carbs_g) == 0:
            return None
        if as_note:
            return treatment("Note", record, "carbs", record.key, fields={"notes": f"{amount(carbs_g)} g carbs"})
        return treatment("Carb Correction", record, "carbs", record.key, fields={"carbs": milli(carbs_g)})

    return carb_entry
