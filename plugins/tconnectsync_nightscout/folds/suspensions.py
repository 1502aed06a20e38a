"""Delivery stopped and resumed (records 11, 12) as notes; the basal fold draws the same as 0 U/h."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from tconnectsync import Document, Event, events
from tconnectsync_nightscout.folds.documents import NoState, mark_of, treatment
from tconnectsync_nightscout.folds.stretches import suspension_words


@attrs.frozen(kw_only=True)
class SuspensionNotes:
    """``pumping.suspended`` and ``pumping.resumed`` to a Note each, with the reason."""

    name = "suspension-notes"
    version = 1
    kinds = frozenset({"pumping.resumed", "pumping.suspended"})
    state_type = NoState

    def initial(self) -> NoState:
        """Nothing."""
        return NoState()

    def step(self, state: NoState, event: Event) -> tuple[NoState, Sequence[Document]]:
        """The event's note."""
        mark = mark_of(event)
        if isinstance(event.body, events.PumpingSuspended):
            notes = suspension_words(event.body.reason)
        else:
            notes = "Delivery resumed"
        return state, (treatment("Note", mark, "suspension-note", mark.key, fields={"notes": notes}),)

    def running(self, state: NoState) -> Sequence[Document]:  # noqa: ARG002 - the protocol's signature
        """Nothing: the Temp Basal shows how long it lasts."""
        return ()
