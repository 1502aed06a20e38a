"""What ``fleet status`` shows: the workers, and the people by state."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from nats.js.errors import KeyNotFoundError

from tconnectsync import counted
from tconnectsync_fleet.lease import live_workers, worker_for
from tconnectsync_fleet.people import People
from tconnectsync_fleet.servers import STATUS, Servers
from tconnectsync_fleet.vendor_limit import configured_limit

LATE = timedelta(hours=3)
"""Without a finished read for so long, a person is behind."""
MEANINGS = {
    0: "ok", 1: "failed", 2: "wrong configuration", 3: "source not read", 4: "login refused", 5: "receiver not reached",
    6: "stopped", 7: "log corrupt", 8: "changing workers",
}  # fmt: skip
"""The states, by the exit status that `tconnectsync sync` would have."""


def read_fleet(servers: Servers, now: datetime | None = None) -> dict[str, Any]:
    """Return the state of the fleet as JSON values. ``troubles``: what is not well, by person."""
    now = now or datetime.now(timezone.utc)
    people = People(servers).all()
    workers = live_workers(servers)
    published = {name: json.loads(entry.value) for name, entry in servers.changes(STATUS).items() if entry.value}
    states: dict[str, str] = {}
    troubles: dict[str, list[str]] = {}
    for name, person in people.items():
        found = published.get(name)
        if person is None:
            states[name] = "entry not readable"
            troubles[name] = [f"add it again (`tconnectsync fleet add --replace {name} …`) or remove it"]
        elif person.paused:
            states[name] = "paused"
        elif worker_for(name, workers) is None:
            states[name] = "without a worker"
            troubles[name] = ["there is no worker"]
        elif found is None:
            states[name] = "new"
        else:
            states[name] = MEANINGS.get(found["status"], "failed")
            late = _is_late(found.get("last_fetch"), now)
            if found["status"] or late:
                states[name] = states[name] if found["status"] else "behind"
                troubles[name] = found["lines"] or [
                    f"nothing was read since {found.get('last_fetch') or 'it was added'}"
                ]
    fetches = [published[name]["last_fetch"] for name in people if published.get(name, {}).get("last_fetch")]
    return {
        "requests_per_second": configured_limit(servers),
        "workers": workers,
        "people": states,
        "states": dict(Counter(states.values())),
        "troubles": troubles,
        "oldest_read": min(fetches, default=None),
    }


def publish_status(servers: Servers, name: str, found: Mapping[str, Any], *, must_arrive: bool = True) -> None:
    """Publish a person's state: ``status``, ``lines``, ``worker``. Without ``last_fetch`` the one before stays.

    ``must_arrive`` False: do not wait for the servers' answer, because the next turn publishes the same again.
    Errors: Retryable, NatsError.
    """
    at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    before: Any = {}
    if "last_fetch" not in found:
        with contextlib.suppress(KeyNotFoundError, ValueError):
            before = json.loads(servers.call(servers.bucket(STATUS).get(name)).value or b"{}")
    kept = {"last_fetch": before["last_fetch"]} if isinstance(before, dict) and "last_fetch" in before else {}
    subject, value = f"$KV.{STATUS}.{name}", json.dumps({**kept, **found, "at": at}).encode()
    if must_arrive:
        servers.call(servers.js.publish(subject, value))
    else:
        servers.call(servers.client.publish(subject, value))


def status_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines for people."""
    yield f"{counted(len(found['workers']), 'worker')}, {counted(len(found['people']), 'person', 'people')}"
    for name, report in sorted(found["workers"].items()):
        people, turns = counted(report.get("people", 0), "person", "people"), counted(report.get("turns", 0), "turn")
        yield f"  {name}: {people}, {report.get('running', 0)} at work, {report.get('failing', 0)} failing, {turns}"
    for state, count in sorted(found["states"].items()):
        yield f"  {state}: {count:,}"
    if found["oldest_read"]:
        yield f"The person who waits longest was read at {found['oldest_read']}."
    for name, lines in sorted(found["troubles"].items())[:20]:
        yield f"{name}: {found['people'][name]}: {lines[0]}"
    if len(found["troubles"]) > 20:
        yield f"… and {len(found['troubles']) - 20:,} more: `tconnectsync fleet status --json`"


def _is_late(last_fetch: str | None, now: datetime) -> bool:
    return last_fetch is None or now - datetime.fromisoformat(last_fetch) > LATE
