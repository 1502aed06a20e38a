"""How bad a state is for the user."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from tconnectsync.health.severity import Severity, severity
from tconnectsync.health.states import HealthState

NOW = datetime(2026, 11, 29, 3, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("state", "hours", "expected"),
    [
        ("ok", 10, Severity.OK),
        ("off", 10, Severity.OFF),
        ("waiting", 2, Severity.WAIT),
        ("waiting", 4, Severity.BAD),
        ("backing_off", 2, Severity.WAIT),
        ("backing_off", 4, Severity.BAD),
        ("backing_off", None, Severity.WAIT),
        *((state, 0, Severity.BAD) for state in ("refused", "changed", "halted", "braked", "damaged", "of a later release")),
    ],
)  # fmt: skip
def test_by_state_and_length(state: str, hours: int | None, expected: Severity) -> None:
    since = None if hours is None else (NOW - timedelta(hours=hours)).isoformat()
    assert severity({"state": state, "since": since}, NOW) is expected


def test_every_state_is_judged() -> None:
    assert {severity({"state": state.value}, NOW) for state in HealthState} == set(Severity)
