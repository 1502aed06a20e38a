"""The delivered amounts of the last boluses, so that a bolus with several records is counted once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tconnectsync.events.insulin import BolusCompleted, BolusDelivered, BolusExtendedCompleted
from tconnectsync.events.limits import MAX_BOLUS_U, is_possible

BOLUSES_KEPT = 16
"""As many boluses may be given while an extended one is running, which takes eight hours at most."""
_PARTS: Mapping[type, str] = {
    BolusCompleted: "immediate_u",
    BolusExtendedCompleted: "extended_u",
    BolusDelivered: "together_u",
}


class BolusAmount(msgspec.Struct, frozen=True, kw_only=True):
    """The amount of one bolus: its two parts by records 20 and 21, or both together by 280."""

    bolus_id: int
    immediate_u: float = 0.0
    extended_u: float = 0.0
    together_u: float = 0.0

    @property
    def delivered_u(self) -> float:
        """The delivered insulin. The records report the same insulin, so the larger sum is the complete one."""
        return max(self.immediate_u + self.extended_u, self.together_u)


class CountedBolus(msgspec.Struct, frozen=True, kw_only=True):
    """``boluses`` with one more record; its bolus has delivered ``delivered_u``, ``more_u`` of which is new."""

    boluses: tuple[BolusAmount, ...]
    delivered_u: float
    more_u: float


def count(
    boluses: tuple[BolusAmount, ...], body: BolusCompleted | BolusExtendedCompleted | BolusDelivered
) -> CountedBolus | None:
    """Count a record; None if its amount is not known or impossible."""
    if body.delivered_u is None or not is_possible(body.delivered_u, 0.0, MAX_BOLUS_U):
        return None
    before = next((bolus for bolus in boluses if bolus.bolus_id == body.bolus_id), BolusAmount(bolus_id=body.bolus_id))
    parts: dict[str, Any] = {_PARTS[type(body)]: float(body.delivered_u)}
    now = msgspec.structs.replace(before, **parts)
    others = tuple(bolus for bolus in boluses if bolus is not before)
    return CountedBolus(
        boluses=(*others, now)[-BOLUSES_KEPT:],
        delivered_u=now.delivered_u,
        more_u=max(0.0, now.delivered_u - before.delivered_u),
    )
