"""The views of the log and of problems."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import attrs
from flask import Flask, Response, render_template, request
from flask.typing import ResponseReturnValue

from tconnectsync import LogCorrupt, TconnectsyncError
from tconnectsync_web.languages import msg
from tconnectsync_web.links import link, texts, wants_html
from tconnectsync_web.pages import value_words
from tconnectsync_web.pages.banner import WAIT_IF_UNREAD, banner
from tconnectsync_web.pages.chain import chain
from tconnectsync_web.pages.event_kinds import GROUPS, KIND_TITLES, kinds_of
from tconnectsync_web.pages.event_log import LONGEST_SEARCH, EventSearch, describe_event, event_page
from tconnectsync_web.pages.problems import problems_of
from tconnectsync_web.pages.reader import PageReader
from tconnectsync_web.pages.status_words import in_words

CORRUPT = msg("A part of the stored data that this page needs is corrupt.")
UNREADABLE = msg("The stored data that this page needs cannot be read.")
FUTURE = timedelta(days=2)
"""A pump's clock may be ahead: the first page begins this long after now."""


@attrs.frozen(kw_only=True)
class LogViews:
    """The log and the problems of one person. ``read_letters`` returns what ``dead-letters list --json`` prints."""

    reader: PageReader
    read_letters: Callable[[], Sequence[Mapping[str, Any]]]

    def log(self) -> ResponseReturnValue:
        """``/log?kind=boluses&q=extended&before=2026-11-27T10:00:00Z``."""
        reader, words = self.reader, texts()
        kind, query = request.args.get("kind", ""), request.args.get("q", "").strip()[:LONGEST_SEARCH]
        search = EventSearch(kinds=kinds_of(kind), words=query)
        before = _time(request.args.get("before", ""))
        describe = partial(describe_event, texts=words, units=reader.units, wall_of=reader.zones.wall_of)
        end = before or reader.now() + FUTURE
        found = reader.browse(lambda read: event_page(read, search, end, describe))
        pumps = {row.pump for row in found.rows}
        chosen = {name: value for name, value in (("kind", kind), ("q", query)) if value}
        older = None if found.older is None else link("log", **chosen, before=_text(found.older))
        newest = link("log", **chosen) if before is not None else None
        return render_template(
            "log.html", page=found, kind=kind, query=query, groups=GROUPS, kinds=KIND_TITLES, older=older, newest=newest,
            several_pumps=len(pumps) > 1, say=words,
        )  # fmt: skip

    def problems(self) -> ResponseReturnValue:
        """``/problems``: what is wrong, and the commands that correct it."""
        words, now, status, zones = texts(), self.reader.now(), self.reader.status(), self.reader.zones
        return render_template(
            "problems.html",
            page=problems_of(status, self.read_letters()),
            state=banner(chain(status, words, now), words, zones, now),
            ago=lambda at: value_words.ago(words, at, now),
            moment=lambda at: value_words.moment(words, zones, at, now),
            titles=value_words.SINK_WORDS,
            in_words=partial(in_words, words),
            say=words,
        )


def add_trouble_page(app: Flask, redact: Callable[[str], str]) -> None:
    """Show a page with words, not an error of the server, if the data folder cannot be read."""

    def trouble(error: Exception) -> ResponseReturnValue:
        what = CORRUPT if isinstance(error, LogCorrupt) else UNREADABLE
        message, remedy = redact(str(error)), redact(str(getattr(error, "remedy", None) or ""))
        if not wants_html():
            return {"message": message}, 503
        page = render_template(
            "trouble.html",
            what=what,
            wait=WAIT_IF_UNREAD,
            message=message,
            remedy=remedy,
            in_words=partial(in_words, texts()),
        )
        return Response(page, status=503, mimetype="text/html")

    app.register_error_handler(TconnectsyncError, trouble)
    app.register_error_handler(OSError, trouble)


def _time(text: str) -> datetime | None:
    """Return the time of an address; None if it is none."""
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
        at = at.replace(tzinfo=timezone.utc) if at.tzinfo is None else at.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
    return at if 2000 <= at.year < 2100 else None


def _text(at: datetime) -> str:
    return at.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
