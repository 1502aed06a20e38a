"""Redirects the requests of a program to the simulated cloud, if this folder is on its ``PYTHONPATH``.

``REDIRECTS`` in the environment is a JSON list of pairs: the beginning of an address, and what replaces it. It is replaced in
addresses, headers and forms, also where it is percent-encoded.
"""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import quote

import requests

_PAIRS = json.loads(os.environ.get("REDIRECTS", "[]"))
_send = requests.Session.send


def _replaced(text: str) -> str:
    for old, new in _PAIRS:
        text = text.replace(old, new).replace(quote(old, safe=""), quote(new, safe=""))
    return text


def _redirected(session: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
    if request.url is not None:
        request.url = _replaced(request.url)
    for name in ("Origin", "Referer"):
        if name in request.headers:
            request.headers[name] = _replaced(request.headers[name] + "/").rstrip("/") + (
                "/" if name == "Referer" else ""
            )
    if isinstance(request.body, (str, bytes)) and "form" in request.headers.get("Content-Type", ""):
        body = request.body if isinstance(request.body, str) else request.body.decode()
        request.prepare_body(_replaced(body), None)
        request.headers["Content-Type"] = "application/x-www-form-urlencoded"
    return _send(session, request, **options)


requests.Session.send = _redirected  # type: ignore[method-assign]
