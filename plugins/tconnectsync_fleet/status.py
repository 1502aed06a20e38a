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
from tconnectsync_fleet import formats
from tconnectsync_fleet.folder_check import FOLDER_ERROR, REMEDY
from tconnectsync_fleet.lease import live_workers, serving, worker_for
from tconnectsync_fleet.people import Member, People
from tconnectsync_fleet.servers import STATUS, Servers
from tconnectsync_fleet.states import (
    BEHIND,
    NEW,
    NEWER_RELEASE,
    NOT_BEGUN,
    PAUSED,
    UNREADABLE,
    WITHOUT_WORKER,
    state_of,
    state_order,
)
from tconnectsync_fleet.vendor_limit import limit_in_force

LATE = timedelta(hours=3)
"""Without a finished read for so long, a person is behind; without a first turn, not begun."""
_SHOWN_OF_A_STATE = 5
"""How many people of each state are shown: if a receiver or the vendor is down, thousands have the same problem."""


def read_fleet(servers: Servers, now: datetime | None = None) -> dict[str, Any]:
    """Return the state of the fleet as JSON values. ``troubles``: what is not well, by person."""
    now = now or datetime.now(timezone.utc)
    people = People(servers).all()
    workers = live_workers(servers)
    published = {name: _published(entry.value) for name, entry in servers.changes(STATUS).items()}
    states: dict[str, str] = {}
    troubles: dict[str, list[str]] = {}
    for name, person in people.items():
        states[name], trouble = _state(name, person, published.get(name, {}), has_worker=bool(workers), now=now)
        if trouble:
            troubles[name] = trouble
    at_work = [name for name, state in states.items() if state != PAUSED]
    fetches = {name: last for name in at_work if (last := _last_fetch(published.get(name, {}))) is not None}
    oldest_name = min(fetches, key=lambda name: (fetches[name], name), default=None)
    return {
        "requests_per_second": limit_in_force(servers),
        "workers": workers,
        "shares": dict(Counter(worker_for(name, serving(workers)) for name in at_work)) if serving(workers) else {},
        "people": states,
        "states": dict(Counter(states.values())),
        "troubles": troubles,
        "oldest_read": published[oldest_name]["last_fetch"] if oldest_name is not None else None,
        "oldest_read_of": oldest_name,
        "people_never_read": len(at_work) - len(fetches),
    }


def _published(value: bytes | None) -> dict[str, Any]:
    """Return what a worker published about a person; empty if it was deleted, or somebody else wrote it."""
    with contextlib.suppress(ValueError, TypeError):
        found = json.loads(value or b"{}")
        if isinstance(found, dict) and isinstance(found.get("status"), int):
            _last_fetch(found)
            lines = found.get("lines") or []
            if isinstance(lines, list) and all(isinstance(line, str) for line in lines):
                return found
    return {}


def _last_fetch(found: Mapping[str, Any]) -> datetime | None:
    """Return when a person's source was last read to its end. Errors: ValueError, TypeError if it is no time with a zone."""
    last = found.get("last_fetch")
    if not last:
        return None
    fetched = datetime.fromisoformat(last)
    if fetched.tzinfo is None:
        raise ValueError(f"{last} has no zone")
    return fetched


def _state(
    name: str, person: Member | None, found: Mapping[str, Any], *, has_worker: bool, now: datetime
) -> tuple[str, list[str]]:
    """Return a person's state, and what is wrong."""
    if person is None:
        return UNREADABLE, [f"add it again (`tconnectsync fleet add --replace {name} …`) or remove it"]
    if person.paused:
        return PAUSED, []
    if person.format > formats.FORMAT:
        return state_of(NEWER_RELEASE), [
            "a newer release added this person: use it for this command, and on the workers"
        ]
    if not has_worker:
        return WITHOUT_WORKER, ["there is no worker"]
    if not found:
        if person.changed is None or now - person.changed <= LATE:
            return NEW, []
        added = person.changed.isoformat(timespec="seconds")
        return NOT_BEGUN, [f"no worker has begun since {added}: see the workers' logs, or start another worker"]
    status, last = found["status"], _last_fetch(found)
    late = last is None or now - last > LATE
    lines = list(found.get("lines") or [f"nothing was read since {found.get('last_fetch') or 'it was added'}"])
    if status:
        return state_of(status), lines
    return (BEHIND, lines) if late else (state_of(status), [])


