"""Sensor sessions as Sensor Start and Sensor Stop; sensor alerts as notes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import attrs

from tconnectsync import Document, Event, each, events
from tconnectsync.events.source_record import SourceRecord, record_of
from tconnectsync_nightscout.folds.documents import plain_notes, treatment, words

SAME_START = timedelta(hours=1)
"""Two records whose sessions began this close to each other are of the same session: sensor clocks are not exact."""
NEW_WITHIN_S = 24 * 3600.0
"""Without an earlier session, a join this soon after the sensor's start counts as a start."""

_SENSORS = {
    "dexcom_g5": "Dexcom G5",
    "dexcom_g6": "Dexcom G6",
    "dexcom_g7": "Dexcom G7",
    "libre_2": "FreeStyle Libre 2",
    "libre_3": "FreeStyle Libre 3",
}


@attrs.frozen(kw_only=True)
class SensorsState:
    """The newest sensor session: sensor, start (None: unknown), signature, and whether it was stopped."""

    known: bool = False
    sensor: str = ""
    began_at: datetime | None = None
    signature: str | None = None
    stopped: bool = False


@attrs.frozen(kw_only=True)
class SensorsFold:
    """``sensor.started``, ``sensor.joined`` and ``sensor.stopped`` as Sensor Start and Sensor Stop.

    After a reset a pump joins its current session again, which is not a start. Sessions are told apart by their start
    (the record's time less the session's age), else by their signature, which may repeat from sensor to sensor.
    """

    name = "sensors"
    version = 1
    kinds = frozenset({"sensor.joined", "sensor.started", "sensor.stopped"})
    state_type = SensorsState

    def initial(self) -> SensorsState:
        """No session known."""
        return SensorsState()

    def step(self, state: SensorsState, event: Event) -> tuple[SensorsState, Sequence[Document]]:
        """Return the state after ``event``, and its start or stop."""
        body, record = event.body, record_of(event)
        sensor = _SENSORS.get(body.sensor, words(body.sensor))
        if isinstance(body, events.SensorStopped):
            reason = words(body.reason) if body.reason and not body.reason.isdigit() else None
            fields = {"notes": plain_notes(sensor, reason)}
            stopped = attrs.evolve(state, known=True, sensor=body.sensor, stopped=True)
            return stopped, (treatment("Sensor Stop", record, "sensor", record.key, fields=fields),)
        age_s = _age_s(body)
        began_at = None if age_s is None else record.at - timedelta(seconds=age_s)
        if _is_new(state, body, age_s, began_at):
            state = SensorsState(known=True, sensor=body.sensor, began_at=began_at, signature=body.signature)
            return state, (_started(record, sensor, age_s),)
        joined = SensorsState(
            known=True,
            sensor=body.sensor,
            began_at=state.began_at if state.sensor == body.sensor and state.began_at is not None else began_at,
            signature=body.signature or state.signature,
        )
        return joined, ()

    def running(self, state: SensorsState) -> Sequence[Document]:  # noqa: ARG002 - the protocol's signature
        """Nothing: a start has no length."""
        return ()


def _is_new(
    state: SensorsState,
    body: events.SensorStarted | events.SensorJoined,
    age_s: float | None,
    began_at: datetime | None,
) -> bool:
    if state.known and state.sensor == body.sensor:
        if state.began_at is not None and began_at is not None:
            return abs(began_at - state.began_at) > SAME_START
        if state.signature is not None and body.signature is not None and not state.stopped:
            return body.signature != state.signature
    if isinstance(body, events.SensorStarted):
        return True
    if age_s is not None:
        return age_s <= NEW_WITHIN_S
    return state.stopped


def _age_s(body: events.SensorStarted | events.SensorJoined) -> float | None:
    """The session's age; None if it is missing or invalid."""
    age_s = body.session_age_s
    return float(age_s) if age_s is not None and 0 <= age_s <= 400 * 86_400 else None


def _started(record: SourceRecord, sensor: str, age_s: float | None) -> Document:
    hours = None if age_s is None or age_s < 3600 else f"begun {age_s / 3600:.0f} h before"
    return treatment("Sensor Start", record, "sensor", record.key, fields={"notes": plain_notes(sensor, hours)})


@each("sensor.alert_raised", name="sensor-alerts", version=1)
def sensor_alert_notes(event: Event) -> Document:
    """``sensor.alert_raised`` to a Note."""
    record, body = record_of(event), event.body
    notes = f"Sensor alert: {words(body.name) or body.alert_id}"
    return treatment("Note", record, "sensor-alert", record.key, fields={"notes": notes})
