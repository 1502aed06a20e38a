from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tconnectsync import Document, Event, Fold, events
from tconnectsync_nightscout.delivery.announcement_age import with_age
from tconnectsync_nightscout.folds.alarms import AlarmsFold, alert_notes
from tconnectsync_nightscout.folds.carbs import carbs_fold
from tconnectsync_nightscout.folds.fills import fills_fold
from tconnectsync_nightscout.folds.fold_sets import folds_of
from tconnectsync_nightscout.folds.modes import ModesFold, control_notes
from tconnectsync_nightscout.folds.sensors import SensorsFold, sensor_alert_notes
from tconnectsync_nightscout.folds.silence import SilenceFold
from tconnectsync_nightscout.folds.suspensions import suspension_notes
from tconnectsync_nightscout.options import IobOptions, PumpEventsOptions, TreatmentsOptions
from tests.nightscout.fold_harness import NOON, event, keep_laws, timeline


def run(fold: Fold[Any], *steps: tuple[float, Any]) -> list[Document]:
    world = timeline(*steps)
    return keep_laws(fold, world, range(len(world)))


def shown(documents: list[Document]) -> list[tuple[float, str, float | None]]:
    """(minute after noon, eventType, duration)."""
    return [
        ((item.at.replace(microsecond=0) - NOON).total_seconds() / 60, item.unique_slot, item.content.get("duration"))
        for item in documents
    ]


# --- fills and suspensions --------------------------------------------------------------------------------------------


def test_fills_three_kinds() -> None:
    """The three fills of one change are three different things."""
    documents = run(
        fills_fold(),
        (0, events.CartridgeFilled(volume_u=180, measured_u=0.0)),
        (0, events.TubingFilled(prime_u=None, status="completed")),
        (23, events.CannulaFilled(prime_u=0.3, status="completed")),
    )
    assert [(item.unique_slot, item.content["notes"]) for item in documents] == [
        ("Insulin Change", "Cartridge filled with 180 U"),
        ("Note", "Tubing filled"),
        ("Site Change", "Cannula filled with 0.3 U"),
    ]
    assert documents[0].content["insulinVolume"] == 180
    assert documents[0].content["pump"] == {"serial": "90556643", "events": [1000]}


def test_fills_option() -> None:
    """The kind of each fill can be chosen or left out."""
    fold = fills_fold(cannula="Cannula Change", cartridge="", tubing="off")
    world = ((0.0, events.CartridgeFilled(volume_u=180)), (1.0, events.TubingFilled()), (2.0, events.CannulaFilled()))
    assert [item.unique_slot for item in run(fold, *world)] == ["Cannula Change"]


def test_fill_broken_off() -> None:
    """A fill that was interrupted is no new site."""
    (document,) = run(fills_fold(), (0, events.CannulaFilled(prime_u=0.1, status="user_aborted")))
    assert (document.unique_slot, document.content["notes"]) == (
        "Note",
        "Cannula fill not completed with 0.1 U; user aborted",
    )


@pytest.mark.parametrize("volume", [None, 0, 0.0])
def test_cartridge_without_amount(volume: float | None) -> None:
    """A cartridge without an amount is still a new cartridge."""
    (document,) = run(fills_fold(), (0, events.CartridgeFilled(volume_u=volume)))
    assert document.unique_slot == "Insulin Change"
    assert "insulinVolume" not in document.content
    (document,) = run(fills_fold(), (0, events.CartridgeFilled(volume_u=volume, measured_u=95.5)))
    assert document.content["insulinVolume"] == 95.5


def test_cartridge_impossible_volume() -> None:
    """An impossible volume is reported, and the change is kept."""
    change, problem = run(fills_fold(), (0, events.CartridgeFilled(volume_u=10_595)))
    assert change.problem is None
    assert "insulinVolume" not in change.content
    assert problem.problem == "cartridge volume in U of 10595 is not possible"


def test_suspension_notes() -> None:
    """Suspensions are notes with their reason."""
    world = [
        (float(minute), events.PumpingSuspended(reason=reason))
        for minute, reason in enumerate(["user", "alarm", "malfunction", "plgs", "9"])
    ]
    assert [item.content["notes"] for item in run(suspension_notes, *world, (9.0, events.PumpingResumed()))] == [
        "Delivery suspended by the wearer",
        "Delivery suspended by an alarm",
        "Delivery suspended by a malfunction of the pump",
        "Delivery suspended because low glucose was predicted",
        "Delivery suspended",
        "Delivery resumed",
    ]


