"""``check``: how each sink stood at its last delivery. A site that answers again does not start one that has stopped."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from tconnectsync.outbox import Outbox
from tconnectsync.plugin.receiver import CheckResult
from tconnectsync.retry.health import HealthState, health_from_json
from tconnectsync.text.plural import counted

STOPPED = {
    HealthState.HALTED: "has stopped itself",
    HealthState.BRAKED: "is paused until you say so",
    HealthState.REFUSED: "has stopped because its credentials were refused",
    HealthState.DAMAGED: "needs a repair",
}


def sink_findings(data_dir: Path, name: str) -> Iterator[CheckResult]:
    """A finding if the sink has stopped; nothing if it delivers, or has not run yet."""
    path = data_dir / "outbox" / f"{name}.sqlite"
    if not path.exists():
        return
    try:
        outbox = Outbox(path, writable=False)
        try:
            condition, waiting = health_from_json(outbox.get("condition", "{}")), outbox.counts().pending
        finally:
            outbox.close()
    except sqlite3.Error:
        return  # `status` names it, with the remedy
    words = STOPPED.get(condition.state)
    if words is not None:
        documents = f"; waiting: {counted(waiting, 'document')}" if waiting else ""
        what = f"{name}: {words}{documents}: {condition.message}"
        yield CheckResult(
            good=False, what=what, remedy=condition.remedy or f"`tconnectsync resume {name}` tries again."
        )