def publish_status(servers: Servers, name: str, found: Mapping[str, Any], *, must_arrive: bool = True) -> None:
    """Publish a person's state: ``status``, ``lines``, ``worker``. Without ``last_fetch`` the one before stays.

    ``must_arrive`` False: do not wait for the servers' answer, because the next turn publishes the same again.
    Errors: Retryable, NatsError.
    """
    at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    before = {} if "last_fetch" in found else _stored(servers, name)
    kept = {"last_fetch": before["last_fetch"]} if "last_fetch" in before else {}
    subject, value = f"$KV.{STATUS}.{name}", json.dumps({**kept, **found, "at": at}).encode()
    if must_arrive:
        servers.call(servers.js.publish(subject, value))
    else:
        servers.call(servers.client.publish(subject, value))


def was_read(servers: Servers, name: str) -> bool:
    """Whether a person's source was ever read to its end. Errors: Retryable, NatsError."""
    return bool(_stored(servers, name).get("last_fetch"))


def _stored(servers: Servers, name: str) -> Mapping[str, Any]:
    """Return what was last published about a person; empty if there is nothing, or nothing that can be read."""
    with contextlib.suppress(KeyNotFoundError, ValueError):
        found = json.loads(servers.call(servers.bucket(STATUS).get(name)).value or b"{}")
        if isinstance(found, dict):
            return found
    return {}


def status_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines for people: first the totals, then who needs attention."""
    workers, people, troubles = found["workers"], found["people"], found["troubles"]
    yield f"{counted(len(workers), 'worker')}, {counted(len(people), 'person', 'people')}, {len(troubles):,} with a problem"
    for state in sorted(found["states"], key=state_order):
        yield f"  {state}: {found['states'][state]:,}"
    turns, requests = (
        sum(report.get(key, 0) for report in workers.values()) for key in ("turns_a_minute", "requests_a_minute")
    )
    limit = found["requests_per_second"]
    most = f"at most {limit:g} a second" if limit else "no limit"
    yield f"{counted(round(turns), 'turn')} and {counted(round(requests), 'request')} to vendors per minute ({most})"
    releases = {name: report.get("release", "unknown") for name, report in workers.items()}
    for name, report in sorted(workers.items()):
        own, share = counted(report.get("people", 0), "person", "people"), found["shares"].get(name, 0)
        moving = "" if report.get("people", 0) == share else f" (should have {share:,})"
        release = f", release {releases[name]}" if len({*releases.values()}) > 1 else ""
        yield f"  {name}: {own}{moving}, {report.get('running', 0)} at work, {report.get('failing', 0)} failing{release}"
        if FOLDER_ERROR in report:
            yield f"  {name}: {report[FOLDER_ERROR]}. {REMEDY}"
    if found["people_never_read"]:
        yield f"Never read: {counted(found['people_never_read'], 'person', 'people')}."
    if found["oldest_read"]:
        others = "Of the others, " if found["people_never_read"] else ""
        yield f"{others}{found['oldest_read_of']} waits longest: read at {found['oldest_read']}."
    shown = Counter[str]()
    for name in sorted(troubles, key=lambda name: (people[name], name)):
        shown[people[name]] += 1
        if shown[people[name]] <= _SHOWN_OF_A_STATE:
            yield f"{name}: {people[name]}: {troubles[name][0]}"
    left = sum(max(0, count - _SHOWN_OF_A_STATE) for count in shown.values())
    if left:
        yield f"… and {left:,} more: `tconnectsync fleet status --json`"