# --- modes ------------------------------------------------------------------------------------------------------------


def mode(name: str, action: str | None = None) -> events.ModeChanged:
    return events.ModeChanged(mode=name, action=action)


ALIVE = events.BasalDelivered(rate_u_per_h=1.0)


def test_sleep_length() -> None:
    """Sleep has its true length."""
    assert shown(run(ModesFold(), (0, mode("sleep")), (5, ALIVE), (480, mode("normal")))) == [(0, "Sleep", 480)]


def test_mode_running() -> None:
    """A running mode reaches to the pump's last record."""
    assert shown(run(ModesFold(), (0, mode("exercise")), (5, ALIVE), (35, ALIVE))) == [(0, "Exercise", 35)]
    assert run(ModesFold(), (0, mode("exercise"))) == []


def test_exercise_splits_sleep() -> None:
    """Exercise during sleep splits it."""
    world = ((0, mode("sleep")), (60, mode("exercise")), (90, mode("sleep", "stop_exercise")), (480, mode("normal")))
    assert shown(run(ModesFold(), *world)) == [(0, "Sleep", 60), (60, "Exercise", 30), (90, "Sleep", 390)]


@pytest.mark.parametrize("name", ["sleep", "exercise"])
def test_mode_stop_all(name: str) -> None:
    """The command "stop all" ends both modes."""
    documents = run(ModesFold(), (0, mode(name)), (60, mode("normal", "stop_all")), (70, ALIVE))
    assert [item.content["duration"] for item in documents] == [60]


def test_mode_without_stop() -> None:
    """A start without a stop ends at the next change."""
    assert shown(run(ModesFold(), (0, mode("sleep")), (500, mode("exercise")), (530, mode("normal")))) == [
        (0, "Sleep", 500),
        (500, "Exercise", 30),
    ]


def test_mode_repeated_start() -> None:
    """A repeated start continues the mode."""
    assert shown(run(ModesFold(), (0, mode("sleep")), (10, mode("sleep")), (20, mode("normal")))) == [(0, "Sleep", 20)]


def unreadable(kind: str | None) -> events.Unknown:
    return events.Unknown(code="229", reason="currentUserMode is missing", likely_kind=kind)


def test_a_mode_is_shown_up_to_a_change_that_cannot_be_read() -> None:
    """It may have ended there; any other unreadable record is a sign of life."""
    change, other = unreadable("mode.changed"), unreadable("basal.delivered")
    assert shown(run(ModesFold(), (0, mode("sleep")), (30, other), (60, change), (90, ALIVE), (95, other))) == [
        (0, "Sleep", 60)
    ]
    ended = events.ModeChanged(mode="normal", previous="exercise", action=None)
    assert shown(run(ModesFold(), (0, mode("sleep")), (60, change), (90, ended))) == [(0, "Sleep", 60)]
    begun = events.ModeChanged(mode="sleep", previous="normal", action=None)
    assert shown(run(ModesFold(), (0, mode("sleep")), (60, change), (90, begun), (100, ALIVE))) == [
        (0, "Sleep", 60),
        (90, "Sleep", 10),
    ]


@pytest.mark.parametrize("name", ["normal", "sleep"])
def test_a_later_change_shows_that_the_mode_went_on(name: str) -> None:
    later = events.ModeChanged(mode=name, previous="sleep", action=None)
    found = run(ModesFold(), (0, mode("sleep")), (60, unreadable("mode.changed")), (90, later), (100, ALIVE))
    assert shown(found) == [(0, "Sleep", 90 if name == "normal" else 100)]


def test_mode_other_or_without_start() -> None:
    """Other modes and stops without a start write nothing."""
    assert run(ModesFold(), (0, mode("normal")), (1, mode("eating_soon")), (30, mode("normal")), (31, ALIVE)) == []


def test_mode_identity() -> None:
    """A running mode keeps its identity when it ends."""
    start, alive, end = timeline((0, mode("sleep")), (5, ALIVE), (10, mode("normal")))
    assert keep_laws(ModesFold(), [start, alive])[0].id == keep_laws(ModesFold(), [start, alive, end])[0].id


TAKEN_OFF, PUT_ON = events.WearEnded(), events.WearBegan()


