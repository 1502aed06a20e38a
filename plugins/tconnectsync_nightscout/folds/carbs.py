"""Carbs entered without insulin (record 48) as Carb Correction."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from tconnectsync import Document, Event
from tconnectsync.events.limits import MAX_CARBS_G, possible
from tconnectsync_nightscout.folds.documents import NoState, amount, impossible, mark_of, milli, treatment


@attrs.frozen(kw_only=True)
class CarbsFold:
    """``carbs.entered`` to a Carb Correction; ``carbs``: "on", "note" (a Note that tells the amount) or "off"."""

    carbs: str = "on"

    name = "carbs"
    version = 1
    kinds = frozenset({"carbs.entered"})
    state_type = NoState

    def initial(self) -> NoState:
        """Nothing."""
        return NoState()

    def step(self, state: NoState, event: Event) -> tuple[NoState, Sequence[Document]]:
        """The entry's document; none for 0 g."""
        if self.carbs == "off":
            return state, ()
        mark, carbs_g = mark_of(event), event.body.carbs_g
        if not possible(carbs_g, 0.0, MAX_CARBS_G):
            return state, (impossible("carbs in g", carbs_g, mark, "carbs", mark.key),)
        if milli(carbs_g) == 0:
            return state, ()
        if self.carbs == "note":
            fields = {"notes": f"{amount(carbs_g)} g carbs"}
            return state, (treatment("Note", mark, "carbs", mark.key, fields=fields),)
        return state, (treatment("Carb Correction", mark, "carbs", mark.key, fields={"carbs": milli(carbs_g)}),)

    def running(self, state: NoState) -> Sequence[Document]:  # noqa: ARG002 - the protocol's signature
        """Nothing goes on."""
        return ()
