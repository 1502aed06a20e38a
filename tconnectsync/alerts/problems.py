"""What is wrong now, from what ``status --json`` prints. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from tconnectsync.health.newest_data import newest_data, sources_on
from tconnectsync.health.severity import LONG_TROUBLE
from tconnectsync.text.durations import parse_time
from tconnectsync.text.plural import counted

CHANGED_FOR = timedelta(minutes=65)
"""An answer that cannot be read is asked for again after an hour: once may be chance."""
GRACE: Mapping[str, timedelta] = {
    "waiting": LONG_TROUBLE,
    "backing_off": LONG_TROUBLE,
    "changed": CHANGED_FOR,
    "refused": timedelta(0),
    "halted": timedelta(0),
    "braked": timedelta(0),
    "damaged": timedelta(0),
}
"""How long a state must last before it is a problem. The other states, ``ok`` and ``off``, are none."""
LOOK_MARGIN = timedelta(hours=1)
"""Silence counts if a source was read since; without such a read only after this much more."""

SOURCE_TITLES = {
    "refused": "The login to {name} was refused",
    "changed": "{name} sends something that this release cannot read",
    "damaged": "The event log is corrupt, so {name} is not read",
}
SINK_TITLES = {
    "waiting": "Nothing reaches {name}",
    "backing_off": "Nothing reaches {name}",
    "refused": "{name} refuses the secret",
    "halted": "Delivery to {name} has stopped",
    "braked": "Delivery to {name} is paused until you confirm",
    "damaged": "A corrupt record stops delivery to {name}",
}
WORST = ("refused", "damaged", "halted", "braked", "changed", "backing_off", "waiting")
"""If several parts of one receiver are in trouble, the first of these states is reported."""
PHONE = "Open the pump's app on the phone: is it logged in, connected to the pump, and on the internet?"


@attrs.frozen(kw_only=True)
class Problem:
    """Something a person should know. ``key`` says about what, ``state`` which kind: a change of either is news.

    ``well``: what to say when it is over. ``consequence``: another problem explains it, so it is not reported by itself.
    """

    key: str
    state: str
    title: str
    since: datetime | None = None
    message: str = ""
    remedy: str = ""
    well: str = ""
    consequence: bool = False


def problems_of(status: Mapping[str, Any], now: datetime, no_data_after: timedelta) -> tuple[Problem, ...]:
    """Return every problem, the causes first."""
    causes = [*_machine(status), *_sources(status, now)]
    silence = _silence(status, now, no_data_after)
    found = [*causes, *_sinks(status, now)]
    if silence is not None:
        found.append(attrs.evolve(silence, consequence=bool(causes)))
    return tuple(found)


def has_lasted(part: Mapping[str, Any], now: datetime) -> bool:
    """Whether the state of this part is a problem, and has been for long enough."""
    grace = GRACE.get(str(part.get("state")))
    if grace is None:
        return False
    since = parse_time(part.get("since"))
    return not grace if since is None else now - min(since, now) >= grace


def _problem(key: str, part: Mapping[str, Any], title: str, well: str) -> Problem:
    return Problem(
        key=key,
        state="unreachable" if part.get("state") in ("waiting", "backing_off") else str(part.get("state")),
        title=title,
        since=parse_time(part.get("since")),
        message=str(part.get("message") or ""),
        remedy=str(part.get("remedy") or ""),
        well=well,
    )


def _machine(status: Mapping[str, Any]) -> Iterator[Problem]:
    disk, log, daemon = (status.get(part) or {} for part in ("disk", "log", "daemon"))
    if disk.get("message"):
        yield _problem("disk", {**disk, "state": "halted"}, "The disk cannot be used", "The disk can be used again")
    if log.get("damaged"):
        damage = {"state": "damaged", "message": log["damaged"], "remedy": log.get("remedy")}
        yield _problem("log", damage, "The event log is corrupt", "The event log is no longer corrupt")
    if daemon.get("state") == "refused":
        yield _problem(
            "daemon", daemon, "The changed configuration is not used", "The changed configuration is used now"
        )


def _sources(status: Mapping[str, Any], now: datetime) -> Iterator[Problem]:
    """Trouble that ends by itself is not here: it counts when data is missing."""
    for name, source in status.get("sources", {}).items():
        title = SOURCE_TITLES.get(str(source.get("state")))
        if title is not None and has_lasted(source, now):
            yield _problem(f"source {name}", source, _headline(title, name), _headline("{name} is read again", name))


def _silence(status: Mapping[str, Any], now: datetime, no_data_after: timedelta) -> Problem | None:
    newest, sources = newest_data(status), sources_on(status)
    if newest is None or newest > now:
        return _trouble_without_age(sources, now)
    if now - newest < no_data_after:
        return None
    fetched = [at for source in sources if (at := parse_time(source.get("last_fetch"))) is not None]
    troubled = [source for source in sources if source.get("state") != "ok"]
    looked = max(fetched, default=newest) - newest >= no_data_after
    if not (looked or troubled or now - newest >= no_data_after + LOOK_MARGIN):
        return None  # for example a computer that was asleep: the next poll comes first
    part = troubled[0] if troubled and not looked else {"remedy": PHONE}
    return _silent(part, newest)


def _trouble_without_age(sources: Sequence[Mapping[str, Any]], now: datetime) -> Problem | None:
    """Return the trouble of the sources as silence if the data has no age: none ever came, or this computer's clock is behind."""
    lasting = [source for source in sources if has_lasted(source, now)]
    times = [at for source in lasting if (at := parse_time(source.get("since"))) is not None]
    return _silent(lasting[0], min(times, default=None)) if lasting else None


def _silent(part: Mapping[str, Any], since: datetime | None) -> Problem:
    silence = _problem("data", {**part, "state": "silent"}, "No new pump data", "Pump data is coming again")
    return attrs.evolve(silence, since=since)


def _sinks(status: Mapping[str, Any], now: datetime) -> Iterator[Problem]:
    """One problem for each receiver: its sinks, such as ``nightscout-iob``, mostly fail together."""
    receivers: dict[str, list[Mapping[str, Any]]] = {}
    for name, sink in status.get("sinks", {}).items():
        if sink.get("state") != "off":
            receivers.setdefault(name.partition("-")[0], []).append({**sink, "name": name})
    for receiver, sinks in receivers.items():
        bad = sorted(
            (sink for sink in sinks if has_lasted(sink, now)), key=lambda sink: WORST.index(str(sink["state"]))
        )
        if bad:
            title = _headline(SINK_TITLES.get(str(bad[0]["state"]), "Delivery to {name} has a problem"), receiver)
            yield _problem(f"sink {receiver}", bad[0], title, f"Delivery to {receiver} works again")
        yield from _refused_documents(receiver, sinks)


def _refused_documents(receiver: str, sinks: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    count = sum(int(sink.get("dead") or 0) for sink in sinks)
    if count:
        yield Problem(
            key=f"refused documents {receiver}",
            state="dead",
            title=_headline("{name} refused " + counted(count, "document"), receiver),
            message="They are missing there. Everything else is delivered.",
            remedy="See which ones with `tconnectsync dead-letters list`.",
            well=f"No refused documents are left for {receiver}",
        )


def _headline(title: str, name: str) -> str:
    text = title.format(name=name)
    return text[:1].upper() + text[1:]
