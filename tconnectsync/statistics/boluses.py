"""Boluses as values for figures and charts: impossible amounts left out, and what is known while one is running."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from tconnectsync.events import Event
from tconnectsync.events.bolus_join import KINDS, join_record
from tconnectsync.events.boluses import JoinedBolus
from tconnectsync.events.limits import GLUCOSE_MG_DL, MAX_BOLUS_U, MAX_CARBS_G, is_possible
from tconnectsync.statistics.therapy import Bolus

TOLERANCE_U = 0.01


@attrs.define(kw_only=True)
class BolusReader:
    """Reads the boluses of one stream. Give it events with UTC times in the pump's order, then call :meth:`end`."""

    pump: str = ""
    _open: Sequence[JoinedBolus] = ()

    def add(self, event: Event) -> Iterator[Bolus]:
        """Yield the boluses that are finished once ``event`` happened."""
        if event.at is None or event.kind not in KINDS:
            return
        self._open, finished = join_record(self._open, event, JoinedBolus)
        for joined in finished:
            yield bolus_of(joined, self.pump)

    def end(self) -> Iterator[Bolus]:
        """Yield the other boluses, also those that are still running."""
        still_open, self._open = self._open, ()
        for joined in still_open:
            yield bolus_of(joined, self.pump)


def bolus_of(joined: JoinedBolus, pump: str) -> Bolus:
    """Return the bolus as far as it is known."""
    now_u, later_u = (_units(amount) or 0.0 for amount in joined.amounts_so_far or (0.0, 0.0))
    requested_u, extended = _units(joined.requested_u), joined.extension_planned
    return Bolus(
        bolus_id=joined.bolus_id,
        started_at=joined.start.at,
        ended_at=joined.ended_at,
        immediate_u=round(now_u, 3),
        extended_u=round(later_u, 3),
        extended_from=joined.extension_start if extended else None,
        extended_until=max(joined.extension_start, joined.extension_end) if extended else None,
        requested_u=None if requested_u is None else round(requested_u, 3),
        carbs_g=joined.carbs_g if is_possible(joined.carbs_g, 0.0, MAX_CARBS_G) and joined.carbs_g > 0 else None,
        glucose_mg_dl=joined.glucose_mg_dl if is_possible(joined.glucose_mg_dl, *GLUCOSE_MG_DL) else None,
        correction_u=_units(joined.correction_u),
        automatic=joined.automatic,
        extended=extended,
        status=joined.status or ("completed" if joined.whole is not None else None),
        pump=pump,
    )


def _units(value: float | None) -> float | None:
    return value if is_possible(value, 0.0, MAX_BOLUS_U + TOLERANCE_U) else None
