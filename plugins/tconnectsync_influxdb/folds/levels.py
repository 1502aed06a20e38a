"""Levels that rise and fall: insulin on board, battery, reservoir. Only of the pump that is worn."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from tconnectsync import Document, Event, events
from tconnectsync.events import reservoir
from tconnectsync.events.reservoir import Reservoir
from tconnectsync.events.source_record import record_of
from tconnectsync_influxdb.folds.point_documents import point_document

_WEAR = frozenset({"wear.began", "wear.ended"})


@attrs.frozen(kw_only=True)
class LevelsState:
    """Whether this pump is worn."""

    worn: bool = True


class LevelsFold:
    """``iob`` from every record that has it, and ``battery``."""

    name = "levels"
    version = 1
    kinds = _WEAR | {
        "battery.measured", "bolus.completed", "bolus.extended_completed", "bolus.extended_started", "bolus.requested",
        "bolus.started", "day.summary", "glucose.fingerstick",
    }  # fmt: skip
    state_type = LevelsState

    def initial(self) -> LevelsState:
        """Worn."""
        return LevelsState()

    def step(self, state: LevelsState, event: Event) -> tuple[LevelsState, Sequence[Document]]:
        """Return the state after ``event``, and its points."""
        body = event.body
        if isinstance(body, events.WearBegan | events.WearEnded):
            return LevelsState(worn=isinstance(body, events.WearBegan)), ()
        if not state.worn:
            return state, ()
        record, found = record_of(event), []
        if getattr(body, "iob_u", None) is not None:
            found.append(point_document("iob", record, fields={"iob_u": body.iob_u}))
        battery = {"percent": getattr(body, "battery_percent", None), "mv": getattr(body, "battery_mv", None)}
        if any(value is not None for value in battery.values()):
            found.append(point_document("battery", record, fields=battery))
        return state, found

    def running(self, state: LevelsState) -> Sequence[Document]:  # noqa: ARG002 - the protocol's signature
        """Nothing: a level at a time does not change."""
        return ()


@attrs.frozen(kw_only=True)
class ReservoirState:
    """The insulin in the cartridge, and the whole units of the last point."""

    worn: bool = True
    reservoir: Reservoir = attrs.field(factory=Reservoir)
    shown_u: int | None = None


class ReservoirFold:
    """``reservoir``: what the pump reported minus what it delivered since, a point for each unit that is gone."""

    name = "reservoir"
    version = 2
    kinds = _WEAR | reservoir.KINDS
    state_type = ReservoirState

    def initial(self) -> ReservoirState:
        """Worn, and nothing known."""
        return ReservoirState()

    def step(self, state: ReservoirState, event: Event) -> tuple[ReservoirState, Sequence[Document]]:
        """Return the state after ``event``, and a point if the whole units changed."""
        if isinstance(event.body, events.WearBegan | events.WearEnded):
            return attrs.evolve(state, worn=isinstance(event.body, events.WearBegan), shown_u=None), ()
        left = reservoir.after(state.reservoir, event)
        units = None if left.shown_u is None else round(left.shown_u)
        after = attrs.evolve(state, reservoir=left, shown_u=units)
        if left.shown_u is None or units == state.shown_u or not state.worn:
            return after, ()
        return after, (point_document("reservoir", record_of(event), fields={"reservoir_u": left.shown_u}),)

    def running(self, state: ReservoirState) -> Sequence[Document]:  # noqa: ARG002 - the protocol's signature
        """Nothing: a level at a time does not change."""
        return ()
