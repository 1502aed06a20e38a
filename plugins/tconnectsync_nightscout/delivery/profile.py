"""Profiles: the site's store is read, the pump's profiles are put into it, and only a difference is written.

A site shows the newest profile document, which holds all profiles by name; whoever adds one without the others takes them from
the wearer. And a site breaks under thousands of profile documents, so that there is at most one for each change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import attrs

from tconnectsync import Accepted, Outcome
from tconnectsync_nightscout.site.client import NightscoutClient
from tconnectsync_nightscout.site.glucose_units import MG_DL_PER_MMOL_L, is_mmol
from tconnectsync_nightscout.site.wire import Task, created_at_text, moment_of, stored_text

COLLECTION = "profile"
ADD, REPLACE = "add", "replace"
_SECOND = timedelta(seconds=1)
_IN_UNITS = ("sens", "target_low", "target_high")


@attrs.frozen(kw_only=True)
class Plan:
    """What is to be written: ``document`` (None: nothing, the site says the same), in the place of another or added."""

    document: Mapping[str, Any] | None = None
    replaces: bool = False


def deliver_profiles(client: NightscoutClient, tasks: Sequence[Task], *, mode: str) -> dict[str, Outcome]:
    """Do these; one outcome per document id. What is to go stays: without a profile a site shows no basal and no carbs."""
    outcomes: dict[str, Outcome] = {}
    for task in tasks:
        if task.body is None or task.key is None:
            outcomes[task.id] = Accepted(receiver_key="")
            continue
        plan = planned(client.read_current_profile(), task.body, mode=mode, units=client.status().units or "mg/dl")
        if plan.document is not None and plan.replaces:
            client.replace(COLLECTION, plan.document)
        elif plan.document is not None:
            client.create(COLLECTION, [plan.document])
        outcomes[task.id] = Accepted(receiver_key=stored_text(task.key))
    return outcomes


def planned(current: Mapping[str, Any] | None, body: Mapping[str, Any], *, mode: str, units: str) -> Plan:
    """What has to be written so that the site, which holds ``current``, shows the profiles of ``body`` in its ``units``."""
    held = current or {}
    store = _store(held)
    ours = {name: _in_units(profile, units) for name, profile in body["store"].items()}
    stale = set(_mapping(held.get("pump")).get("profiles") or ()) - ours.keys()
    wanted = {name: profile for name, profile in store.items() if name not in stale} | ours
    if store == wanted and held.get("defaultProfile") == body["defaultProfile"]:
        return Plan()
    began = body["created_at"]
    known, fresh = moment_of(held.get("startDate")), moment_of(began)
    if known is not None and fresh is not None and known >= fresh:
        # the newest one is shown: a change that was made by hand since then must not hide the pump's
        began = created_at_text(known.replace(microsecond=0) + _SECOND)
    document = {
        **{name: value for name, value in body.items() if name not in ("store", "created_at")},
        "store": wanted,
        "startDate": began,
        "units": "mmol" if is_mmol(units) else "mg/dl",
        "pump": {**_mapping(body.get("pump")), "profiles": sorted(ours)},
    }
    if mode == REPLACE and held.get("_id"):
        return Plan(document={**held, **document}, replaces=True)
    return Plan(document=document)


def _store(held: Mapping[str, Any]) -> dict[str, Any]:
    return dict(_mapping(held.get("store")))


def _in_units(profile: Mapping[str, Any], units: str) -> dict[str, Any]:
    """A profile in mg/dL as the site writes its glucose values."""
    if not is_mmol(units):
        return dict(profile)
    rows = {
        name: [{**row, "value": f"{float(row['value']) / MG_DL_PER_MMOL_L:.1f}"} for row in profile[name]]
        for name in _IN_UNITS
    }
    return {**profile, **rows, "units": "mmol"}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
