"""Glucose in mg/dL and mmol/L: the one place that converts and formats it. Events and figures always have mg/dL."""

from __future__ import annotations

from enum import Enum

MG_DL_PER_MMOL_L = 18.0182
"""From the molar mass of glucose, 180.182 g/mol."""


class GlucoseUnits(str, Enum):
    """The units in which glucose is shown. The values are the texts of the configuration and of Nightscout."""

    MG_DL = "mg/dl"
    MMOL_L = "mmol"

    @property
    def label(self) -> str:
        """The units as printed beside a number: "mg/dL" or "mmol/L"."""
        return "mmol/L" if self is GlucoseUnits.MMOL_L else "mg/dL"

    def convert(self, mg_dl: float) -> float:
        """Convert from mg/dL, without rounding."""
        return mg_dl / MG_DL_PER_MMOL_L if self is GlucoseUnits.MMOL_L else mg_dl

    def text(self, mg_dl: float) -> str:
        """Format a glucose in mg/dL as a number in these units: "112", or with one decimal "6.2"."""
        return f"{self.convert(mg_dl):.{1 if self is GlucoseUnits.MMOL_L else 0}f}"


def parse_glucose_units(name: str | None) -> GlucoseUnits:
    """Return the units that ``name`` means, as Nightscout and Tandem spell them; mg/dL if it is unknown or None."""
    plain = (name or "").lower()
    return GlucoseUnits.MMOL_L if plain.startswith(("mmol", "millimol")) else GlucoseUnits.MG_DL
