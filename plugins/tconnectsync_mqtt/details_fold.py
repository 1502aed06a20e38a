"""The fold of what changes rarely: mode, insulin today, infusion site, glucose sensor, and the newest upload."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from tconnectsync import Document, Event, document_id, events
from tconnectsync_mqtt import daily_dose
from tconnectsync_mqtt.daily_dose import DailyDose
from tconnectsync_mqtt.state_fold import COLLECTION, iso

DETAILS = "details"
MODES = ("normal", "sleep", "exercise", "eating_soon")


@attrs.frozen(kw_only=True)
class DetailsState:
    """What the pump reported last. None: not reported yet. ``worn_since``: its last hand-over."""

    worn: bool = True
    worn_since: datetime | None = None
    at: datetime | None = None
    received_at: datetime | None = None
    mode: str | None = None
    site_at: datetime | None = None
    sensor_at: datetime | None = None
    dose: DailyDose = attrs.field(factory=DailyDose)


@attrs.frozen(kw_only=True)
class DetailsFold:
    """The active pump's details as one document, which the broker retains."""

    name = "pump-details"
    title = "pump details"
    version = 6
    kinds = daily_dose.KINDS | {
        "cannula.filled", "mode.changed", "sensor.joined", "sensor.started", "sensor.stopped", "wear.began", "wear.ended",
    }  # fmt: skip
    state_type = DetailsState

    def initial(self) -> DetailsState:
        """An active pump of which nothing is known."""
        return DetailsState()

    def step(self, state: DetailsState, event: Event) -> tuple[DetailsState, Sequence[Document]]:
        """Return the state updated by ``event``."""
        body = event.body
        if isinstance(body, events.WearBegan):
            return attrs.evolve(state, worn=True, worn_since=event.at, dose=DailyDose()), ()
        if isinstance(body, events.WearEnded):
            return attrs.evolve(state, worn=False), ()
        changes: dict[str, Any] = {"at": event.at, "received_at": event.received_at}
        if event.kind in daily_dose.KINDS and state.worn:
            changes["dose"] = daily_dose.after(state.dose, event)
        elif isinstance(body, events.ModeChanged):
            changes["mode"] = body.mode if body.mode in MODES else None
        elif isinstance(body, events.CannulaFilled):
            if body.completed:
                changes["site_at"] = event.at
        elif isinstance(body, events.SensorStopped):
            changes["sensor_at"] = None
        elif isinstance(body, events.SensorStarted | events.SensorJoined) and event.at is not None:
            known = body.session_age_s is not None or isinstance(body, events.SensorStarted)
            changes["sensor_at"] = event.at - timedelta(seconds=body.session_age_s or 0.0) if known else state.sensor_at
        return attrs.evolve(state, **changes), ()

    def running(self, state: DetailsState) -> Sequence[Document]:
        """The document, while this pump is active."""
        if state.at is None or not state.worn:
            return ()
        content = {
            "mode": state.mode,
            "daily_dose": _daily_dose(state),
            "day_began_at": _time(state.dose.began_at),
            "day_ends_at": _time(state.dose.ends_at),
            "site_at": _time(state.site_at),
            "sensor_at": _time(state.sensor_at),
            "received_at": _time(state.received_at),
            "data_at": iso(state.at),
        }
        identity = document_id("site", COLLECTION, DETAILS)
        return (Document(id=identity, collection=COLLECTION, at=state.at, content=content),)


def _daily_dose(state: DetailsState) -> float | None:
    """None on the day of a hand-over, of which a part of the insulin came from another pump, and if a part was not counted."""
    dose, since = state.dose, state.worn_since
    if dose.began_at is None or dose.lacks_begin or dose.lacks_basal or (since is not None and dose.began_at < since):
        return None
    return round(dose.insulin_u, 2)


def _time(at: datetime | None) -> str | None:
    return None if at is None else iso(at)
