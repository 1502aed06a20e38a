from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tconnectsync import Document, Event, events
from tconnectsync_nightscout.folds.profiles import ProfilesFold
from tests.nightscout.fold_harness import event, keep_laws

DETAILS: dict[str, Any] = {
    "profiles": {
        "activeIdp": 1,
        "profile": [
            {
                "idp": 0,
                "name": "Weekday",
                "insulinDuration": 300,
                "timeDependentSegments": [
                    {"startTime": 0, "basalRate": 800, "carbRatio": 8000, "targetBg": 110, "isf": 40},
                    {"startTime": 390, "basalRate": 955, "carbRatio": 7500, "targetBg": 100, "isf": 35},
                    {"startTime": 0, "basalRate": 0, "carbRatio": 0, "targetBg": 0, "isf": 0},
                ],
            },
            {
                "idp": 1,
                "name": "Weekend",
                "insulinDuration": 310,
                "timeDependentSegments": [
                    {"startTime": 0, "basalRate": 750, "carbRatio": 9000, "targetBg": 110, "isf": 45}
                ],
            },
        ],
    },
    "cgmSettings": {
        "lowGlucoseAlertMgPerDl": 80,
        "lowGlucoseAlertEnabled": True,
        "highGlucoseAlertMgPerDl": 200,
        "highGlucoseAlertEnabled": True,
    },
}


def captured(details: Any, seconds: float = 0) -> Event:
    made = event(events.SettingsCaptured(settings_hash="A1", details=details), seconds, None)
    return msgspec.structs.replace(made, id=f"tandem:90556643:settings:{seconds}")


def run(*world: Event) -> list[Document]:
    return keep_laws(ProfilesFold(zone="Europe/Berlin"), world, range(len(world)))


def test_profiles_one_store() -> None:
    """The pump's profiles are one store."""
    (document,) = run(captured(DETAILS))
    assert document.collection == "profile"
    assert document.content["defaultProfile"] == "Weekend"
    weekday = document.content["store"]["Weekday"]
    assert weekday["basal"] == [
        {"time": "00:00", "value": "0.8", "timeAsSeconds": "0"},
        {"time": "06:30", "value": "0.955", "timeAsSeconds": "23400"},
    ]
    assert [row["value"] for row in weekday["carbratio"]] == ["8", "7.5"]
    assert [row["value"] for row in weekday["sens"]] == ["40", "35"]
    assert weekday["target_low"] == [{"time": "00:00", "value": "80", "timeAsSeconds": "0"}]
    assert weekday["target_high"] == [{"time": "00:00", "value": "200", "timeAsSeconds": "0"}]
    assert (weekday["dia"], weekday["timezone"], weekday["units"]) == ("5", "Europe/Berlin", "mg/dl")
    assert document.content["store"]["Weekend"]["dia"] == "5.167"


def test_profiles_newest_settings() -> None:
    """The newest settings count."""
    newer = copy.deepcopy(DETAILS)
    newer["profiles"]["activeIdp"] = 0
    (document,) = run(captured(DETAILS), captured(newer, 3600))
    assert document.content["defaultProfile"] == "Weekday"


def test_profiles_older_segment_name() -> None:
    """Segments under their older name are understood."""
    older = copy.deepcopy(DETAILS)
    for profile in older["profiles"]["profile"]:
        profile["tDependentSegs"] = profile.pop("timeDependentSegments")
    assert run(captured(older))[0].content["store"] == run(captured(DETAILS))[0].content["store"]


def test_profiles_target_without_alerts() -> None:
    """Without alerts the pump's target is both ends of the range."""
    off = copy.deepcopy(DETAILS)
    off["cgmSettings"]["lowGlucoseAlertEnabled"] = False
    weekday = run(captured(off))[0].content["store"]["Weekday"]
    assert (
        [row["value"] for row in weekday["target_low"]]
        == ["110", "100"]
        == [row["value"] for row in weekday["target_high"]]
    )


def _first(details: dict[str, Any]) -> Any:
    return details["profiles"]["profile"][1]["timeDependentSegments"][0]


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda d: d.pop("profiles"), "active"),
        (lambda d: d["profiles"].update(profile=None), "active"),
        (lambda d: d["profiles"].update(activeIdp=7), "active"),
        (lambda d: _first(d).update(startTime=60), "00:00"),
        (lambda d: _first(d).update(basalRate=0), "basalRate"),
        (lambda d: _first(d).update(basalRate=15_001), "basalRate"),
        (lambda d: _first(d).update(carbRatio=None), "carbRatio"),
        (lambda d: _first(d).update(isf="40"), "isf"),
        (lambda d: _first(d).update(targetBg=True), "targetBg"),
        (lambda d: d["profiles"]["profile"][1].update(insulinDuration=0), "insulinDuration"),
        (lambda d: d["profiles"]["profile"][1].update(name=" "), "no name"),
        (lambda d: d["profiles"]["profile"][1].update(name="Weekday"), "called"),
    ],
)
def test_profiles_unsafe(harm: Callable[[dict[str, Any]], object], reason: str) -> None:
    """A profile that could make wrong doses is set aside with the reason."""
    corrupted = copy.deepcopy(DETAILS)
    harm(corrupted)
    (document,) = run(captured(corrupted))
    assert document.problem is not None
    assert reason in document.problem


def test_profiles_of_active_pump_only() -> None:
    """Only the active pump's profiles count."""
    assert run(captured(DETAILS), event(events.WearEnded(), 60, None)) == []
