"""The path prefix under which a reverse proxy serves the application."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ROOT = "tconnectsync.root"
"""Key of a request's environment: the prefix of the whole application."""
_HEADERS = ("HTTP_X_INGRESS_PATH", "HTTP_X_FORWARDED_PREFIX")
"""Home Assistant's header, and the usual one."""
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)*")


def clean_prefix(text: str) -> str | None:
    """Return the prefix without a final slash; None if it is not a path of plain characters."""
    prefix = text.strip().rstrip("/")
    good = len(prefix) <= 200 and _PREFIX.fullmatch(prefix) and not {".", ".."} & set(prefix.split("/"))
    return prefix if good else None


@attrs.frozen(kw_only=True)
class PathPrefix:
    """WSGI middleware. Links begin with ``base_path``, or with what the proxy says if ``trusts_proxy``.

    The proxy may pass the path with the prefix or without it.
    """

    app: WSGIApplication
    base_path: str
    trusts_proxy: bool

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        prefix = self._prefix(environ)
        path: Any = environ.get("PATH_INFO", "")
        if prefix and (path == prefix or path.startswith(prefix + "/")):
            environ["PATH_INFO"] = path[len(prefix) :] or "/"
        environ["SCRIPT_NAME"] = environ[ROOT] = prefix
        return self.app(environ, start_response)

    def _prefix(self, environ: WSGIEnvironment) -> str:
        given = next((environ[name] for name in _HEADERS if environ.get(name)), "") if self.trusts_proxy else ""
        return clean_prefix(given) or self.base_path
