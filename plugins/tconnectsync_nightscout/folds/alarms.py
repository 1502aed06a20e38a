"""Alarms and malfunctions as notes, chosen ones also as announcements; alerts as notes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import attrs

from tconnectsync import Document, Event, alarms, each, events
from tconnectsync.events.source_record import SourceRecord, record_of
from tconnectsync_nightscout.folds.documents import treatment, words

NOISE = frozenset({18, 23})
"""Alarms that only repeat that delivery is suspended ("resume pump")."""
ANNOUNCED_FOR_S = 3 * 3600.0
"""An announcement alerts phones.

Most alarms arrive late, since pumps upload hourly, and are announced with their age.
"""
_ANNOUNCED_FOR = timedelta(seconds=ANNOUNCED_FOR_S)
_MOST_PENDING = 16


@attrs.frozen(kw_only=True)
class Pending:
    """An alarm to announce that is not cleared yet. ``alarm_id`` is None for a malfunction, which is never cleared."""

    mark: SourceRecord
    alarm_id: int | None
    words: str

    @property
    def announcement(self) -> Document:
        """The announcement. The receiver adds its age, since it has a clock."""
        fields = {"notes": self.words, "isAnnouncement": True}
        return treatment(
            "Announcement", self.mark, "announcement", self.mark.key, fields=fields, worth_s=ANNOUNCED_FOR_S
        )


@attrs.frozen(kw_only=True)
class AlarmsState:
    """Uncleared alarms of the last hours, and whether this pump is the worn one."""

    worn: bool = True
    pending: tuple[Pending, ...] = ()


@attrs.frozen(kw_only=True)
class AlarmsFold:
    """Records 5 and 6 as notes; those in ``announce`` also as announcements, which expire after three hours.

    An alarm that was cleared (record 28) before it was announced is not announced; what was sent stays. A name in
    ``announce`` also matches names that begin with it ("battery" for "battery_shutdown"); a number is an alarm's
    number; "malfunction" matches all malfunctions.

    A pump that is not worn announces nothing, since a battery that runs empty in a drawer must wake nobody.
    """

    announce: tuple[str, ...] = ()

    name = "alarms"
    version = 3
    kinds = frozenset({"alarm.cleared", "alarm.raised", "malfunction.raised", "wear.began", "wear.ended"})
    state_type = AlarmsState
    sent_once = True

    def initial(self) -> AlarmsState:
        """Worn, and nothing to announce."""
        return AlarmsState()

    def step(self, state: AlarmsState, event: Event) -> tuple[AlarmsState, Sequence[Document]]:
        """Return the alarms still to announce, and the event's note."""
        body = event.body
        if isinstance(body, events.WearBegan | events.WearEnded):
            return AlarmsState(worn=isinstance(body, events.WearBegan)), ()
        record = record_of(event)
        pending = tuple(alarm for alarm in state.pending if record.at - alarm.mark.at <= _ANNOUNCED_FOR)
        if isinstance(body, events.AlarmCleared):
            pending = tuple(alarm for alarm in pending if alarm.alarm_id != body.alarm_id)
            return AlarmsState(worn=state.worn, pending=pending), ()
        if isinstance(body, events.MalfunctionRaised):
            what = words(body.name) or str(body.malfunction_id)
            notes, announcement, alarm_id = f"Malfunction: {what}", f"{what} malfunction", None
            names = [f"malfunction_{body.name}"]
        elif body.alarm_id in NOISE:
            return AlarmsState(worn=state.worn, pending=pending), ()
        else:
            what = words(body.name) or str(body.alarm_id)
            notes, announcement, alarm_id = f"Alarm: {what}", f"{what} alarm", body.alarm_id
            names = [body.name, str(body.alarm_id)]
        if state.worn and self._announced(names):
            # the time that the pump shows: the user's zone is unknown here
            announcement = f"{announcement[:1].upper()}{announcement[1:]} at {event.pump_time:%H:%M}"
            pending = (*pending, Pending(mark=record, alarm_id=alarm_id, words=announcement))[-_MOST_PENDING:]
        note = treatment("Note", record, "alarm", record.key, fields={"notes": notes})
        return AlarmsState(worn=state.worn, pending=pending), (note,)

    def running(self, state: AlarmsState) -> Sequence[Document]:
        """The announcements of uncleared alarms."""
        return [alarm.announcement for alarm in state.pending]

    def _announced(self, names: Sequence[str]) -> bool:
        return any(alarms.names_match(wanted, name) for wanted in self.announce for name in names)


def announceable() -> tuple[str, ...]:
    """The names that ``announce`` can list: alarms, without those that only repeat, and malfunctions."""
    alarm_names = (
        name for number, name in alarms.ALARMS.items() if number not in NOISE and name not in ("unused", "reserved")
    )
    return (*alarm_names, "malfunction", *(f"malfunction_{name}" for name in alarms.MALFUNCTIONS.values()))


def unknown_announcements(announce: Sequence[str]) -> list[str]:
    """Names in ``announce`` that no known alarm has. A number may belong to a future alarm."""
    names = announceable()
    return [
        wanted
        for wanted in announce
        if not wanted.isdigit() and not any(alarms.names_match(wanted, name) for name in names)
    ]


@each("alert.raised", name="alerts", version=1)
def alert_notes(event: Event) -> Document:
    """``alert.raised`` (record 4) to a Note."""
    record, body = record_of(event), event.body
    notes = f"Alert: {words(body.name) or body.alert_id}"
    return treatment("Note", record, "alert", record.key, fields={"notes": notes})