def test_mode_of_a_pump_in_a_drawer() -> None:
    """A mode ends when the pump is taken off. One that goes on when it is put on begins there."""
    world = ((0, mode("sleep")), (60, TAKEN_OFF), (90, ALIVE), (120, mode("normal")), (600, mode("sleep")))
    assert shown(run(ModesFold(), *world, (660, ALIVE))) == [(0, "Sleep", 60)]
    worn_again = ((660, PUT_ON), (670, ALIVE), (700, mode("normal")))
    assert shown(run(ModesFold(), *world, *worn_again)) == [(0, "Sleep", 60), (660, "Sleep", 40)]
    twice = run(ModesFold(), (0, mode("sleep")), (60, TAKEN_OFF), (90, PUT_ON), (120, mode("normal")))
    assert shown(twice) == [(0, "Sleep", 60), (90, "Sleep", 30)]
    doubtful = ((70, unreadable("mode.changed")), (90, PUT_ON), (120, ALIVE))
    assert shown(run(ModesFold(), (0, mode("sleep")), (60, TAKEN_OFF), *doubtful)) == [(0, "Sleep", 60)]


def test_control_mode_notes() -> None:
    """Control modes are notes."""
    (document,) = run(control_notes, (0, events.ControlChanged(control="pining")))
    assert document.content["notes"] == "Control: closed loop, waiting for sensor readings"


# --- alarms -----------------------------------------------------------------------------------------------------------


def alarm(number: int, name: str) -> events.AlarmRaised:
    return events.AlarmRaised(alarm_id=number, name=name)


def test_alarm_notes() -> None:
    """Alarms are notes; reminders to resume are not."""
    documents = run(
        AlarmsFold(),
        (0, alarm(2, "occlusion")),
        (1, alarm(18, "resume_pump")),
        (1, alarm(23, "resume_pump_2")),
        (2, alarm(61, "61")),
        (3, events.MalfunctionRaised(malfunction_id=7, name="display")),
    )
    assert [item.content["notes"] for item in documents] == ["Alarm: occlusion", "Alarm: 61", "Malfunction: display"]
    assert all(item.ttl_s is None for item in documents)


@pytest.mark.parametrize(
    ("listed", "raised"),
    [
        ("occlusion", alarm(2, "occlusion")),
        ("occlusion", alarm(26, "occlusion_2")),
        ("empty cartridge", alarm(8, "empty_cartridge")),
        ("Battery", alarm(12, "battery_shutdown")),
        ("61", alarm(61, "61")),
        ("malfunction", events.MalfunctionRaised(malfunction_id=7, name="display")),
    ],
)
def test_alarm_announcement(listed: str, raised: Any) -> None:
    """Chosen alarms are also announced, for three hours."""
    note, announcement = run(AlarmsFold(announce=(listed,)), (0, raised))
    assert (note.unique_slot, note.ttl_s) == ("Note", None)
    assert (announcement.unique_slot, announcement.ttl_s) == ("Announcement", 3 * 3600)
    assert announcement.content["isAnnouncement"] is True
    assert announcement.content["notes"].endswith(" at 14:00"), "as the pump's clock shows it"
    assert note.id != announcement.id


OCCLUSION, CLEARED = alarm(2, "occlusion"), events.AlarmCleared(alarm_id=2, name="occlusion")
OTHER_CLEARED = events.AlarmCleared(alarm_id=8, name="empty_cartridge")


@pytest.mark.parametrize(
    ("later", "announced"),
    [
        ([(43, CLEARED)], []),
        ([(43, OTHER_CLEARED)], ["Occlusion alarm at 14:00"]),
        ([(43, CLEARED), (50, OCCLUSION)], ["Occlusion alarm at 14:50"]),
        ([(50, OCCLUSION)], ["Occlusion alarm at 14:00", "Occlusion alarm at 14:50"]),
        ([(179, alarm(61, "61"))], ["Occlusion alarm at 14:00"]),
        ([(181, alarm(61, "61"))], []),
    ],
)
def test_alarm_cleared_or_old(later: list[Any], announced: list[str]) -> None:
    """An alarm that was cleared or is old is not announced."""
    documents = run(AlarmsFold(announce=("occlusion",)), (0, OCCLUSION), *later)
    assert [item.content["notes"] for item in documents if item.unique_slot == "Announcement"] == announced
    raised = 1 + sum(isinstance(body, events.AlarmRaised) for _, body in later)
    assert len([item for item in documents if item.unique_slot == "Note"]) == raised, "the notes stay"


