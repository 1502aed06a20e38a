"""Cannula, cartridge and tubing fills: three different things, so that Nightscout's age counters are right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from tconnectsync import Document, Event, events
from tconnectsync.events.limits import MAX_VOLUME_U, possible
from tconnectsync_nightscout.folds.documents import (
    Mark,
    NoState,
    amount,
    impossible,
    mark_of,
    milli,
    plain_notes,
    treatment,
    words,
)

_DONE = frozenset({None, "completed"})
"""Without a status a fill counts as completed: older records have none."""
_NOT_SENT = frozenset({"", "off", "none"})


@attrs.frozen(kw_only=True)
class FillsFold:
    """Records 61, 33 and 63 to the eventTypes given for each; "" leaves that kind out.

    A fill that was broken off is a Note whatever its eventType: the site or the cartridge is not new.
    """

    cannula: str = "Site Change"
    cartridge: str = "Insulin Change"
    tubing: str = "Note"

    name = "fills"
    version = 1
    kinds = frozenset({"cannula.filled", "cartridge.filled", "tubing.filled"})
    state_type = NoState

    def initial(self) -> NoState:
        """Nothing."""
        return NoState()

    def step(self, state: NoState, event: Event) -> tuple[NoState, Sequence[Document]]:
        """The fill's document."""
        body, mark = event.body, mark_of(event)
        if isinstance(body, events.CartridgeFilled):
            return state, _cartridge(body, mark, self.cartridge)
        if isinstance(body, events.CannulaFilled):
            return state, _prime(body, mark, self.cannula, "Cannula")
        return state, _prime(body, mark, self.tubing, "Tubing")

    def running(self, state: NoState) -> Sequence[Document]:  # noqa: ARG002 - the protocol's signature
        """Nothing goes on."""
        return ()


def _cartridge(body: events.CartridgeFilled, mark: Mark, event_type: str) -> Sequence[Document]:
    if event_type.lower() in _NOT_SENT:
        return ()
    # the shown amount first: the measured one is 0 on newer pumps
    said = next((volume for volume in (body.volume_u, body.measured_u) if volume), None)
    problems: Sequence[Document] = ()
    fields: dict[str, Any] = {"notes": "Cartridge filled"}
    if said is not None and possible(said, 0.0, MAX_VOLUME_U):
        fields = {"notes": f"Cartridge filled with {amount(said)} U", "insulinVolume": milli(said)}
    elif said is not None:
        problems = (impossible("cartridge volume in U", said, mark, "fill-impossible", mark.key),)
    return (treatment(event_type, mark, "fill", mark.key, fields=fields), *problems)


def _prime(
    body: events.CannulaFilled | events.TubingFilled, mark: Mark, event_type: str, what: str
) -> Sequence[Document]:
    if event_type.lower() in _NOT_SENT:
        return ()
    size = f" with {amount(body.prime_u)} U" if body.prime_u and possible(body.prime_u, 0.0, MAX_VOLUME_U) else ""
    if body.status in _DONE:
        fields = {"notes": f"{what} filled{size}"}
    else:
        event_type = "Note"
        fields = {"notes": plain_notes(f"{what} fill not completed{size}", words(body.status or ""))}
    return (treatment(event_type, mark, "fill", mark.key, fields=fields),)
