"""The pump's settings: written when they change."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import msgspec
import pytest

from tests.tandem.fake_cloud import ASSIGNMENT, TandemHarness

SETTINGS: dict[str, Any] = {
    "id": "b7f931c8",
    "deviceAssignmentId": ASSIGNMENT,
    "uploadedTimeStamp": "2026-09-10T21:07:43.497",
    "settingsHash": "29EDDA8E7A72C1AD060271268CC7AE81FAD54B9D",
    "uploadId": "5da6a0ca-86c3-440f-9462-fa53168dcb9d",
    "details": {"profiles": {"activeIdp": 0, "profile": [{"name": "A"}]}, "firstName": "Ada"},
}


def test_settings_written_on_change(harness: TandemHarness) -> None:
    """Settings are written when their hash changes, and without names."""
    pump = harness.cloud.pumps[0]
    pump.settings = SETTINGS
    harness.poll()
    harness.clock.advance(hours=1)
    pump.settings = {**SETTINGS, "uploadId": "another"}
    harness.poll()
    (captured,) = harness.log.of("settings.captured")
    assert captured.body.details == {"profiles": {"activeIdp": 0, "profile": [{"name": "A"}]}}
    assert captured.raw is None
    pump.settings = {**SETTINGS, "settingsHash": "0" * 40}
    harness.poll()
    pump.settings = {**SETTINGS, "uploadId": "third"}
    harness.poll()
    assert [fact.body.settings_hash[:4] for fact in harness.log.of("settings.captured")] == ["29ED", "0000", "29ED"]
    assert "Ada" not in repr(harness.log.events)


@pytest.mark.parametrize(
    ("stamp", "wall"),
    [
        ("2026-11-20T11:50:43.497", datetime(2026, 11, 20, 6, 50, 43, 497_000)),  # UTC: New York is five hours behind
        ("2026-11-20T11:50:43.497Z", datetime(2026, 11, 20, 6, 50, 43, 497_000)),
        ("2026-11-20T06:50:43-05:00", datetime(2026, 11, 20, 6, 50, 43)),
        ("2026-10-25T11:50:43", datetime(2026, 10, 25, 7, 50, 43)),
        ("2026-07-20T11:50:43", datetime(2026, 10, 21)),  # in force when the history begins
        ("2026-11-20T17:00:00", datetime(2026, 11, 20, 7)),  # later than now: never
        ("2031-01-01T00:00:00", datetime(2026, 11, 20, 7)),
        (None, datetime(2026, 11, 20, 6, 55)),  # then the upload's time
        (1795175443, datetime(2026, 11, 20, 6, 55)),
    ],
)
def test_settings_begin(harness: TandemHarness, stamp: Any, wall: datetime) -> None:
    """Settings begin when the account says, and never later than they came."""
    harness.clock.still = True
    harness.cloud.pumps[0].settings = {**SETTINGS, "uploadedTimeStamp": stamp}
    harness.poll()
    (captured,) = harness.log.of("settings.captured")
    assert captured.pump_time == wall


def test_newer_settings_lie_later(harness: TandemHarness) -> None:
    """An earlier release wrote the stamp as it was: hours ahead, west of Greenwich."""
    pump = harness.cloud.pumps[0]
    pump.settings = {**SETTINGS, "uploadedTimeStamp": "2026-11-20T11:50:00"}
    harness.poll()
    harness.log._by_kind["settings.captured", pump.serial][0] = msgspec.structs.replace(
        harness.log.of("settings.captured")[0], pump_time=datetime(2026, 11, 20, 11, 50)
    )
    harness.clock.advance(hours=1)
    pump.settings = {**SETTINGS, "uploadedTimeStamp": "2026-11-20T12:55:00", "settingsHash": "0" * 40, "uploadId": "b"}
    harness.poll(harness.source())
    newest = harness.log.of("settings.captured")[-1]
    assert newest.pump_time == datetime(2026, 11, 20, 11, 50, 0, 1000)


def test_settings_details_as_text(harness: TandemHarness) -> None:
    """Settings whose details are JSON in a text are read."""
    harness.cloud.pumps[0].settings = {**SETTINGS, "details": json.dumps(SETTINGS["details"])}
    harness.poll()
    (captured,) = harness.log.of("settings.captured")
    assert captured.body.details == {"profiles": {"activeIdp": 0, "profile": [{"name": "A"}]}}
