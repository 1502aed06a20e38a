"""``check``: whether a sink has stopped. A stopped sink stays stopped even if its site answers again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from tconnectsync.outbox import Outbox
from tconnectsync.outbox.facts import HEALTH
from tconnectsync.plugin.receiver import CheckResult
from tconnectsync.retry.health import HealthState
from tconnectsync.text.plural import counted

STOPPED = {
    HealthState.HALTED: "has stopped",
    HealthState.BRAKED: "is paused until you confirm",
    HealthState.REFUSED: "has stopped because its login or secret was refused",
    HealthState.DAMAGED: "needs a repair",
}


def sink_findings(data_dir: Path, name: str) -> Iterator[CheckResult]:
    """Yield a result if the sink has stopped; nothing if it delivers or has not run yet."""
    path = data_dir / "outbox" / f"{name}.sqlite"
    if not path.exists():
        return
    try:
        outbox = Outbox(path, writable=False)
        try:
            condition, waiting = outbox.facts.get(HEALTH), outbox.dead_letters.counts().pending
        finally:
            outbox.close()
    except sqlite3.Error:
        return  # `status` reports it, with the remedy
    words = STOPPED.get(condition.state)
    if words is not None:
        documents = f"; waiting: {counted(waiting, 'document')}" if waiting else ""
        what = f"{name}: {words}{documents}: {condition.message}"
        yield CheckResult(
            good=False, what=what, remedy=condition.remedy or f"`tconnectsync resume {name}` tries again."
        )
