"""The whole web application: one person's pages, or a card for each of several people and their pages below ``/p/NAME/``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from tconnectsync_web.access.admission import open_access
from tconnectsync_web.live.stream import Live
from tconnectsync_web.live.versions import joint_version, version_of
from tconnectsync_web.live.watch import ChangeWatch
from tconnectsync_web.people import Person
from tconnectsync_web.people_pages import EVERYBODY, PeoplePages
from tconnectsync_web.person_pages import PersonPages

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


@attrs.frozen(kw_only=True)
class WebApplication:
    """The application, and what must know that the server ends.

    ``warm_up`` reads what the first page needs. ``close`` closes the people's logs; the server must have ended.
    """

    app: WSGIApplication
    live: ChangeWatch
    warm_up: Callable[[], None]
    close: Callable[[], None]


def open_application(people: Sequence[Person], data_dir: Path, secret: bytes | None) -> WebApplication:
    """Return the application for these people. ``data_dir`` keeps its key and view link; ``secret`` None: it is open."""
    access = open_access(data_dir, secret)
    versions: dict[str, Callable[[], str]] = {person.name: partial(_version, person) for person in people}
    live = Live(ChangeWatch({**versions, EVERYBODY: lambda: joint_version(version() for version in versions.values())}))
    if len(people) == 1:
        pages = PersonPages.of(people[0], access, live)
        return WebApplication(app=pages.app, live=live.watch, warm_up=pages.warm_up, close=pages.close)
    several = PeoplePages(people={person.name: person for person in people}, access=access, live=live)
    return WebApplication(app=several, live=live.watch, warm_up=several.warm_up, close=several.close)


def _version(person: Person) -> str:
    folder = person.data_dir()
    return "" if folder is None else version_of(folder)
