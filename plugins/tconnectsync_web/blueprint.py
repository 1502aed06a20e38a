"""The pages as a Flask blueprint. Who may see them is decided by the application's ``before_request``, not here.

Other pages of the plugin extend ``base.html`` and join :data:`NAVIGATION`; a page that is not registered has no link.
``page.static`` has no personal data and must be readable without a secret, or a login form has no style.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable

import attrs
from flask import Blueprint, Response, current_app, g, redirect, render_template, request, url_for
from flask.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound

from tconnectsync_web.languages import Languages, msg
from tconnectsync_web.links import link, texts, wants_html, with_commands
from tconnectsync_web.pages.reader import PageReader
from tconnectsync_web.sync_cycles import Cycles
from tconnectsync_web.views import Views

NAME = "page"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
NAVIGATION = (
    ("page.overview", msg("Overview")),
    ("page.today", msg("Days")),
    ("page.report", msg("Report")),
    ("log", msg("Log")),
    ("problems", msg("Problems")),
)
"""Endpoint and English title, in the order of the menu."""
LIVE_ENDPOINT = "live"
"""The endpoint of the server-sent events, if the application has one. Any message makes the page fetch itself again."""

LIVE_SINCE = "live_since"
"""The attribute of ``flask.g`` with the version of the data that this page shows."""

View = Callable[..., ResponseReturnValue]


def page_blueprint(
    reader: PageReader,
    *,
    cycles: Cycles | None = None,
    for_scripts: Callable[[], ResponseReturnValue] | None = None,
    limited: Callable[[View], View] = lambda view: view,
) -> Blueprint:
    """Return the pages of one person.

    ``cycles`` starts a sync and knows the last one; None: there is no button. ``for_scripts`` answers ``/`` if a script asks
    instead of a browser. ``limited`` wraps each view that reads the log.
    """
    pages, form_token, views = frame_blueprint(), secrets.token_urlsafe(24), Views(reader=reader)

    def overview() -> ResponseReturnValue:
        if for_scripts is not None and not wants_html():
            return for_scripts()
        return views.overview()

    def start_sync() -> ResponseReturnValue:
        if not hmac.compare_digest(request.form.get("token", "").encode(), form_token.encode()):
            return render_template("stale_form.html"), 403
        if cycles is not None:
            cycles.start()
        return redirect(link(f"{NAME}.overview"), 303)

    pages.add_url_rule("/", "overview", limited(overview))
    pages.add_url_rule("/days", "today", limited(views.today))
    pages.add_url_rule("/days/<day>", "day", limited(views.day))
    pages.add_url_rule("/report", "report", limited(views.report))
    pages.add_url_rule("/report.csv", "report_csv", limited(views.report_csv))
    if cycles is not None:
        pages.add_url_rule("/sync", "sync", start_sync, methods=["POST"])
    pages.app_errorhandler(NotFound)(_no_such_page)
    pages.app_context_processor(lambda: {"form_token": form_token, "cycles": cycles})
    return pages


def _no_such_page(error: NotFound) -> ResponseReturnValue:
    if not wants_html():
        return error.get_response()
    return render_template("no_such_page.html"), 404


def frame_blueprint() -> Blueprint:
    """Return what every page needs: the frame ``base.html``, the menu, languages, styles, and a policy for browsers."""
    frame = Blueprint(NAME, __name__, template_folder="templates", static_folder="static", static_url_path="/static")
    languages = Languages()
    frame.after_app_request(_secure)
    frame.before_app_request(lambda: _choose_language(languages))
    frame.record_once(_set_up)
    frame.app_context_processor(lambda: {"navigation": _navigation(), "languages": languages.names})
    return frame


@attrs.frozen
class MenuEntry:
    """A link of the menu."""

    title: str
    address: str
    current: bool


def _navigation() -> list[MenuEntry]:
    known = current_app.view_functions
    return [
        MenuEntry(texts().gettext(title), link(endpoint), _is_current(endpoint))
        for endpoint, title in NAVIGATION
        if endpoint in known
    ]


def _is_current(endpoint: str) -> bool:
    return request.endpoint == endpoint or (endpoint, request.endpoint) == ("page.today", "page.day")


def _choose_language(languages: Languages) -> None:
    wanted = [request.args["lang"]] if "lang" in request.args else []
    g.texts = languages.choose([*wanted, *request.accept_languages.values()])


def _secure(answer: Response) -> Response:
    answer.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    answer.headers.setdefault("X-Content-Type-Options", "nosniff")
    return answer


def _set_up(state: BlueprintSetupState) -> None:
    """Give templates gettext and links."""
    environment = state.app.jinja_env
    environment.add_extension("jinja2.ext.i18n")
    environment.install_gettext_callables(  # type: ignore[attr-defined]  # added by the extension
        lambda message: texts().gettext(message),
        lambda singular, plural, count: texts().ngettext(singular, plural, count),
        newstyle=True,
    )
    environment.globals.update(link=link, texts=texts, live_address=_live_address)
    environment.filters["commands"] = with_commands
    environment.trim_blocks = environment.lstrip_blocks = True


def _live_address() -> str | None:
    return url_for(LIVE_ENDPOINT, since=g.get(LIVE_SINCE, "")) if LIVE_ENDPOINT in current_app.view_functions else None
