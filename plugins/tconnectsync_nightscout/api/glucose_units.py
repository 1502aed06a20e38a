"""Convert glucose from the pump's mg/dl to the site's units, because a site shows the value of a bolus as it was sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tconnectsync import GlucoseUnits, parse_glucose_units


def is_mmol(units: str | None) -> bool:
    """Whether ``units`` of a site or document are mmol/L; unknown units count as mg/dl."""
    return parse_glucose_units(units) is GlucoseUnits.MMOL_L


def in_units(fields: Mapping[str, Any], units: str | None) -> Mapping[str, Any]:
    """Return the treatment with its ``glucose``, if any, converted from mg/dl to ``units``."""
    value = fields.get("glucose")
    if value is None or not is_mmol(units) or is_mmol(fields.get("units")) or not isinstance(value, int | float):
        return fields
    return {**fields, "glucose": round(GlucoseUnits.MMOL_L.convert(value), 1), "units": "mmol"}
