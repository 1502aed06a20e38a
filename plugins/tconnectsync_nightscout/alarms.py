"""Alarms and malfunctions as notes, chosen ones also as announcements; alerts as notes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs

from tconnectsync import Document, Event, alarms, events
from tconnectsync_nightscout.documents import NoState, mark_of, treatment, words

NOISE = frozenset({18, 23})
"""Alarms that only repeat that delivery is stopped ("resume pump")."""
ANNOUNCED_FOR_S = 900.0
"""An announcement rings phones: one that is a quarter of an hour late is left out."""


@attrs.frozen(kw_only=True)
class AlarmsFold:
    """Records 5 and 6 to Notes; those named in ``announce`` also to an Announcement that lapses after 15 minutes.

    A name in ``announce`` also stands for those that begin with it ("battery" for "battery_shutdown"); a number is an
    alarm's number; "malfunction" stands for all malfunctions.
    """

    announce: tuple[str, ...] = ()

    name = "alarms"
    version = 1
    kinds = frozenset({"alarm.raised", "malfunction.raised"})
    state_type = NoState

    def initial(self) -> NoState:
        """Nothing."""
        return NoState()

    def step(self, state: NoState, event: Event) -> tuple[NoState, Sequence[Document]]:
        """The event's note, and its announcement."""
        body, mark = event.body, mark_of(event)
        if isinstance(body, events.MalfunctionRaised):
            notes = f"Malfunction: {words(body.name) or body.malfunction_id}"
            names = [f"malfunction_{body.name}"]
        elif body.alarm_id in NOISE:
            return state, ()
        else:
            notes = f"Alarm: {words(body.name) or body.alarm_id}"
            names = [body.name, str(body.alarm_id)]
        documents = [treatment("Note", mark, "alarm", mark.key, fields={"notes": notes})]
        if self._announced(names):
            fields = {"notes": notes, "isAnnouncement": True}
            documents.append(
                treatment("Announcement", mark, "announcement", mark.key, fields=fields, worth_s=ANNOUNCED_FOR_S)
            )
        return state, documents

    def running(self, state: NoState) -> Sequence[Document]:  # noqa: ARG002 - the protocol's signature
        """Nothing goes on."""
        return ()

    def _announced(self, names: Sequence[str]) -> bool:
        return any(_means(wanted, name) for wanted in self.announce for name in names)


def announceable() -> tuple[str, ...]:
    """The names that ``announce`` can list: the alarms', those that only repeat left out, and the malfunctions'."""
    alarm_names = (
        name for number, name in alarms.ALARMS.items() if number not in NOISE and name not in ("unused", "reserved")
    )
    return (*alarm_names, "malfunction", *(f"malfunction_{name}" for name in alarms.MALFUNCTIONS.values()))


def announced_in_vain(announce: Sequence[str]) -> list[str]:
    """Those of ``announce`` that no alarm known today has as its name; a number may be an alarm of tomorrow's."""
    names = announceable()
    return [wanted for wanted in announce if not wanted.isdigit() and not any(_means(wanted, name) for name in names)]


def _means(wanted: str, name: str) -> bool:
    wanted, name = _plain(wanted), _plain(name)
    return bool(wanted) and (name == wanted or name.startswith(wanted + "_"))


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


@attrs.frozen(kw_only=True)
class AlertsFold:
    """``alert.raised`` (record 4) to a Note."""

    name = "alerts"
    version = 1
    kinds = frozenset({"alert.raised"})
    state_type = NoState

    def initial(self) -> NoState:
        """Nothing."""
        return NoState()

    def step(self, state: NoState, event: Event) -> tuple[NoState, Sequence[Document]]:
        """The alert's note."""
        mark, body = mark_of(event), event.body
        notes = f"Alert: {words(body.name) or body.alert_id}"
        return state, (treatment("Note", mark, "alert", mark.key, fields={"notes": notes}),)

    def running(self, state: NoState) -> Sequence[Document]:  # noqa: ARG002 - the protocol's signature
        """Nothing goes on."""
        return ()
