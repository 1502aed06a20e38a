"""The chain from the pump to each receiver: what works, since when, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import attrs

from tconnectsync_web.languages import Texts, msg
from tconnectsync_web.pages.status_words import in_words
from tconnectsync_web.pages.wording import SINK_WORDS, ago, duration

UPLOAD_LATE = timedelta(hours=3)
"""A phone uploads about hourly."""
PUMP_LATE = timedelta(minutes=90)
"""A pump writes a record every five minutes. If the newest is this much older than the upload, phone and pump are apart."""


class Level(str, Enum):
    """How a link of the chain is."""

    OK = "ok"
    WAIT = "wait"
    BAD = "bad"
    UNKNOWN = "unknown"


LEVELS: Mapping[str, Level] = {
    "ok": Level.OK,
    "waiting": Level.WAIT,
    "backing_off": Level.WAIT,
    "braked": Level.BAD,
    "halted": Level.BAD,
    "refused": Level.BAD,
    "damaged": Level.BAD,
}
LEVEL_WORDS: Mapping[Level, str] = {
    Level.OK: msg("works"),
    Level.WAIT: msg("waits"),
    Level.BAD: msg("needs you"),
    Level.UNKNOWN: msg("nothing yet"),
}


@attrs.frozen(kw_only=True)
class Link:
    """One link. ``news``: the newest that passed it; ``problem``: what is wrong; ``remedy``: the next thing to do."""

    title: str
    level: Level
    news: str = ""
    problem: str = ""
    remedy: str = ""

    @property
    def words(self) -> str:
        """The English word of its level."""
        return LEVEL_WORDS[self.level]


def chain(status: Mapping[str, Any], texts: Texts, now: datetime) -> Sequence[Link]:
    """Return the links from the pump to each receiver. ``status``: as printed by ``status --json``."""
    sources = {name: each for name, each in status.get("sources", {}).items() if each.get("state") != "off"}
    sinks = {name: each for name, each in status.get("sinks", {}).items() if each.get("state") != "off"}
    uploaded = _newest(sources.values(), "last_upload")
    return (
        _pump(_newest(sources.values(), "newest_event"), uploaded, texts, now),
        _phone(uploaded, texts, now),
        *(_source(name, each, texts, now) for name, each in sources.items()),
        _log(status, texts),
        *(_sink(name, each, texts, now) for name, each in sinks.items()),
    )


def worst(links: Sequence[Link]) -> Level:
    """The level of the whole chain."""
    order = (Level.BAD, Level.WAIT, Level.UNKNOWN, Level.OK)
    return next((level for level in order if any(link.level is level for link in links)), Level.UNKNOWN)


def problems(links: Sequence[Link]) -> Iterator[Link]:
    """The links that have something to say: first those that need the reader."""
    for level in (Level.BAD, Level.WAIT):
        yield from (link for link in links if link.level is level)


def _pump(newest: datetime | None, uploaded: datetime | None, texts: Texts, now: datetime) -> Link:
    title = texts.gettext("Pump")
    if newest is None:
        return Link(title=title, level=Level.UNKNOWN, news=texts.gettext("No data yet"))
    news = texts.gettext("newest record %(age)s") % {"age": ago(texts, newest, now)}
    if uploaded is not None and uploaded - newest > PUMP_LATE:
        return Link(
            title=title,
            level=Level.BAD,
            news=news,
            problem=texts.gettext("The phone uploads, but it gets nothing new from the pump."),
            remedy=texts.gettext("Open the pump's app on the phone and check that it is connected to the pump."),
        )
    return Link(title=title, level=Level.OK, news=news)


def _phone(uploaded: datetime | None, texts: Texts, now: datetime) -> Link:
    title = texts.gettext("Phone upload")
    if uploaded is None:
        return Link(title=title, level=Level.UNKNOWN, news=texts.gettext("No data yet"))
    news = texts.gettext("uploaded %(age)s") % {"age": ago(texts, uploaded, now)}
    if now - uploaded > UPLOAD_LATE:
        return Link(
            title=title,
            level=Level.BAD,
            news=news,
            problem=texts.gettext("The phone has not uploaded for a long time. The pump works without it."),
            remedy=texts.gettext("Open the pump's app on the phone and check that the phone is on the Internet."),
        )
    return Link(title=title, level=Level.OK, news=news)


def _source(name: str, found: Mapping[str, Any], texts: Texts, now: datetime) -> Link:
    fetched = _time(found.get("last_fetch"))
    news = (
        texts.gettext("read %(age)s") % {"age": ago(texts, fetched, now)} if fetched else texts.gettext("not read yet")
    )
    title = "Tandem" if name == "tandem" else name
    return Link(title=title, level=_level(found), news=news, **_trouble(found, texts, now))


def _log(status: Mapping[str, Any], texts: Texts) -> Link:
    title, log = texts.gettext("Event log"), status.get("log") or {}
    disk = status.get("disk") or {}
    for part, words in ((log, log.get("damaged")), (disk, disk.get("message"))):
        if words:
            remedy = in_words(texts, str(part.get("remedy") or ""))
            return Link(title=title, level=Level.BAD, problem=in_words(texts, str(words)), remedy=remedy)
    records = int(log.get("positions") or 0)
    news = texts.ngettext("%(number)s record", "%(number)s records", records) % {"number": texts.number(records)}
    return Link(title=title, level=Level.OK if records else Level.UNKNOWN, news=news)


def _sink(name: str, found: Mapping[str, Any], texts: Texts, now: datetime) -> Link:
    delivered, pending = _time(found.get("last_delivered")), int(found.get("pending") or 0)
    news = (
        texts.gettext("delivered %(age)s") % {"age": ago(texts, delivered, now)}
        if delivered
        else texts.gettext("nothing delivered yet")
    )
    if pending:
        news += ", " + texts.ngettext("%(number)s entry waits", "%(number)s entries wait", pending) % {
            "number": texts.number(pending)
        }
    level = _level(found)
    if level is Level.OK and found.get("dead"):
        level = Level.BAD
    title = texts.gettext(SINK_WORDS.get(name, name))
    return Link(title=title, level=level, news=news, **_trouble(found, texts, now))


def _trouble(found: Mapping[str, Any], texts: Texts, now: datetime) -> dict[str, str]:
    message = in_words(texts, str(found.get("message") or ""))
    message = message[:1].upper() + message[1:]
    since = _time(found.get("since"))
    if found.get("state") != "ok" and since is not None:
        message = (f"{message} " if message else "") + texts.gettext("(for %(length)s)") % {
            "length": duration(texts, now - since)
        }
    return {"problem": message, "remedy": in_words(texts, str(found.get("remedy") or ""))}


def _level(found: Mapping[str, Any]) -> Level:
    return LEVELS.get(str(found.get("state")), Level.WAIT)


def _newest(parts: Any, key: str) -> datetime | None:
    return max((at for part in parts if (at := _time(part.get(key))) is not None), default=None)


def _time(text: object) -> datetime | None:
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if isinstance(text, str) else None
