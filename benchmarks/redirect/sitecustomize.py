"""Redirects the requests of a program to the simulated cloud, if this folder is on its ``PYTHONPATH``.

``REDIRECTS`` in the environment is a JSON list of pairs: the beginning of an address, and what replaces it. It is replaced in
addresses, parameters, headers and forms, before cookies are looked up.
"""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import quote

import requests

_PAIRS = json.loads(os.environ.get("REDIRECTS", "[]"))
_prepare = requests.Session.prepare_request


def _replaced(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _replaced(each) for name, each in value.items()}
    if not isinstance(value, str):
        return value
    for old, new in _PAIRS:
        if value == old.rstrip("/"):  # a header has an address without its last slash
            return new.rstrip("/")
        value = value.replace(old, new).replace(quote(old, safe=""), quote(new, safe=""))
    return value


def _redirected(session: requests.Session, request: requests.Request) -> requests.PreparedRequest:
    for part in ("url", "params", "headers", "data"):
        setattr(request, part, _replaced(getattr(request, part)))
    return _prepare(session, request)


requests.Session.prepare_request = _redirected  # type: ignore[method-assign]
