"""Several people: a page with a card for each, and the pages of each below ``/p/NAME/``."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, jsonify, render_template
from flask.typing import ResponseReturnValue

from tconnectsync_web.access.admission import Access, address_below_root
from tconnectsync_web.access.sign_in import sign_in_blueprint
from tconnectsync_web.blueprint import frame_blueprint
from tconnectsync_web.links import texts, wants_html
from tconnectsync_web.live.stream import Live
from tconnectsync_web.pages import value_words
from tconnectsync_web.pages.banner import WAIT_IF_UNREAD
from tconnectsync_web.pages.person_card import CARD_HOURS, PersonCard, person_card
from tconnectsync_web.people import Person
from tconnectsync_web.person_pages import PersonPages
from tconnectsync_web.routes import add_live, public_status

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger("tconnectsync.web")
PEOPLE_PATH = "/p/"
EVERYBODY = "*"
"""The name of the news of all people together."""


class PeoplePages:
    """WSGI application of several people. A person's pages are opened at the first request for them."""

    def __init__(self, *, people: Mapping[str, Person], access: Access, live: Live) -> None:
        self._people, self._access, self._live = people, access, live
        self._lock = threading.Lock()
        self._opened: dict[str, PersonPages] = {}
        self._front = self._front_app()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Pass the request to the person whose page it is, else to the page with everybody."""
        path: Any = environ.get("PATH_INFO", "")
        name, slash, rest = path.removeprefix(PEOPLE_PATH).partition("/")
        pages = self._pages_of(name) if path.startswith(PEOPLE_PATH) and slash else None
        if pages is None:
            return self._front(environ, start_response)
        environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + PEOPLE_PATH + name
        environ["PATH_INFO"] = "/" + rest
        return pages.app(environ, start_response)

    def warm_up(self) -> None:
        """Read what the first page needs."""
        for name in self._people:
            pages = self._pages_of(name)
            if pages is not None:
                pages.warm_up()

    def close(self) -> None:
        """Close the logs of all people. The pages answer nothing afterwards."""
        with self._lock:
            for pages in self._opened.values():
                pages.close()

    def _pages_of(self, name: str) -> PersonPages | None:
        """Return a person's pages; None if there is no such person, or if the configuration is broken."""
        person = self._people.get(name)
        if person is None or person.problem() is not None:
            return None
        with self._lock:
            if name not in self._opened:
                pages = self._opened[name] = PersonPages.of(person, self._access, self._live)
                pages.app.context_processor(lambda: {"everybody_address": address_below_root("/")})
            return self._opened[name]

    def _front_app(self) -> Flask:
        app = Flask("tconnectsync_web", static_folder=None)
        everybody = frame_blueprint()

        def overview() -> ResponseReturnValue:
            if not wants_html():
                return jsonify({name: self._for_scripts(person) for name, person in self._people.items()})
            return render_template(
                "people.html",
                cards=[self._card(person) for person in self._people.values()],
                navigation=[],
                trend=value_words.trend,
                wait_if_unread=WAIT_IF_UNREAD,
            )

        def person(name: str, rest: str = "") -> ResponseReturnValue:
            """A person without pages: there is none of that name, or the configuration is broken."""
            del rest
            known = self._people.get(name)
            problem = None if known is None else known.problem()
            page = render_template(
                "no_person.html", name=name, is_known=known is not None, problem=problem, navigation=[]
            )
            return page, 404 if known is None else 503

        everybody.add_url_rule("/", "overview", overview)
        app.register_blueprint(everybody)
        app.register_blueprint(sign_in_blueprint(self._access))
        app.add_url_rule("/healthz", "healthz", lambda: Response("ok\n", mimetype="text/plain"))
        app.add_url_rule(f"{PEOPLE_PATH}<name>/", "person", person)
        app.add_url_rule(f"{PEOPLE_PATH}<name>/<path:rest>", "person", person)
        self._access.protect(app)
        add_live(app, self._live, EVERYBODY, self._access)
        return app

    def _card(self, person: Person) -> PersonCard:
        pages = self._pages_of(person.name)
        if pages is None:
            return PersonCard(name=person.name, broken=person.problem() or "")
        try:
            return person_card(person.name, pages.reader, CARD_HOURS, texts())
        except Exception as error:  # the border between people: one person's trouble hides nobody else
            log.exception("card_failed name=%s", person.name)
            return PersonCard(name=person.name, unread=person.engine.redact(str(error)) or type(error).__name__)

    def _for_scripts(self, person: Person) -> Mapping[str, Any]:
        pages = self._pages_of(person.name)
        try:
            return {"problem": True} if pages is None else public_status(pages.status(), person.cycles)
        except Exception:  # as above
            log.exception("status_failed name=%s", person.name)
            return {"problem": True}
