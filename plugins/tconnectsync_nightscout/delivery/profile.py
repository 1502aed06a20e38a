"""Profiles: read the site's profile store, put the pump's profiles into it, and write only if it changes.

A site shows the newest profile document, which holds all profiles by name. Writing a document without the other
profiles would delete them for the user. A site also breaks under thousands of profile documents, so there is at most
one per change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from tconnectsync import Accepted, GlucoseUnits, Outcome
from tconnectsync_nightscout.api.client import NightscoutClient
from tconnectsync_nightscout.api.document_format import Task, created_at_text, moment_of, stored_text
from tconnectsync_nightscout.api.glucose_units import is_mmol

COLLECTION = "profile"
ADD, REPLACE = "add", "replace"
_SECOND = timedelta(seconds=1)
_IN_UNITS = ("sens", "target_low", "target_high")


class ProfilePlan(msgspec.Struct, frozen=True, kw_only=True):
    """The write to do: ``document`` (None: no change), which replaces another document or is added."""

    document: Mapping[str, Any] | None = None
    replaces: bool = False


def deliver_profiles(client: NightscoutClient, tasks: Sequence[Task], *, mode: str) -> dict[str, Outcome]:
    """Deliver the tasks; one outcome per document id.

    Nothing is deleted: without a profile a site shows no basal and no carbs.
    """
    outcomes: dict[str, Outcome] = {}
    for task in tasks:
        if task.body is None or task.key is None:
            outcomes[task.id] = Accepted(receiver_key="")
            continue
        plan = plan_profile(client.read_current_profile(), task.body, mode=mode, units=client.status().units or "mg/dl")
        if plan.document is not None and plan.replaces:
            client.replace(COLLECTION, plan.document)
        elif plan.document is not None:
            client.create(COLLECTION, [plan.document])
        outcomes[task.id] = Accepted(receiver_key=stored_text(task.key))
    return outcomes


def plan_profile(current: Mapping[str, Any] | None, body: Mapping[str, Any], *, mode: str, units: str) -> ProfilePlan:
    """Plan the write after which the site, which holds ``current``, shows the profiles of ``body`` in its ``units``."""
    held = current or {}
    store = _store(held)
    ours = {name: _in_units(profile, units) for name, profile in body["store"].items()}
    stale = set(_mapping(held.get("pump")).get("profiles") or ()) - ours.keys()
    wanted = {name: profile for name, profile in store.items() if name not in stale} | ours
    if store == wanted and held.get("defaultProfile") == body["defaultProfile"]:
        return ProfilePlan()
    began = body["created_at"]
    known, fresh = moment_of(held.get("startDate")), moment_of(began)
    if known is not None and fresh is not None and known >= fresh:
        # the site shows the newest one, so a later change made by hand must not hide the pump's profiles
        began = created_at_text(known.replace(microsecond=0) + _SECOND)
    document = {
        **{name: value for name, value in body.items() if name not in ("store", "created_at")},
        "store": wanted,
        "startDate": began,
        "units": "mmol" if is_mmol(units) else "mg/dl",
        "pump": {**_mapping(body.get("pump")), "profiles": sorted(ours)},
    }
    if mode == REPLACE and held.get("_id"):
        return ProfilePlan(document={**held, **document}, replaces=True)
    return ProfilePlan(document=document)


def _store(held: Mapping[str, Any]) -> dict[str, Any]:
    return dict(_mapping(held.get("store")))


def _in_units(profile: Mapping[str, Any], units: str) -> dict[str, Any]:
    """Convert a profile in mg/dL to the units in which the site stores glucose."""
    if not is_mmol(units):
        return dict(profile)
    rows = {
        name: [{**row, "value": GlucoseUnits.MMOL_L.text(float(row["value"]))} for row in profile[name]]
        for name in _IN_UNITS
    }
    return {**profile, **rows, "units": "mmol"}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
