"""Alarms, alerts and malfunctions as messages that happen once."""

from __future__ import annotations

from collections.abc import Sequence

from tconnectsync import Document, Event, NoState, document_id

COLLECTION = "mqtt-alarm"
EVENT_TYPES = ("alarm", "alert", "malfunction")
"""The kinds of events before the point: the event types in Home Assistant."""
NEWS_FOR_S = 3 * 3600.0
"""Pumps upload about hourly, so most alarms are not new when they arrive. An older one is not news."""


class AlarmFold:
    """``alarm.raised``, ``alert.raised`` and ``malfunction.raised`` as one message each, sent once."""

    name = "alarms"
    version = 1
    kinds = frozenset(f"{kind}.raised" for kind in EVENT_TYPES)
    state_type = NoState
    sent_once = True

    def initial(self) -> NoState:
        """Nothing to remember."""
        return NoState()

    def step(self, state: NoState, event: Event) -> tuple[NoState, Sequence[Document]]:
        """Return the message of ``event``."""
        if event.at is None:
            raise ValueError(f"event {event.id} reached a fold without its UTC time")
        content = {
            "event_type": event.kind.partition(".")[0],
            "name": event.body.name,
            "at": event.at.isoformat(timespec="seconds"),
        }
        identity = document_id(event.id, COLLECTION)
        return state, (Document(id=identity, collection=COLLECTION, at=event.at, content=content, ttl_s=NEWS_FOR_S),)

    def running(self, state: NoState) -> Sequence[Document]:  # noqa: ARG002 - the protocol's signature
        """Nothing: an alarm does not change."""
        return ()
