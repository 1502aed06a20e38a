"""How bad the state of a part is for the user: the same for the command line, the page and the notifications."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from tconnectsync.health.states import HealthState
from tconnectsync.text.durations import parse_time

LONG_TROUBLE = timedelta(hours=3)
"""What ends without a command, such as a server that is down, needs the user after this long."""
RETRIED = frozenset({HealthState.WAITING, HealthState.BACKING_OFF})
"""The states that may end without a command."""
WELL = frozenset({HealthState.OK, HealthState.OFF})


class Severity(str, Enum):
    """What a state means for the user."""

    OFF = "off"
    OK = "ok"
    WAIT = "wait"
    """It may end without a command."""
    BAD = "bad"
    """It needs the user."""

    def __str__(self) -> str:
        return self.value


def severity(part: Mapping[str, Any], now: datetime) -> Severity:
    """Judge a part of ``status --json`` by its ``state`` and ``since``. A state of another release is BAD."""
    state = part.get("state", HealthState.OK)
    if state in WELL:
        return Severity.OK if state == HealthState.OK else Severity.OFF
    if state not in RETRIED:
        return Severity.BAD
    since = parse_time(part.get("since"))
    return Severity.BAD if since is not None and now - since > LONG_TROUBLE else Severity.WAIT
