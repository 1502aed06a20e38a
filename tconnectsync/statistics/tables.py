"""Figures as plain rows and JSON values, rounded, with the units in the names."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from tconnectsync.statistics.glucose_counts import HALF_HOURS, GlucoseCounts, TimeInRange
from tconnectsync.statistics.summary import Summary

PERCENTS = (5, 25, 50, 75, 95)
SHARES = {
    "very_low": "very_low_percent",
    "low": "low_percent",
    "target": "in_range_percent",
    "high": "high_percent",
    "very_high": "very_high_percent",
}
"""The names of :class:`TimeInRange` in rows."""


def day_row(day: Summary) -> dict[str, Any]:
    """Return the figures of one day; None: unknown. Nothing is known about the insulin of a day without data."""
    insulin = day.insulin
    amounts: dict[str, Any] = {
        "total_u": _rounded(day.known_total_u, 2),
        "basal_u": _rounded(day.known_basal_u, 2),
        "bolus_u": round(insulin.bolus_u, 2),
        "automatic_u": round(insulin.automatic_u, 2),
        "boluses": insulin.boluses,
        "automatic_boluses": insulin.automatic_boluses,
        "corrections": insulin.corrections,
        "carbs_g": round(insulin.carbs_g, 1),
        "suspended_minutes": round(insulin.suspended_s / 60),
        "basal_known_percent": _rounded(day.basal_known_percent),
    }
    return {
        "date": day.first_day.isoformat(),
        "hours": round(day.length_s / 3600, 2),
        "sensor_percent": _rounded(day.coverage_percent),
        "readings": day.glucose.readings,
        "mean_mg_dl": _rounded(day.glucose.mean_mg_dl),
        "variation_percent": _rounded(day.glucose.variation_percent),
        **_shares(day.glucose.time_in_range),
        **(amounts if day.days_with_data else dict.fromkeys(amounts)),
    }


def daily_csv(days: Iterable[Summary]) -> str:
    """Return a table with a header and one line for each day: comma-separated, decimal points, CRLF (RFC 4180)."""
    rows = [day_row(day) for day in days]
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]) if rows else [], lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def period_json(whole: Summary) -> dict[str, Any]:
    """Return the figures of a period as JSON values. Glucose is in mg/dL, times of day are local."""
    glucose, insulin = whole.glucose, whole.insulin
    return {
        "first_day": whole.first_day.isoformat(),
        "last_day": whole.last_day.isoformat(),
        "days": whole.days,
        "days_with_data": whole.days_with_data,
        "glucose": {
            "readings": glucose.readings,
            "sensor_percent": _rounded(whole.coverage_percent),
            "mean_mg_dl": _rounded(glucose.mean_mg_dl),
            "deviation_mg_dl": _rounded(glucose.deviation_mg_dl),
            "variation_percent": _rounded(glucose.variation_percent),
            "gmi_percent": _rounded(glucose.gmi_percent, 2),
            **_shares(glucose.time_in_range),
            "by_hour": [
                {"hour": hour, **_shares(shares)} for hour, shares in enumerate(glucose.time_in_range_by_hour())
            ],
            "percentiles_mg_dl": _curve(glucose),
        },
        "insulin": {
            "total_u_per_day": _rounded(whole.total_u_per_day, 2),
            "basal_u_per_day": _rounded(whole.per_day(whole.known_basal_u), 2),
            "bolus_u_per_day": _rounded(whole.per_day(insulin.bolus_u), 2),
            "automatic_u_per_day": _rounded(whole.per_day(insulin.automatic_u), 2),
            "basal_percent": _rounded(whole.basal_percent),
            "basal_known_percent": _rounded(whole.basal_known_percent),
            "boluses_per_day": _rounded(whole.per_day(insulin.boluses), 2),
            "automatic_boluses_per_day": _rounded(whole.per_day(insulin.automatic_boluses), 2),
            "corrections_per_day": _rounded(whole.per_day(insulin.corrections), 2),
            "carbs_g_per_day": _rounded(whole.per_day(insulin.carbs_g)),
            "suspended_minutes_per_day": _rounded(whole.per_day(insulin.suspended_s / 60)),
        },
    }


def _shares(shares: TimeInRange | None) -> Mapping[str, float | None]:
    values = attrs.asdict(shares) if shares is not None else dict.fromkeys(SHARES)
    return {shown: _rounded(values[name]) for name, shown in SHARES.items()}


def _curve(glucose: GlucoseCounts) -> list[dict[str, Any]]:
    found = []
    for half, values in zip(range(HALF_HOURS), glucose.curve(PERCENTS), strict=True):
        time = f"{half // 2:02d}:{half % 2 * 30:02d}"
        shown: Iterable[float | None] = (
            [None] * len(PERCENTS) if values is None else [round(each, 1) for each in values]
        )
        found.append({"time": time, **{f"p{percent}": value for percent, value in zip(PERCENTS, shown, strict=True)}})
    return found


def _rounded(value: float | None, digits: int = 1) -> float | None:
    return None if value is None else round(value, digits)
