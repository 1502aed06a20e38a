"""Extract a site's own error text for a message: short, on one line, and without secrets and data."""

from __future__ import annotations

import json
import re

from tconnectsync import HttpResponse

LONGEST = 200
_LOOKED_AT = 1 << 16
_NAMES = ("message", "description", "error", "detail", "title")
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_SECRETS = re.compile(r"[0-9a-fA-F]{40,}|[\w.]+-[0-9a-f]{16}\b|\beyJ[\w.-]{20,}")
"""A SHA-1, an access token, a JWT: an error page may repeat the request."""
_QUOTED = re.compile(r"\{.*")
"""A database may repeat the document that it refuses: insulin, the pump's serial number."""


def error_text(answer: HttpResponse) -> str:
    """Return at most :data:`LONGEST` characters of the response's text; "" if it has none."""
    text = bytes(answer.body[:_LOOKED_AT]).decode("utf-8", "replace")
    kind = answer.headers.get("Content-Type", "").lower()
    if "html" in kind or text.lstrip()[:1] == "<":
        from html import unescape  # a third of a megabyte, for error pages only

        title = _TITLE.search(text)
        found = unescape(title[1]) if title else ""
    else:
        found = _of_json(text) if text.lstrip()[:1] in {"{", "["} else text
    one_line = " ".join("".join(each if each.isprintable() else " " for each in found).split())
    return _SECRETS.sub("…", _QUOTED.sub("{…}", one_line))[:LONGEST].strip()


def _of_json(text: str) -> str:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    if isinstance(found, dict):
        inner = found.get("error")
        fields = {**found, **inner} if isinstance(inner, dict) else found
        parts = [fields[name] for name in _NAMES if isinstance(fields.get(name), str)]
        return ": ".join(dict.fromkeys(part.strip() for part in parts if part.strip()))
    return ""
