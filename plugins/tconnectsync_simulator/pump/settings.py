"""The pump's settings, in the format of the ``pumper`` response."""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any

from tconnectsync_simulator.pump.control_loop import Segments
from tconnectsync_simulator.pump.plan import SimulationPlan

SETTINGS_SPACE = uuid.UUID("7e3a9e0c-6d52-4a7e-9d39-6a5a7c1f0d11")

PROFILES: tuple[tuple[int, str, Segments], ...] = (
    (0, "Weekday", ((0, 800), (240, 950), (480, 1000), (720, 850), (1080, 900))),
    (1, "Weekend", ((0, 750), (300, 900), (600, 925), (1200, 850))),
)


def stable_uuid(plan: SimulationPlan, what: str) -> str:
    """Return a UUID that is always the same for one pump and purpose."""
    return str(uuid.uuid5(SETTINGS_SPACE, f"{plan.serial}/{what}"))


def settings_details(active: int) -> dict[str, Any]:
    """``settings.details`` with one of the two profiles active."""
    profiles = [
        {
            "idp": idp,
            "timeDependentSegmentNumber": len(segments),
            "name": name,
            "carbEntry": "UnitsAsCarbs",
            "maxBolus": 25000,
            "insulinDuration": 300,
            "timeDependentSegments": [
                {
                    "startTime": start,
                    "basalRate": rate,
                    "carbRatio": 8000,
                    "targetBg": 110,
                    "isf": 40,
                    "status": ["BasalRateAvailability"],
                }
                for start, rate in segments
            ],
        }
        for idp, name, segments in PROFILES
    ]
    return {
        "profiles": {
            "numberOfProfiles": len(profiles),
            "activeSegment": 0,
            "activeIdp": active,
            "profile": profiles,
        },
        "cgmSettings": {
            "highGlucoseAlertMgPerDl": 200,
            "highGlucoseAlertEnabled": True,
            "lowGlucoseAlertMgPerDl": 80,
            "lowGlucoseAlertEnabled": True,
            "riseRateAlertLevel": 3,
        },
        "basalLimitSettings": {"basalLimitDefault": 5000, "basalLimit": 5000},
        "controlIqSettings": {"weight": 140, "closedLoop": True},
        "globalMaxBolusSettings": {"maxBolus": 25000, "maxBolusDefault": 25000},
    }


def settings_envelope(plan: SimulationPlan, assignment_id: str, active: int, uploaded_text: str) -> dict[str, Any]:
    """Return ``settings``; ``uploaded_text``: the upload's time in its format (naive, milliseconds)."""
    details = settings_details(active)
    digest = hashlib.sha1(json.dumps(details, sort_keys=True).encode(), usedforsecurity=False).hexdigest().upper()
    return {
        "id": stable_uuid(plan, f"settings/{digest}"),
        "deviceAssignmentId": assignment_id,
        "uploadedTimeStamp": uploaded_text,
        "settingsHash": digest,
        "uploadId": stable_uuid(plan, f"upload/{uploaded_text}"),
        "details": details,
    }
