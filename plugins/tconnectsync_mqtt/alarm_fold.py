"""Alarms, alerts and malfunctions as messages that happen once."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from tconnectsync import Document, Event, document_id, events

COLLECTION = "mqtt-alarm"
EVENT_TYPES = ("alarm", "alert", "malfunction")
"""The kinds of events before the point: the event types in Home Assistant."""
NEWS_FOR_S = 3 * 3600.0
"""Pumps upload about hourly, so most alarms are not new when they arrive. An older one is not news."""


@attrs.frozen(kw_only=True)
class WornState:
    """Whether this pump is the worn one."""

    worn: bool = True


class AlarmFold:
    """``alarm.raised``, ``alert.raised`` and ``malfunction.raised`` as one message each, sent once.

    Only those of the worn pump: a battery that runs empty in a drawer must wake nobody.
    """

    name = "alarms"
    version = 2
    kinds = frozenset(f"{kind}.raised" for kind in EVENT_TYPES) | {"wear.began", "wear.ended"}
    state_type = WornState
    sent_once = True

    def initial(self) -> WornState:
        """Worn."""
        return WornState()

    def step(self, state: WornState, event: Event) -> tuple[WornState, Sequence[Document]]:
        """Return the message of ``event``."""
        if isinstance(event.body, events.WearBegan | events.WearEnded):
            return WornState(worn=isinstance(event.body, events.WearBegan)), ()
        if not state.worn:
            return state, ()
        if event.at is None:
            raise ValueError(f"event {event.id} reached a fold without its UTC time")
        content = {
            "event_type": event.kind.partition(".")[0],
            "name": event.body.name,
            "at": event.at.isoformat(timespec="seconds"),
        }
        identity = document_id(event.id, COLLECTION)
        return state, (Document(id=identity, collection=COLLECTION, at=event.at, content=content, ttl_s=NEWS_FOR_S),)

    def running(self, state: WornState) -> Sequence[Document]:  # noqa: ARG002 - the protocol's signature
        """Nothing: an alarm does not change."""
        return ()
