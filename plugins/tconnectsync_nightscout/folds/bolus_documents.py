"""Convert a joined bolus to Nightscout documents: a bolus treatment, or carbs alone, or nothing yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from tconnectsync import Document
from tconnectsync.events.boluses import BolusEnd, JoinedBolus
from tconnectsync.events.limits import GLUCOSE_MG_DL, MAX_BOLUS_U, MAX_CARBS_G, is_possible
from tconnectsync.events.source_record import SourceRecord
from tconnectsync_nightscout.folds.documents import (
    amount,
    glucose_fields,
    impossible_note,
    milli,
    minutes,
    plain_notes,
    treatment,
    words,
)

_ENDINGS = {
    "user_aborted": "cancelled by the wearer",
    "stopped_by_alarm": "stopped by an alarm",
    "stopped_by_malfunction": "stopped by a malfunction of the pump",
    "stopped_by_plgs": "stopped because low glucose was predicted",
    "rejected": "rejected by the pump",
}
_WHOLE_ENDINGS = frozenset({"completed", "ended"})
_TOLERANCE_U = 0.01
"""Rounding tolerance: delivered and requested amounts of a finished bolus differ in the last bits."""
_GLUCOSE_TYPES = {None: None, True: "Finger", False: "Sensor"}
_WAYS = {"quick": "quick bolus", "remote": "remote bolus"}
_PHONE_OPTIONS = frozenset({"ble_standard", "ble_extended", "ble_aid_recommendation"})
_PHONE_SOURCES = frozenset({"ble", "ble_aid_recommendation"})


class LabelledBolus(JoinedBolus, frozen=True, kw_only=True):
    """A bolus with what only its treatment needs.

    ``label`` tells it from another bolus with the same id. ``glucose_typed``: whether the wearer had typed the calculator's
    glucose; None: not known.
    """

    label: str = ""
    glucose_typed: bool | None = None


def bolus_documents(bolus: LabelledBolus, *, carbs: str, glucose: bool) -> Sequence[Document]:
    """The documents of this bolus now. None until the pump has recorded a delivered amount.

    ``carbs``: "on", "note" or "off"; ``glucose``: whether the calculator's glucose is shown.
    """
    amounts = bolus.amounts
    if amounts is None or not (bolus.over or bolus.immediate_over):
        return ()
    start, identity = bolus.start, ("bolus", bolus.bolus_id, bolus.label)
    for value in (*amounts, sum(amounts)):
        if not is_possible(value, 0.0, MAX_BOLUS_U + _TOLERANCE_U):
            return (impossible_note(f"delivered amount in U of bolus {bolus.bolus_id}", value, start, *identity),)
    now_u, later_u = milli(amounts[0]), milli(amounts[1])
    documents = list(_impossible_details(bolus, start))
    fields: dict[str, Any] = {}
    carbs_g = (
        milli(bolus.carbs_g) if bolus.carbs_g is not None and is_possible(bolus.carbs_g, 0.0, MAX_CARBS_G) else 0.0
    )
    if carbs == "on" and carbs_g > 0:
        fields["carbs"] = carbs_g
    if glucose and bolus.glucose_mg_dl is not None and is_possible(bolus.glucose_mg_dl, *GLUCOSE_MG_DL):
        fields |= glucose_fields(bolus.glucose_mg_dl, _GLUCOSE_TYPES[bolus.glucose_typed])
    shown_carbs = f"{amount(carbs_g)} g carbs" if carbs == "note" and carbs_g > 0 else None
    fields["notes"] = plain_notes(shown_carbs, *_notes(bolus), bolus.notes)
    extension = _extension(bolus, now_u, later_u)
    if now_u + later_u == 0:
        if carbs_g == 0 or carbs == "off":
            return documents
        event_type = "Combo Bolus" if extension is not None else "Carb Correction" if carbs == "on" else "Note"
    elif extension is not None:
        event_type = "Combo Bolus"
    elif carbs_g > 0:
        event_type = "Meal Bolus"
    else:
        event_type = "Correction Bolus" if _is_correction(bolus) else "Bolus"
    if extension is not None:
        fields |= extension
    elif now_u + later_u > 0:
        fields["insulin"] = milli(now_u + later_u)
    documents.append(treatment(event_type, start, *identity, fields=fields, sources=_sources(bolus)))
    return documents


def _extension(bolus: LabelledBolus, now_u: float, later_u: float) -> dict[str, Any] | None:
    """The fields of a Combo Bolus; None without an extended part."""
    if not bolus.extension_planned or (bolus.over and later_u == 0):
        return None
    whole_u = milli(now_u + later_u)
    split_now = round(100 * now_u / whole_u, 1) if whole_u else 100.0
    fields: dict[str, Any] = {
        "insulin": now_u,
        "enteredinsulin": whole_u,
        "splitNow": split_now,
        "splitExt": round(100 - split_now, 1),
    }
    span = bolus.extension_end - bolus.extension_start
    if bolus.extended is not None and bolus.extended_started is None and bolus.extended.duration_min:
        span = timedelta(minutes=bolus.extended.duration_min)
    if later_u == 0:
        return fields
    if span <= timedelta():
        # its length is unknown; the delivered units are kept nevertheless
        return None
    # finer than the pump's resolution: 0.001 U/h over eight hours would lose 0.004 U
    return fields | {"duration": minutes(span), "relative": round(later_u / (span.total_seconds() / 3600), 5)}


def _impossible_details(bolus: LabelledBolus, start: SourceRecord) -> Iterator[Document]:
    details = (
        ("carbs in g", bolus.carbs_g, 0.0, MAX_CARBS_G),
        ("glucose in mg/dL", bolus.glucose_mg_dl, *GLUCOSE_MG_DL),
    )
    for what, value, low, high in details:
        if value is not None and not is_possible(value, low, high):
            yield impossible_note(what, value, start, "bolus-detail", what, bolus.bolus_id, bolus.label)


def _is_correction(bolus: LabelledBolus) -> bool:
    if bolus.automatic:
        return True
    if bolus.correction_u is None or bolus.correction_u <= 0:
        return False
    if bolus.food_u is not None:
        return bolus.food_u == 0
    return "carb" not in bolus.types and (bolus.total_u is None or bolus.correction_u >= bolus.total_u - _TOLERANCE_U)


def _notes(bolus: LabelledBolus) -> Iterator[str]:
    if bolus.automatic:
        yield "automatic"
    elif bolus.options in _WAYS:
        yield _WAYS[bolus.options]
    elif bolus.options in _PHONE_OPTIONS or bolus.bolus_source in _PHONE_SOURCES:
        yield "sent from the phone"
    elif bolus.bolus_source == "remote" or bolus.bolus_type == "remote":
        yield _WAYS["remote"]
    if bolus.override:
        yield "amount changed by the wearer"
    if bolus.declined_correction:
        yield "correction declined by the wearer"
    yield from _endings(bolus)


def _endings(bolus: LabelledBolus) -> Iterator[str]:
    if bolus.immediate is not None:
        yield from _ending(bolus.immediate, "")
    elif bolus.whole is not None and bolus.extended is None:
        yield from _ending(bolus.whole, "")
    if bolus.extended is not None:
        yield from _ending(bolus.extended, "extended part ")
    elif bolus.extension_planned and bolus.over and bolus.immediate is not None and bolus.requested_later_u:
        later_u = bolus.amounts[1] if bolus.amounts else 0.0
        if later_u < bolus.requested_later_u - _TOLERANCE_U:
            yield f"extended part stopped after {amount(later_u)} of {amount(bolus.requested_later_u)} U"


def _ending(part: BolusEnd, which: str) -> Iterator[str]:
    delivered, requested = part.delivered_u, part.requested_u
    short = delivered is not None and requested is not None and delivered < requested - _TOLERANCE_U
    if part.status in _WHOLE_ENDINGS and not short:
        return
    how = _ENDINGS.get(part.status)
    if how is None:
        how = "stopped" if part.status in _WHOLE_ENDINGS else f"ended as {words(part.status)}"
    if delivered is None:
        yield f"{which}{how}"
    elif requested is None:
        yield f"{which}{how} after {amount(delivered)} U"
    else:
        yield f"{which}{how} after {amount(delivered)} of {amount(requested)} U"


def _sources(bolus: LabelledBolus) -> list[int | str]:
    keys = list(bolus.sources)
    if bolus.progress is not None and not bolus.over:
        keys.append(bolus.progress.record.key)
    if bolus.start.seq is None:
        return list(keys)
    return [int(key) if key.isdecimal() else key for key in keys]