@pytest.mark.parametrize(
    ("steps", "announced"),
    [
        ([(0, TAKEN_OFF), (540, OCCLUSION)], []),
        ([(0, OCCLUSION), (1, TAKEN_OFF)], []),
        ([(0, TAKEN_OFF), (30, OCCLUSION), (60, PUT_ON)], []),
        ([(0, TAKEN_OFF), (5, CLEARED), (60, PUT_ON), (61, OCCLUSION)], ["Occlusion alarm at 15:01"]),
    ],
)
def test_alarm_of_a_pump_in_a_drawer(steps: list[Any], announced: list[str]) -> None:
    """Alarms of a pump that is not worn are notes only: they wake nobody."""
    documents = run(AlarmsFold(announce=("occlusion",)), *steps)
    assert [item.content["notes"] for item in documents if item.unique_slot == "Announcement"] == announced
    assert [item.content["notes"] for item in documents if item.unique_slot == "Note"] == ["Alarm: occlusion"]


@pytest.mark.parametrize("listed", ["occlusion_2", "cartridge", "", "6", "malfunction_displayed"])
def test_alarm_not_chosen(listed: str) -> None:
    """Alarms that were not chosen are not announced."""
    documents = run(
        AlarmsFold(announce=(listed,)),
        (0, alarm(2, "occlusion")),
        (1, alarm(8, "empty_cartridge")),
        (2, alarm(61, "61")),
        (3, events.MalfunctionRaised(malfunction_id=6, name="display")),
    )
    assert {item.unique_slot for item in documents} == {"Note"}


def test_alert_notes() -> None:
    """Alerts and sensor alerts are notes."""
    (document,) = run(alert_notes, (0, events.AlertRaised(alert_id=2, name="usb_connection")))
    assert document.content["notes"] == "Alert: usb connection"
    (document,) = run(sensor_alert_notes, (0, events.SensorAlertRaised(alert_id=11, name="11", sensor="dexcom_g7")))
    assert document.content["notes"] == "Sensor alert: 11"


# --- sensors ----------------------------------------------------------------------------------------------------------


def join(age_s: float | None, signature: str | None = None, sensor: str = "dexcom_g7") -> events.SensorJoined:
    return events.SensorJoined(sensor=sensor, session_age_s=age_s, signature=signature)


STOP = events.SensorStopped(sensor="dexcom_g7", session_age_s=890_598, reason="5")
DAY = 1440.0


def test_session_start_and_stop() -> None:
    """A sensor session is one start and one stop."""
    documents = run(
        SensorsFold(), (0, STOP), (0.3, join(3042, "72")), (10 * DAY, STOP), (10 * DAY + 60, join(248, "117"))
    )
    assert [item.unique_slot for item in documents] == ["Sensor Stop", "Sensor Start", "Sensor Stop", "Sensor Start"]
    assert documents[1].content["notes"] == "Dexcom G7"


def test_session_joined_again() -> None:
    """Joining again in the middle of a session is no start."""
    documents = run(SensorsFold(), (0, join(300, "72")), (3 * DAY, join(300 + 3 * 86_400 + 40, "72")))
    assert len(documents) == 1
    documents = run(SensorsFold(), (0, join(300)), (3 * DAY, join(300 + 3 * 86_400 + 40)))
    assert len(documents) == 1
    assert len(run(SensorsFold(), (0, join(None, "72")), (3 * DAY, join(None, "72")))) == 0
    assert len(run(SensorsFold(), (0, STOP), (1, join(None, "72")), (3 * DAY, join(None, "72")))) == 2


def test_session_before_the_data() -> None:
    """Joining a session that began before the data is no start."""
    assert run(SensorsFold(), (0, join(768_646, sensor="dexcom_g6"))) == []


def test_session_same_signature() -> None:
    """A new sensor with the same signature is a start."""
    documents = run(SensorsFold(), (0, join(300, "72")), (10 * DAY, STOP), (10 * DAY + 30, join(250, "72")))
    assert [item.unique_slot for item in documents] == ["Sensor Start", "Sensor Stop", "Sensor Start"]


def test_session_signature_after_stop() -> None:
    """A signature says nothing after a stop."""
    documents = run(SensorsFold(), (0, join(300, "72")), (10 * DAY, STOP), (10 * DAY + 30, join(None, "72")))
    assert [item.unique_slot for item in documents] == ["Sensor Start", "Sensor Stop", "Sensor Start"]


