"""Addresses of pages, and the language of a request."""

from __future__ import annotations

from typing import Any

from flask import g, request, url_for
from markupsafe import Markup, escape

from tconnectsync_web.languages import Texts

KEPT = ("lang",)
"""Parameters that stay while a reader goes from page to page."""


def texts() -> Texts:
    """The language of this request."""
    found: Texts = g.texts
    return found


def link(endpoint: str, **values: Any) -> str:
    """The address of a page; it keeps the language that ``?lang=`` chose."""
    kept = {name: request.args[name] for name in KEPT if name in request.args}
    return url_for(endpoint, **{**kept, **values})


def with_commands(words: str) -> Markup:
    """The text as markup; what is between backquotes is a command, or part of a file."""
    parts = str(words).split("`")
    if len(parts) % 2 == 0:
        return escape(words)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )


def wants_html() -> bool:
    """Whether a browser asks, not a script."""
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"
