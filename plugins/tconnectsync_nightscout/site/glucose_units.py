"""Glucose in the units of a site: folds say mg/dl, as the pump does; a site shows the number of a bolus as it was sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MG_DL_PER_MMOL_L = 18.0182


def is_mmol(units: str | None) -> bool:
    """Whether ``units``, as a site or a document names them, are mmol/L; what nobody said is mg/dl."""
    return (units or "").lower().startswith("mmol")


def in_units(fields: Mapping[str, Any], units: str | None) -> Mapping[str, Any]:
    """A treatment whose ``glucose`` is in mg/dl, or has none, with the value in ``units``."""
    value = fields.get("glucose")
    if not is_mmol(units) or is_mmol(fields.get("units")) or not isinstance(value, int | float):
        return fields
    return {**fields, "glucose": round(value / MG_DL_PER_MMOL_L, 1), "units": "mmol"}
