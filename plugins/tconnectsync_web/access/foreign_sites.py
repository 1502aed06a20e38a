"""Tells our own pages from other web sites that a browser shows at the same time."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Request

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def is_foreign(request: Request) -> bool:
    """Whether another site made the browser send this request. Browsers name the origin, scripts do not."""
    fetch_site = request.headers.get("Sec-Fetch-Site")
    if fetch_site is not None:
        return fetch_site not in ("same-origin", "none")
    origin = request.headers.get("Origin")
    return origin is not None and not _is_own_origin(origin, request.host)


def comes_from_foreign_site(request: Request) -> bool:
    """Whether the browser itself says that another site made it send this request."""
    return request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")


def is_surely_own(request: Request) -> bool:
    """Whether one of our own pages sent this request. Required before anything changes on the strength of a cookie."""
    named = "Sec-Fetch-Site" in request.headers or "Origin" in request.headers
    return named and not is_foreign(request)


def comes_by_foreign_link(request: Request) -> bool:
    """Whether the user followed a link on another site: browsers then withhold a strict cookie once."""
    return (
        request.method == "GET"
        and request.headers.get("Sec-Fetch-Mode") == "navigate"
        and comes_from_foreign_site(request)
    )


def _is_own_origin(origin: str, host: str) -> bool:
    """Compare host and port. The scheme may differ: a proxy that ends TLS may not say so."""
    try:
        parts = urlsplit(origin)
        default = {"http": ":80", "https": ":443"}[parts.scheme]
    except (ValueError, KeyError):
        return False
    return parts.netloc.lower().removesuffix(default) == host.lower().removesuffix(default)
