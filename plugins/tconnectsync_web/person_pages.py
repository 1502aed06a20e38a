"""One person's pages, and what reads their data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from flask import Flask

from tconnectsync_web.access.admission import Access
from tconnectsync_web.live.recent_status import RecentStatus
from tconnectsync_web.live.stream import Live
from tconnectsync_web.log_reader import LogReader
from tconnectsync_web.pages.overview import USUAL_HOURS, overview
from tconnectsync_web.people import Person
from tconnectsync_web.routes import web_app

log = logging.getLogger("tconnectsync.web")

FIRST_TEMPLATES = ("base.html", "parts.html", "overview.html", "day.html")
"""The templates of the pages that are looked at first."""


@attrs.frozen(kw_only=True)
class PersonPages:
    """The application of one person, and their reader. ``status``: see :class:`RecentStatus`."""

    app: Flask
    reader: LogReader
    status: Callable[[], Mapping[str, Any]]

    @classmethod
    def of(cls, person: Person, access: Access, live: Live) -> PersonPages:
        """Open a person's pages. Errors: those of :meth:`Person.config`."""
        config = person.config()
        status = RecentStatus(person.engine.read_status, lambda: live.watch.version(person.name))
        reader = LogReader(
            zones=config.zones, units=person.engine.glucose_units(), open_log=person.engine.open_log, read_status=status
        )
        app = web_app(
            access=access,
            reader=reader,
            cycles=person.cycles,
            read_status=person.engine.read_status,
            read_findings=person.findings,
            read_letters=person.engine.dead_letters,
            redact=person.engine.redact,
            live=live,
            name=person.name,
        )
        return cls(app=app, reader=reader, status=status)

    def close(self) -> None:
        """Close the reader's log. The pages answer nothing afterwards."""
        self.reader.close()

    def warm_up(self) -> None:
        """Read what the overview needs, and compile the templates, so that the first page comes at once."""
        try:
            for name in FIRST_TEMPLATES:
                self.app.jinja_env.get_template(name)
            overview(self.reader, USUAL_HOURS)
            self.status()
        except Exception:  # the border of a thread; the page itself will say what is wrong
            log.debug("warm_up_failed", exc_info=True)
