"""Facts that stand alone in one record: carbs without insulin, finger sticks, alarms, new sites, modes."""

from __future__ import annotations

from tconnectsync import Document, Event, each, events
from tconnectsync.events.source_record import record_of
from tconnectsync_influxdb.folds.point_documents import point_document


@each("carbs.entered", name="carbs", version=1)
def carbs(event: Event) -> Document:
    """Carbs without insulin, in the measurement of the boluses, so that one sum has all carbs."""
    return point_document("bolus", record_of(event), kind="carbs", fields={"carbs_g": event.body.carbs_g})


@each("glucose.fingerstick", name="fingersticks", version=1)
def fingersticks(event: Event) -> Document | None:
    """Glucose that the wearer typed. A value that came from the sensor is among its readings already."""
    body = event.body
    if body.entry != "manual" or body.glucose_mg_dl is None:
        return None
    return point_document("glucose", record_of(event), source="fingerstick", fields={"mg_dl": body.glucose_mg_dl})


@each("alarm.raised", "alert.raised", "malfunction.raised", name="alarms", version=1)
def alarms(event: Event) -> Document:
    """An alarm, alert or malfunction when it began."""
    body = event.body
    number = next(
        getattr(body, name)
        for name in ("alarm_id", "alert_id", "malfunction_id")
        if getattr(body, name, None) is not None
    )
    return point_document(
        "alarm", record_of(event), kind=event.kind.partition(".")[0], fields={"name": body.name, "number": number}
    )


@each("cannula.filled", "cartridge.filled", "tubing.filled", name="site-changes", version=1)
def site_changes(event: Event) -> Document:
    """A new infusion site, cartridge or tubing. ``volume_u``: the insulin that filled it."""
    body, kind = event.body, event.kind.partition(".")[0]
    if isinstance(body, events.CartridgeFilled):
        # the shown amount first: the measured one is 0 on newer pumps
        return point_document(
            "site_change",
            record_of(event),
            kind=kind,
            fields={"volume_u": body.volume_u or body.measured_u, "done": 1.0},
        )
    done = 1.0 if body.completed else 0.0
    return point_document("site_change", record_of(event), kind=kind, fields={"volume_u": body.prime_u, "done": done})


@each("mode.changed", name="modes", version=1)
def modes(event: Event) -> Document:
    """The mode that began: normal, sleep, exercise."""
    return point_document("mode", record_of(event), fields={"mode": event.body.mode, "previous": event.body.previous})
