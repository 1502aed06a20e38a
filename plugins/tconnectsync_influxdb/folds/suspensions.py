"""Suspensions: one point where each begins, with its length once it is over."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from tconnectsync import Document, Event, events
from tconnectsync.events.source_record import SourceRecord, record_of
from tconnectsync_influxdb.folds.point_documents import point_document


@attrs.frozen(kw_only=True)
class SuspensionState:
    """The present suspension; ``record`` None: insulin is delivered, or the pump is not worn."""

    worn: bool = True
    record: SourceRecord | None = None
    reason: str = ""


class SuspensionsFold:
    """``suspension``: it ends when the pump resumes, or when a rate above 0 is delivered."""

    name = "suspensions"
    version = 1
    kinds = frozenset({"basal.delivered", "pumping.resumed", "pumping.suspended", "wear.began", "wear.ended"})
    state_type = SuspensionState

    def initial(self) -> SuspensionState:
        """An active pump that delivers."""
        return SuspensionState()

    def step(self, state: SuspensionState, event: Event) -> tuple[SuspensionState, Sequence[Document]]:
        """Return the state after ``event``, and the suspension that it ended."""
        body = event.body
        if isinstance(body, events.WearBegan):
            return SuspensionState(), ()
        if isinstance(body, events.WearEnded):
            return SuspensionState(worn=False), self._ended(state, event)
        if not state.worn:
            return state, ()
        if isinstance(body, events.PumpingSuspended):
            begun = (
                state if state.record is not None else attrs.evolve(state, record=record_of(event), reason=body.reason)
            )
            return begun, ()
        if isinstance(body, events.BasalDelivered) and not body.rate_u_per_h > 0:
            return state, ()
        return attrs.evolve(state, record=None, reason=""), self._ended(state, event)

    def running(self, state: SuspensionState) -> Sequence[Document]:
        """The present suspension, without a length."""
        return () if state.record is None else (_document(state.record, state.reason, None),)

    def _ended(self, state: SuspensionState, event: Event) -> Sequence[Document]:
        if state.record is None:
            return ()
        length_s = (record_of(event).at - state.record.at).total_seconds()
        return (_document(state.record, state.reason, max(length_s / 60, 0.0)),)


def _document(record: SourceRecord, reason: str, length_min: float | None) -> Document:
    return point_document("suspension", record, fields={"reason": reason or "unknown", "length_min": length_min})
