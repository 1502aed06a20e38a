"""The pump's profiles (``settings.captured``) as Nightscout's profile store."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from tconnectsync import Document, Event, document_id, events
from tconnectsync.events.limits import GLUCOSE_MG_DL, MAX_RATE_U_PER_H, is_possible
from tconnectsync.events.source_record import SourceRecord, record_of
from tconnectsync_nightscout.folds.documents import amount, provenance

PROFILE = "profile"
DAY_MIN = 24 * 60
MAX_RATIO_G_PER_U = 300.0
MAX_ISF_MG_DL_PER_U = 600.0
DIA_H = (0.5, 24.0)

Store = dict[str, dict[str, Any]]


class NoProfileError(ValueError):
    """Settings without a complete profile; the text has the reason."""


@attrs.frozen(kw_only=True)
class ProfilesState:
    """The newest settings, as the JSON of ``{"defaultProfile", "store"}``, or the reason why they are invalid."""

    worn: bool = True
    mark: SourceRecord | None = None
    content: str = ""
    problem: str = ""


@attrs.frozen(kw_only=True)
class ProfilesFold:
    """The newest ``settings.captured`` of the active pump as one document in mg/dL; the receiver converts units.

    ``zone`` is the user's, which Nightscout requires. A profile needs a segment at midnight, and rates and ratios
    above 0; otherwise nothing is written, because an incomplete profile leads to wrong doses.
    """

    zone: str

    name = "profiles"
    version = 1
    kinds = frozenset({"settings.captured", "wear.began", "wear.ended"})
    state_type = ProfilesState

    def initial(self) -> ProfilesState:
        """Worn, and no settings known."""
        return ProfilesState()

    def step(self, state: ProfilesState, event: Event) -> tuple[ProfilesState, Sequence[Document]]:
        """Return the state with the event's settings."""
        body = event.body
        if isinstance(body, events.WearBegan | events.WearEnded):
            return attrs.evolve(state, worn=isinstance(body, events.WearBegan)), ()
        record = record_of(event)
        try:
            content = profiles_of(body.details, self.zone)
        except NoProfileError as error:
            return attrs.evolve(state, mark=record, content="", problem=str(error)), ()
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return attrs.evolve(state, mark=record, content=text, problem=""), ()

    def running(self, state: ProfilesState) -> Sequence[Document]:
        """The profiles, while this pump is active."""
        record = state.mark
        if record is None or not state.worn:
            return ()
        content = json.loads(state.content) if state.content else {"notes": state.problem}
        document = Document(
            id=document_id("site", "profiles"),
            collection=PROFILE,
            at=record.at.replace(microsecond=0),
            content={**content, "pump": provenance(record.pump, [record.name])},
            problem=f"the pump's profiles cannot be used: {state.problem}" if state.problem else None,
        )
        return (document,)


def profiles_of(details: Mapping[str, Any], zone: str) -> dict[str, Any]:
    """Return ``{"defaultProfile", "store"}`` of ``settings.details``. Raises NoProfileError."""
    section = _mapping(details.get("profiles"))
    found = section.get("profile")
    low_high = _targets(_mapping(details.get("cgmSettings")))
    store: Store = {}
    active = None
    for profile in map(_mapping, found if isinstance(found, list) else ()):
        name = str(profile.get("name") or "").strip()
        segments = [_mapping(segment) for segment in _segments(profile)]
        segments = [segment for segment in segments if any(segment.get(key) for key in _VALUES)]
        if not segments:
            continue
        if not name or name in store:
            raise NoProfileError(f"two profiles are called {name!r}" if name else "a profile has no name")
        store[name] = _profile(name, profile, segments, low_high, zone)
        if profile.get("idp") == section.get("activeIdp"):
            active = name
    if active is None:
        raise NoProfileError("none of them is the active one")
    return {"defaultProfile": active, "store": store}


_VALUES = ("startTime", "basalRate", "carbRatio", "targetBg", "isf")


def _segments(profile: Mapping[str, Any]) -> Sequence[Any]:
    """The list under its current name, else under the earlier one."""
    found = profile.get("timeDependentSegments", profile.get("tDependentSegs"))
    return found if isinstance(found, list) else ()


def _profile(
    name: str,
    profile: Mapping[str, Any],
    segments: Sequence[Mapping[str, Any]],
    low_high: tuple[float, float] | None,
    zone: str,
) -> dict[str, Any]:
    starts = [_needed(name, "startTime", segment, 0, DAY_MIN - 1) for segment in segments]
    if starts[0] != 0 or starts != sorted(set(starts)):
        raise NoProfileError(f"{name}: its segments do not go from 00:00 on in order")
    dia_h = _needed(name, "insulinDuration", profile, DIA_H[0] * 60, DIA_H[1] * 60) / 60
    rows: dict[str, list[dict[str, str]]] = {}
    for key, source, per, (low, high) in (
        ("basal", "basalRate", 1000, (0.001, MAX_RATE_U_PER_H)),
        ("carbratio", "carbRatio", 1000, (0.001, MAX_RATIO_G_PER_U)),
        ("sens", "isf", 1, (1.0, MAX_ISF_MG_DL_PER_U)),
        ("target", "targetBg", 1, GLUCOSE_MG_DL),
    ):
        values = [_needed(name, source, segment, low * per, high * per) / per for segment in segments]
        rows[key] = [_row(start, value) for start, value in zip(starts, values, strict=True)]
    target = rows.pop("target")
    low_rows, high_rows = (target, target) if low_high is None else ([_row(0, value)] for value in low_high)
    return {
        **rows,
        "target_low": low_rows,
        "target_high": high_rows,
        "dia": amount(dia_h),
        "carbs_hr": "20",
        "delay": "20",
        "timezone": zone,
        "units": "mg/dl",
        "startDate": "1970-01-01T00:00:00.000Z",
    }


def _targets(settings: Mapping[str, Any]) -> tuple[float, float] | None:
    """The user's low and high alert, if both are on and valid."""
    levels = []
    for side in ("low", "high"):
        if settings.get(f"{side}GlucoseAlertEnabled") is False:
            return None
        level = _number(settings.get(f"{side}GlucoseAlertMgPerDl"), *GLUCOSE_MG_DL)
        if level is None:
            return None
        levels.append(level)
    return (levels[0], levels[1]) if levels[0] < levels[1] else None


def _row(start_min: float, value: float) -> dict[str, str]:
    start = int(start_min)
    return {
        "time": f"{start // 60:02d}:{start % 60:02d}",
        "value": amount(value),
        "timeAsSeconds": str(start * 60),
    }


def _needed(profile: str, key: str, values: Mapping[str, Any], low: float, high: float) -> float:
    number = _number(values.get(key), low, high)
    if number is None:
        raise NoProfileError(f"{profile}: {key} is {values.get(key)!r}")
    return number


def _number(value: Any, low: float, high: float) -> float | None:
    """Return a valid number, else None; true and false are not numbers."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not is_possible(value, low, high):
        return None
    return float(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
