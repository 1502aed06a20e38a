"""What passes through the fault proxy, and what it makes of an answer."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import random
from collections.abc import Mapping
from typing import Any

import attrs

_PAGE = "<html><head><title>{0}</title></head><body>{0}</body></html>"


@attrs.frozen(kw_only=True)
class ProxiedRequest:
    """A request as it came, before anything went wrong. ``fault`` is the kind that then happened, empty for none."""

    method: str
    target: str
    """Path and query."""

    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    fault: str = ""

    @property
    def path(self) -> str:
        """Without the query."""
        return self.target.partition("?")[0]


@attrs.frozen(kw_only=True)
class Reply:
    """What goes back. ``half``: the connection ends in the middle of the body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    half: bool = False


def text_reply(body: bytes) -> Reply:
    """200 with this JSON text."""
    return Reply(status=200, headers=(("Content-Type", "application/json"),), body=body)


def page(status: int, title: str, *headers: tuple[str, str]) -> Reply:
    """A web page."""
    body = _PAGE.format(title).encode()
    return Reply(status=status, headers=(("Content-Type", "text/html; charset=utf-8"), *headers), body=body)


def documents_of(asked: ProxiedRequest) -> list[Any]:
    """What a POST carries in a list; nothing for any other request."""
    if asked.method != "POST":
        return []
    with contextlib.suppress(ValueError, OSError, EOFError):
        raw = gzip.decompress(asked.body) if asked.headers.get("content-encoding") == "gzip" else asked.body
        found = json.loads(raw)
        if isinstance(found, list) and all(isinstance(item, dict) for item in found):
            return found
    return []


def claiming(reply: Reply, document: Mapping[str, Any], at: int) -> Reply:
    """An answer that names this document among those that were stored, which it was not."""
    stored = json.loads(reply.body)
    if not isinstance(stored, list):
        return reply
    made_up = hashlib.sha1(json.dumps(document).encode(), usedforsecurity=False).hexdigest()[:24]
    return _with(reply, [*stored[:at], {**document, "_id": made_up}, *stored[at:]])


def reordered(reply: Reply, rng: random.Random) -> Reply:
    """The same JSON with keys at every depth, and the items of the outer lists, in another order."""
    with contextlib.suppress(ValueError):
        return _with(reply, _shuffled(json.loads(reply.body), rng, 0))
    return reply


def echoed(reply: Reply) -> Reply:
    """Every item of the outer lists twice."""
    with contextlib.suppress(ValueError):
        found = json.loads(reply.body)
        if isinstance(found, dict):
            return _with(reply, {key: _doubled(item) for key, item in found.items()})
        return _with(reply, _doubled(found))
    return reply


def _with(reply: Reply, value: Any) -> Reply:
    return attrs.evolve(reply, body=json.dumps(value).encode())


def _doubled(value: Any) -> Any:
    return [item for item in value for _ in range(2)] if isinstance(value, list) else value


def _shuffled(value: Any, rng: random.Random, depth: int) -> Any:
    if isinstance(value, dict):
        pairs = [(key, _shuffled(item, rng, depth + 1)) for key, item in value.items()]
        rng.shuffle(pairs)
        return dict(pairs)
    if isinstance(value, list):
        items = [_shuffled(item, rng, depth + 2) for item in value]
        if depth < 2:  # deeper ones may mean something by their order
            rng.shuffle(items)
        return items
    return value
