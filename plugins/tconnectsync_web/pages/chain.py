"""The chain from the pump to each receiver: what is known to work, since when not, and what the status reports about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import attrs

from tconnectsync import Severity, newest_data, severity, uploads_without_pump
from tconnectsync_web.languages import Texts, msg
from tconnectsync_web.pages.faults import SERVICE_FAULTS, SINK_FAULTS, SOURCE_FAULTS, Fault
from tconnectsync_web.pages.status_words import in_words
from tconnectsync_web.pages.value_words import SINK_WORDS, ago

UPLOAD_LATE = timedelta(hours=3)
"""A phone uploads about hourly."""
READ_LATE = timedelta(hours=3)
"""A source that was read longer ago than this is not read any more, whatever its last state was."""
KNOWN_FOR = timedelta(hours=2)
"""Records older than this do not show that the pump works now."""
SOURCE_TITLES: Mapping[str, str] = {"tandem": "Tandem", "tconnect": "t:connect"}


class Level(str, Enum):
    """How a link of the chain is."""

    OK = "ok"
    WAIT = "wait"
    BAD = "bad"
    UNKNOWN = "unknown"


LEVELS: Mapping[Severity, Level] = {
    Severity.OFF: Level.UNKNOWN,
    Severity.OK: Level.OK,
    Severity.WAIT: Level.WAIT,
    Severity.BAD: Level.BAD,
}
LEVEL_WORDS: Mapping[Level, str] = {
    Level.OK: msg("works"),
    Level.WAIT: msg("waits"),
    Level.BAD: msg("needs you"),
    Level.UNKNOWN: msg("not known"),
}


@attrs.frozen(kw_only=True)
class Link:
    """One link. ``news``: the newest that passed it; ``fault``: what is wrong, ``since`` when.

    ``report`` and ``command`` are the status's message and remedy, in the reader's language.
    """

    title: str
    level: Level
    news: str = ""
    fault: Fault | None = None
    since: datetime | None = None
    report: str = ""
    command: str = ""

    @property
    def words(self) -> str:
        """The English word of its level."""
        return LEVEL_WORDS[self.level]


@attrs.frozen(kw_only=True)
class Sources:
    """All sources together, as the status reports them: the newest of each time. ``newest``: of the worn pump."""

    read_at: datetime | None
    uploaded: datetime | None
    newest: datetime | None
    work: bool

    @classmethod
    def of(cls, status: Mapping[str, Any], now: datetime) -> Sources:
        """Return what the status says."""
        parts = list(_on(status.get("sources")).values())
        return cls(
            read_at=_newest(parts, "last_fetch"),
            uploaded=_newest(parts, "last_upload"),
            newest=newest_data(status),
            work=any(part.get("state") == "ok" and _was_read_lately(part, now) for part in parts),
        )


def _was_read_lately(source: Mapping[str, Any], now: datetime) -> bool:
    fetched = time_of(source.get("last_fetch"))
    return fetched is not None and now - fetched <= READ_LATE


def chain(status: Mapping[str, Any], texts: Texts, now: datetime) -> Sequence[Link]:
    """Return the links from the pump to each receiver. ``status``: as printed by ``status --json``."""
    sources, sinks = _on(status.get("sources")), _on(status.get("sinks"))
    found = Sources.of(status, now)
    return (
        _pump(found, texts, now),
        _phone(found, texts, now),
        *(_source(name, each, texts, now) for name, each in sources.items()),
        *_service(status.get("daemon") or {}, texts, now),
        _log(status, texts, now),
        *(_sink(name, each, texts, now, runs=found.work or not sources) for name, each in sinks.items()),
    )


def _on(parts: Mapping[str, Any] | None) -> Mapping[str, Mapping[str, Any]]:
    """The parts that are not off."""
    return {name: part for name, part in (parts or {}).items() if part.get("state") not in ("off", None)}


def worst(links: Sequence[Link]) -> Level:
    """The level of the whole chain."""
    order = (Level.BAD, Level.WAIT, Level.UNKNOWN, Level.OK)
    return next((level for level in order if any(link.level is level for link in links)), Level.UNKNOWN)


def problems(links: Sequence[Link]) -> Iterator[Link]:
    """The links that have a fault: first those that need the reader."""
    for level in (Level.BAD, Level.WAIT):
        yield from (link for link in links if link.level is level)


def _pump(found: Sources, texts: Texts, now: datetime) -> Link:
    title = texts.gettext("Pump")
    if found.newest is None:
        return Link(title=title, level=Level.UNKNOWN, news=texts.gettext("No data yet"))
    news = texts.gettext("newest record %(age)s") % {"age": ago(texts, found.newest, now)}
    if uploads_without_pump(found.uploaded, found.newest):
        return Link(title=title, level=Level.BAD, news=news, fault=Fault.PUMP_SILENT, since=found.newest)
    known = found.work and now - found.newest <= KNOWN_FOR
    return Link(title=title, level=Level.OK if known else Level.UNKNOWN, news=news)


def _phone(found: Sources, texts: Texts, now: datetime) -> Link:
    title = texts.gettext("Phone upload")
    if found.uploaded is None:
        return Link(title=title, level=Level.UNKNOWN, news=texts.gettext("No data yet"))
    news = texts.gettext("uploaded %(age)s") % {"age": ago(texts, found.uploaded, now)}
    if found.work and found.read_at is not None and found.read_at - found.uploaded > UPLOAD_LATE:
        return Link(title=title, level=Level.BAD, news=news, fault=Fault.PHONE_SILENT, since=found.uploaded)
    known = found.work and now - found.uploaded <= UPLOAD_LATE
    return Link(title=title, level=Level.OK if known else Level.UNKNOWN, news=news)


def _source(name: str, found: Mapping[str, Any], texts: Texts, now: datetime) -> Link:
    fetched, state = time_of(found.get("last_fetch")), str(found.get("state"))
    news = (
        texts.gettext("read %(age)s") % {"age": ago(texts, fetched, now)} if fetched else texts.gettext("not read yet")
    )
    link = _link(SOURCE_TITLES.get(name, name), found, news, texts, now)
    if state != "ok":
        is_first = link.level is Level.WAIT and state == "waiting" and not (fetched or _has_data(found))
        fault = Fault.FIRST_READ if is_first else SOURCE_FAULTS.get(state, Fault.SOURCE_STOPPED)
        since = fetched if fault is Fault.NOT_READ and fetched else link.since
        return attrs.evolve(link, fault=fault, since=None if is_first else since)
    if fetched is not None and now - fetched > READ_LATE:
        return attrs.evolve(link, level=Level.BAD, fault=Fault.NOT_READ, since=fetched)
    return link


def _has_data(source: Mapping[str, Any]) -> bool:
    return bool(source.get("newest_event") or source.get("last_upload"))


def _service(found: Mapping[str, Any], texts: Texts, now: datetime) -> Iterator[Link]:
    """The daemon, if something is wrong with it. Without one, ``sync`` may run at intervals."""
    state = str(found.get("state") or "off")
    if state not in ("ok", "off"):
        link = _link(texts.gettext("tconnectsync service"), found, "", texts, now)
        yield attrs.evolve(link, fault=SERVICE_FAULTS.get(state, Fault.SERVICE_WAITS))


def _log(status: Mapping[str, Any], texts: Texts, now: datetime) -> Link:
    title, log = texts.gettext("Event log"), status.get("log") or {}
    disk = status.get("disk") or {}
    for part, words, fault in ((log, log.get("damaged"), Fault.LOG_CORRUPT), (disk, disk.get("message"), Fault.DISK)):
        if words:
            told = {"message": words, "remedy": part.get("remedy"), "since": part.get("since"), "state": "damaged"}
            return attrs.evolve(_link(title, told, "", texts, now), fault=fault)
    records = int(log.get("positions") or 0)
    news = texts.ngettext("%(number)s record", "%(number)s records", records) % {"number": texts.number(records)}
    return Link(title=title, level=Level.OK if records else Level.UNKNOWN, news=news)


def _sink(name: str, found: Mapping[str, Any], texts: Texts, now: datetime, *, runs: bool) -> Link:
    """``runs``: data is read. If not, nobody knows how the receiver is."""
    delivered, pending, state = (
        time_of(found.get("last_delivered")),
        int(found.get("pending") or 0),
        str(found.get("state")),
    )
    if delivered:
        news = texts.gettext("delivered %(age)s") % {"age": ago(texts, delivered, now)}
    elif found.get("had_everything"):
        news = texts.gettext("nothing to send: everything is there already")
    else:
        news = texts.gettext("nothing delivered yet")
    if pending:
        news += ", " + texts.ngettext("%(number)s document waits", "%(number)s documents wait", pending) % {
            "number": texts.number(pending)
        }
    link = _link(texts.gettext(SINK_WORDS.get(name, name)), found, news, texts, now)
    if state != "ok":
        is_first = state == "waiting" and delivered is None
        fault = Fault.FIRST_DELIVERY if is_first else SINK_FAULTS.get(state, Fault.DELIVERY_WAITS)
        return attrs.evolve(link, fault=fault)
    if found.get("dead"):
        return attrs.evolve(link, level=Level.BAD, fault=Fault.SET_ASIDE, since=None)
    return link if runs else attrs.evolve(link, level=Level.UNKNOWN)


def _link(title: str, found: Mapping[str, Any], news: str, texts: Texts, now: datetime) -> Link:
    report = in_words(texts, str(found.get("message") or ""))
    state = str(found.get("state"))
    return Link(
        title=title,
        level=LEVELS[severity(found, now)],
        news=news,
        since=time_of(found.get("since")) if state != "ok" else None,
        report=report if report.startswith("http") else report[:1].upper() + report[1:],
        command=in_words(texts, str(found.get("remedy") or "")),
    )


def _newest(parts: Iterable[Mapping[str, Any]], key: str) -> datetime | None:
    return max((at for part in parts if (at := time_of(part.get(key))) is not None), default=None)


def time_of(text: object) -> datetime | None:
    """Return a time of the status; None if it has none."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if isinstance(text, str) else None
