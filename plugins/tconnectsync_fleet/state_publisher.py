"""Publishes the outcome of people's turns for ``fleet status``, without secrets and whole serial numbers."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import attrs
from nats.errors import Error as NatsError

from tconnectsync import Retryable
from tconnectsync_fleet.fleet_words import for_person, told
from tconnectsync_fleet.person_runner import FleetContext, TurnOutcome
from tconnectsync_fleet.pump_serials import with_short_serials
from tconnectsync_fleet.schedule import ScheduledPerson
from tconnectsync_fleet.servers import Servers
from tconnectsync_fleet.status import publish_status

log = logging.getLogger("tconnectsync.fleet")


@attrs.frozen
class StatePublisher:
    """Publishes for one worker."""

    servers: Servers
    engine: FleetContext
    worker: str

    def publish_outcome(self, scheduled: ScheduledPerson, outcome: TurnOutcome) -> None:
        """Publish the outcome of a turn, and note it in ``scheduled``."""
        scheduled.status, scheduled.last_fetch = int(outcome.status), outcome.last_fetch
        fetched = outcome.last_fetch and outcome.last_fetch.isoformat()
        state = (scheduled.status, outcome.lines)
        is_published = self.publish(
            scheduled.runner.person.name,
            status=scheduled.status,
            lines=outcome.lines,
            must_arrive=state != scheduled.published,
            records=outcome.records,
            last_fetch=fetched,
        )
        scheduled.published = state if is_published else None

    def publish_failure(self, name: str, status: int, error: Exception) -> None:
        """Publish that a turn broke off."""
        self.publish(name, status=status, lines=[told(error, self.worker)])

    def publish(self, name: str, *, lines: Iterable[str], must_arrive: bool = True, **found: Any) -> bool:
        """Publish a person's state. False: it was not stored."""
        found |= {
            "lines": [for_person(with_short_serials(self.engine.redact(line)), name) for line in lines],
            "worker": self.worker,
        }
        try:
            publish_status(self.servers, name, found, must_arrive=must_arrive)
        except (Retryable, NatsError) as error:
            log.warning('status_not_published message="%s"', error)
            return False
        return True
