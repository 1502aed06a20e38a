"""Responses of the simulated Nightscout that follow from the request and the rules alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tests.support.simulated_nightscout import values
from tests.support.simulated_nightscout.server import SiteRequest, SiteResponse, as_json, page
from tests.support.simulated_nightscout.store import Collection
from tests.support.simulated_nightscout.values import Body


def status_body(version: str, now: datetime, *, units: str, careportal: bool) -> Body:
    """The contents of ``status.json``."""
    enabled = [*(["careportal"] if careportal else []), "iob", "cob", "pump", "basal", "bolus", "cage", "sage"]
    return {
        "status": "ok",
        "name": "nightscout",
        "version": version,
        "serverTime": values.iso(now),
        "serverTimeEpoch": int(now.timestamp() * 1000),
        "apiEnabled": True,
        "careportalEnabled": careportal,
        "settings": {"units": units, "enable": enabled},
    }


def removed(collection: Collection, find: Mapping[str, Any], request: SiteRequest, *, modern: bool) -> SiteResponse:
    """Remove what ``find`` matches, and answer as the site does."""
    if collection.name in {"activity", "profile"}:
        if "_id" not in find:
            return unknown_route(request)
        collection.remove(find)
        return as_json({})
    gone = collection.remove(find)
    return as_json({"acknowledged": True, "deletedCount": gone} if modern else {"n": gone, "ok": 1})


def page_size(query: Mapping[str, Any], collection: str, *, modern: bool) -> int | None:
    """How many documents a read returns; None: all."""
    text = str(query.get("count", ""))
    if text:
        return int(text) if text.isdigit() and int(text) else None
    if collection in {"devicestatus", "entries"}:
        return 10
    if collection == "treatments" and modern:
        return 1000 if "find" in query else 100
    return None


def shown(collection: str, documents: Sequence[Body]) -> list[Body]:
    """The documents as a read returns them: treatments always have ``carbs`` and ``insulin``, null if not stored."""
    if collection != "treatments":
        return list(documents)
    return [{**document, "carbs": document.get("carbs"), "insulin": document.get("insulin")} for document in documents]


def unknown_route(request: SiteRequest) -> SiteResponse:
    """Status 404 for an unknown path or method."""
    return page(404, f"Cannot {request.method} {request.path}")


def unauthorized() -> SiteResponse:
    """Status 401."""
    return as_json({"status": 401, "message": "Unauthorized", "description": "Invalid/Missing"}, status=401)


def mongo_error(description: str, *, status: int = 500) -> SiteResponse:
    """The response to a failed write."""
    return as_json({"status": status, "message": "Mongo Error", "description": description}, status=status)
