"""Pairs a site's boluses and carbs with the true ones."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import attrs

from tconnectsync_simulator.pump.truth import Truth

TOLERANCE_U = 0.0015
WRONG_TIME_S = 26 * 3600  # a dose with the same amounts that is this near counts as one at a wrong time

Document = Mapping[str, Any]


def read_time(text: str) -> datetime:
    """A ``created_at`` as Nightscout stores it."""
    at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return at if at.tzinfo is not None else at.replace(tzinfo=timezone.utc)


def _insulin(doc: Document) -> float:
    """All units of a treatment: for a combo, the immediate part and the drawn extended part."""
    insulin = float(doc.get("insulin") or 0)
    if doc.get("eventType") == "Combo Bolus":
        insulin += float(doc.get("relative") or 0) * float(doc.get("duration") or 0) / 60
    return insulin


@attrs.define(kw_only=True, eq=False)
class _Dose:
    at: datetime
    insulin_u: float
    carbs_g: float
    text: str = ""
    inside: bool = True

    def same_amounts(self, other: _Dose) -> bool:
        return abs(self.insulin_u - other.insulin_u) <= TOLERANCE_U and abs(self.carbs_g - other.carbs_g) < 0.5


def _true_doses(truth: Truth, begin: datetime, end: datetime) -> list[_Dose]:
    doses = [
        _Dose(
            at=bolus.started_at,
            insulin_u=bolus.delivered_u,
            carbs_g=bolus.carbs_g,
            text=f"bolus {bolus.bolus_id} of {bolus.delivered_u:.3f} U, {bolus.carbs_g} g, at {bolus.started_at}",
            inside=begin <= bolus.started_at < end,
        )
        for bolus in truth.boluses
        if bolus.finished and (bolus.delivered_u > 0.0005 or bolus.carbs_g)
    ]
    doses += [
        _Dose(
            at=carbs.at,
            insulin_u=0.0,
            carbs_g=carbs.value,
            text=f"{carbs.value:g} g without insulin at {carbs.at}",
            inside=begin <= carbs.at < end,
        )
        for carbs in truth.carbs_only
    ]
    return sorted(doses, key=lambda dose: dose.at)


def _pair(
    expected: list[_Dose], shown: list[_Dose], *, within: timedelta, amounts: bool
) -> tuple[list[_Dose], list[_Dose]]:
    """Takes a nearest partner out of ``shown`` for each dose. Returns (paired, left) of ``expected``."""
    paired, left = [], []
    for dose in expected:
        first = bisect_left(shown, dose.at - within, key=lambda each: each.at)
        best = None
        for place in range(first, len(shown)):
            other = shown[place]
            if other.at > dose.at + within:
                break
            if (not amounts or dose.same_amounts(other)) and (
                best is None or abs(other.at - dose.at) < abs(shown[best].at - dose.at)
            ):
                best = place
        if best is None:
            left.append(dose)
        else:
            del shown[best]
            paired.append(dose)
    return paired, left


def dose_differences(
    truth: Truth, treatments: Sequence[Document], begin: datetime, end: datetime, tolerance: timedelta
) -> dict[str, Any]:
    """The fields of :class:`Differences` that are about insulin and carbs. Matched by start and amounts, not by identity."""
    expected = _true_doses(truth, begin, end)
    shown = sorted(
        (
            _Dose(at=read_time(doc["created_at"]), insulin_u=_insulin(doc), carbs_g=float(doc.get("carbs") or 0))
            for doc in treatments
            if doc.get("eventType") != "Temp Basal" and (doc.get("insulin") or doc.get("carbs") or doc.get("relative"))
        ),
        key=lambda dose: dose.at,
    )
    shown_u = sum(dose.insulin_u for dose in shown if begin <= dose.at < end)
    _, left = _pair(expected, shown, within=tolerance, amounts=True)
    other_amounts, left = _pair(left, shown, within=tolerance, amounts=False)
    other_time, lost = _pair(left, shown, within=timedelta(seconds=WRONG_TIME_S), amounts=True)
    # what remains on the site was delivered twice or never happened; a bolus that still runs is neither
    running = [bolus.started_at for bolus in truth.boluses if not bolus.finished]
    return {
        "boluses_lost": tuple(dose.text for dose in lost if dose.inside and dose.insulin_u),
        "carbs_lost": tuple(dose.text for dose in lost if dose.inside and not dose.insulin_u),
        "boluses_wrong": tuple(f"{dose.text}: other amounts are shown" for dose in other_amounts if dose.inside)
        + tuple(f"{dose.text}: shown at another time" for dose in other_time if dose.inside),
        "boluses_doubled": tuple(
            f"{dose.insulin_u:.3f} U, {dose.carbs_g:g} g at {dose.at}"
            for dose in shown
            if begin <= dose.at < end and not any(abs(dose.at - at) <= tolerance for at in running)
        ),
        "boluses_compared": sum(dose.inside for dose in expected),
        "bolus_true_u": sum(dose.insulin_u for dose in expected if dose.inside),
        "bolus_shown_u": shown_u,
    }
