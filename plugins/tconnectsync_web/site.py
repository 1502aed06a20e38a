"""The whole web application: one person's pages, or a card for each of several people and their pages below ``/p/NAME/``."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from flask import Flask, Response, jsonify, render_template
from flask.typing import ResponseReturnValue

from tconnectsync_web.access.admission import Access, address_below_root, open_access
from tconnectsync_web.access.sign_in import sign_in_blueprint
from tconnectsync_web.app import public_status, web_app
from tconnectsync_web.blueprint import frame_blueprint
from tconnectsync_web.links import wants_html
from tconnectsync_web.live.recent_status import RecentStatus
from tconnectsync_web.live.stream import Live
from tconnectsync_web.live.watch import ChangeWatch
from tconnectsync_web.log_reader import LogReader
from tconnectsync_web.people import Person

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("tconnectsync.web")
PEOPLE_PATH = "/p/"


@attrs.frozen(kw_only=True)
class Site:
    """The application, and what must be told when the server ends."""

    app: WSGIApplication
    live: ChangeWatch


def open_site(people: Sequence[Person], data_dir: Path, secret: bytes | None) -> Site:
    """Return the application for these people. ``data_dir`` keeps its key and view link; ``secret`` None: it is open."""
    access = open_access(data_dir, secret)
    live = Live(ChangeWatch({person.name: person.data_dir for person in people}))
    app: WSGIApplication
    if len(people) == 1:
        app = app_of(people[0], access, live)
    else:
        app = PeopleSite(people={person.name: person for person in people}, access=access, live=live)
    return Site(app=app, live=live.watch)


def app_of(person: Person, access: Access, live: Live) -> Flask:
    """Return one person's pages and addresses for scripts."""
    config = person.config()
    reader = LogReader(
        zones=config.zones,
        units=config.glucose_units,
        open_log=person.engine.open_log,
        read_status=RecentStatus(person.engine.read_status, lambda: live.watch.version(person.name)),
    )
    return web_app(
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


@attrs.frozen(kw_only=True)
class Card:
    """One person on the page with everybody. ``problem``: why nothing can be shown."""

    name: str
    problem: str | None = None
    status: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def troubles(self) -> list[str]:
        """What is wrong, in words."""
        parts = [*self.status.get("sources", {}).values(), *self.status.get("sinks", {}).values()]
        parts += [self.status[part] for part in ("disk",) if part in self.status]
        damaged = self.status.get("log", {}).get("damaged")
        words = [str(part["message"]) for part in parts if part["state"] not in ("ok", "off") and part.get("message")]
        return [*([str(damaged)] if damaged else []), *words]


class PeopleSite:
    """WSGI application of several people. A person's application is made at the first request for it."""

    def __init__(self, *, people: Mapping[str, Person], access: Access, live: Live) -> None:
        self._people, self._access, self._live = people, access, live
        self._lock = threading.Lock()
        self._apps: dict[str, Flask] = {}
        self._front = self._front_app()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Pass the request to the person whose page it is, else to the page with everybody."""
        path: Any = environ.get("PATH_INFO", "")
        name, slash, rest = path.removeprefix(PEOPLE_PATH).partition("/")
        app = self._app_of(name) if path.startswith(PEOPLE_PATH) and slash else None
        if app is None:
            return self._front(environ, start_response)
        environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + PEOPLE_PATH + name
        environ["PATH_INFO"] = "/" + rest
        return app(environ, start_response)

    def _app_of(self, name: str) -> Flask | None:
        person = self._people.get(name)
        if person is None or person.problem() is not None:
            return None
        with self._lock:
            if name not in self._apps:
                app = self._apps[name] = app_of(person, self._access, self._live)
                app.context_processor(lambda: {"everybody_address": address_below_root("/")})
            return self._apps[name]

    def _front_app(self) -> Flask:
        app = Flask("tconnectsync_web", static_folder=None)
        everybody = frame_blueprint()

        def overview() -> ResponseReturnValue:
            cards = [card_of(person) for person in self._people.values()]
            if wants_html():
                return render_template("people.html", cards=cards, navigation=[])
            return jsonify({card.name: _for_scripts(card, self._people[card.name]) for card in cards})

        def person(name: str, rest: str = "") -> ResponseReturnValue:
            """A person without pages: there is none of that name, or the configuration is broken."""
            del rest
            known = self._people.get(name)
            card = None if known is None else Card(name=name, problem=known.problem())
            return render_template("no_person.html", name=name, card=card, navigation=[]), 404 if card is None else 503

        everybody.add_url_rule("/", "overview", overview)
        app.register_blueprint(everybody)
        app.register_blueprint(sign_in_blueprint(self._access))
        app.add_url_rule("/healthz", "healthz", lambda: Response("ok\n", mimetype="text/plain"))
        app.add_url_rule(f"{PEOPLE_PATH}<name>/", "person", person)
        app.add_url_rule(f"{PEOPLE_PATH}<name>/<path:rest>", "person", person)
        self._access.protect(app)
        return app


def card_of(person: Person) -> Card:
    """Return what the page with everybody shows of one person."""
    problem = person.problem()
    if problem is not None:
        return Card(name=person.name, problem=problem)
    try:
        return Card(name=person.name, status=person.engine.read_status())
    except Exception as error:  # the border between people: one person's trouble hides nobody else
        log.exception("card_failed name=%s", person.name)
        words = person.engine.redact(str(error)) or type(error).__name__
        return Card(name=person.name, problem=f"the status cannot be read: {words}")


def _for_scripts(card: Card, person: Person) -> Mapping[str, Any]:
    return {"problem": True} if card.problem is not None else public_status(card.status, person.cycles)
