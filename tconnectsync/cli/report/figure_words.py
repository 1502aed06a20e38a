"""Figures as text, the same in the terminal and in the file."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from tconnectsync.statistics.glucose_counts import TimeInRange
from tconnectsync.statistics.summary import Summary
from tconnectsync.text.glucose_units import GlucoseUnits
from tconnectsync.text.plural import counted

UNKNOWN = "–"
MARK = "*"
INCOMPLETE = f"{MARK} The log has no basal rate for a part of this day, so the pump delivered more than that."


@attrs.frozen(kw_only=True)
class GlucoseBand:
    """One range of glucose, highest first: its name in :class:`TimeInRange`, its words and its bounds."""

    name: str
    words: str
    bounds: str
    share: float | None


def percent(share: float | None) -> str:
    """Format a share: whole percents; "<1 %" for less than half a percent that is not nothing."""
    if share is None:
        return UNKNOWN
    return "<1 %" if 0 < share < 0.5 else f"{share:.0f} %"


def number(value: float | None, digits: int = 1, unit: str = "") -> str:
    """Format a number with its unit."""
    return UNKNOWN if value is None else f"{value:,.{digits}f}{' ' if unit else ''}{unit}"


def glucose(mg_dl: float | None, units: GlucoseUnits) -> str:
    """Format a glucose with its units."""
    return UNKNOWN if mg_dl is None else f"{units.text(mg_dl)} {units.label}"


def bands(shares: TimeInRange | None, units: GlucoseUnits) -> Sequence[GlucoseBand]:
    """Return the five ranges with their shares, the highest first."""
    low, urgent, high, very_high = (units.text(bound) for bound in (70, 54, 180, 250))
    rows = (
        ("very_high", "very high", f"above {very_high}"),
        ("high", "high", f"above {high} to {very_high}"),
        ("target", "in range", f"{low} to {high}"),
        ("low", "low", f"{urgent} to below {low}"),
        ("very_low", "very low", f"below {urgent}"),
    )
    return [
        GlucoseBand(name=name, words=words, bounds=bounds, share=None if shares is None else getattr(shares, name))
        for name, words, bounds in rows
    ]


def glucose_figures(whole: Summary, units: GlucoseUnits) -> Sequence[tuple[str, str]]:
    """Return (name, value) of what describes the glucose of a period."""
    variation = whole.glucose.variation_percent
    return (
        ("Mean glucose", glucose(whole.glucose.mean_mg_dl, units)),
        ("GMI (estimated HbA1c)", number(whole.glucose.gmi_percent, 1, "%")),
        ("Variation (stable up to 36 %)", number(variation, 0, "%")),
        ("Time with sensor data", percent(whole.coverage_percent)),
    )


def incomplete_period(whole: Summary, days: Sequence[Summary]) -> str:
    """Say that records of some days are missing, so that the figures per day are too low. Empty: none is, or insulin is unknown."""
    lacking = sum(day.is_basal_incomplete for day in days)
    if not lacking or whole.known_total_u is None:
        return ""
    return f"{MARK} Of {counted(lacking, 'day')} a part is missing in the log: there was more insulin per day, and perhaps more boluses and carbs."


def insulin_figures(whole: Summary, days: Sequence[Summary]) -> Sequence[tuple[str, str]]:
    """Return (name, value) of insulin and carbs per day. Sums are marked if records of some of these ``days`` are missing."""
    insulin, mark = whole.insulin, MARK if incomplete_period(whole, days) else ""
    basal_share, total = whole.basal_percent, whole.total_u_per_day
    bolus_share = None if basal_share is None else 100 - basal_share
    return (
        ("All insulin", f"{mark}{number(total, 1, 'U')}"),
        ("Carbs", f"{mark}{number(whole.per_day(insulin.carbs_g), 0, 'g')}"),
        ("Basal", f"{mark}{number(whole.per_day(whole.known_basal_u), 1, 'U')} ({percent(basal_share)})"),
        ("Boluses", f"{mark}{number(whole.per_day(insulin.bolus_u), 1, 'U')} ({percent(bolus_share)})"),
        ("Number of boluses", number(whole.per_day(insulin.boluses), 1)),
        ("Number of corrections", number(whole.per_day(insulin.corrections), 1)),
        ("Automatic boluses", number(whole.per_day(insulin.automatic_boluses), 1)),
        ("Insulin of automatic boluses", number(whole.per_day(insulin.automatic_u), 1, "U")),
    )