def test_session_without_stop() -> None:
    """A new sensor is a start without a stop, however late it was joined."""
    documents = run(SensorsFold(), (0, join(300, "72")), (12 * DAY, join(2 * 86_400, "73")))
    assert [item.unique_slot for item in documents] == ["Sensor Start", "Sensor Start"]
    assert documents[1].content["notes"] == "Dexcom G7; begun 48 h before"


def test_session_start_and_join() -> None:
    """Start and join of one session are one start."""
    started = events.SensorStarted(sensor="dexcom_g6", session_age_s=82)
    documents = run(
        SensorsFold(), (0, started), (5, join(385, sensor="dexcom_g6")), (60, join(3690, sensor="dexcom_g6"))
    )
    assert [item.unique_slot for item in documents] == ["Sensor Start"]


# --- carbs, and the sets of folds --------------------------------------------------------------------------------------


def test_carbs_without_insulin() -> None:
    entered = (0.0, events.CarbsEntered(carbs_g=12.0))
    (document,) = run(carbs_fold(), entered)
    assert (document.unique_slot, document.content["carbs"], document.at) == ("Carb Correction", 12, NOON)
    (document,) = run(carbs_fold(as_note=True), entered)
    assert (document.unique_slot, document.content["notes"]) == ("Note", "12 g carbs")
    assert run(carbs_fold(), (0, events.CarbsEntered(carbs_g=0))) == []
    assert run(carbs_fold(), (0, events.CarbsEntered(carbs_g=65_535)))[0].problem is not None


def test_same_second_documents() -> None:
    """Milliseconds keep documents of one second apart."""
    documents = keep_laws(AlarmsFold(), [event(alarm(2, "occlusion"), 0, seq) for seq in (999, 1000, 1001)])
    assert [item.at - NOON for item in documents] == [timedelta(milliseconds=ms) for ms in (999, 0, 1)]


def test_options_choose_folds() -> None:
    """The options choose the folds."""

    def names(folds: Any) -> list[str]:
        assert len({fold.name for fold in folds}) == len(folds)
        return [fold.name for fold in folds]

    assert names(folds_of(TreatmentsOptions())) == ["boluses", "carbs", "basal"]
    assert names(folds_of(TreatmentsOptions(basal=False, carbs="off"))) == ["boluses"]
    assert names(folds_of(TreatmentsOptions(bolus=False))) == ["basal"]
    assert names(folds_of(IobOptions())) == ["iob"]
    assert names(folds_of(PumpEventsOptions())) == ["fills", "suspension-notes", "modes", "alarms", "sensors"]
    everything = folds_of(
        PumpEventsOptions(announce=("occlusion",), alerts=True, control_modes=True, sensor_alerts=True)
    )
    assert names(everything)[5:] == ["alerts", "control-modes", "sensor-alerts"]


# --- silence ----------------------------------------------------------------------------------------------------------


def test_time_of_silence_announcement() -> None:
    """Never earlier than asked for, although the outbox sends a document five minutes before its time."""
    fold = SilenceFold(after=timedelta(hours=3))
    first, second = timeline((0, ALIVE), (5, ALIVE))
    [early] = keep_laws(fold, [first])
    [late] = keep_laws(fold, [first, second])
    assert early.id != late.id
    assert late.at - late_time(second) == timedelta(hours=3, minutes=5)
    assert late.content["notes"] == f"No pump data since {second.pump_time:%H:%M}"
    assert late.content["isAnnouncement"] is True
    assert late.unique_slot == "Announcement"
    assert late.ttl_s is None, "so that it is withdrawn"


def late_time(newest: Event) -> datetime:
    assert newest.at is not None
    return newest.at.replace(microsecond=(newest.seq or 0) % 1000 * 1000)


def test_a_pump_that_is_not_worn_is_not_missed() -> None:
    fold = SilenceFold(after=timedelta(hours=3))
    assert run(fold) == []
    assert run(fold, (0, ALIVE), (5, events.WearEnded())) == []
    assert len(run(fold, (0, ALIVE), (5, events.WearEnded()), (9, events.WearBegan()), (10, ALIVE))) == 1


def test_it_is_stamped_when_it_is_sent_and_has_no_age() -> None:
    """Nightscout rings only for the newest treatment, and not for one of the future."""
    [document] = run(SilenceFold(after=timedelta(hours=3)), (0, ALIVE))
    for minutes in (-5, 0, 40):
        now = document.at + timedelta(minutes=minutes)
        sent = with_age(document, now)
        assert now - timedelta(seconds=2) < sent.at <= now
        assert sent.content == document.content
