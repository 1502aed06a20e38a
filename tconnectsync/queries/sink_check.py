"""``check``: whether a sink has stopped. A stopped sink stays stopped even if its site answers again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tconnectsync.health.states import HealthState
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.stored_values import HEALTH
from tconnectsync.plugin.receiver import CheckResult
from tconnectsync.runtime.data_dir import outbox_path
from tconnectsync.text.plural import counted

STOPPED = {
    HealthState.HALTED: "has stopped",
    HealthState.BRAKED: "is paused until you confirm",
    HealthState.REFUSED: "has stopped because its login or secret was refused",
    HealthState.DAMAGED: "needs a repair",
}


def sink_findings(data_dir: Path, name: str) -> Iterator[CheckResult]:
    """Yield a result if the sink has stopped; nothing if it delivers or has not run yet."""
    path = outbox_path(data_dir, name)
    if not path.exists():
        return
    try:
        with closing(Outbox(path, writable=False)) as outbox:
            health, waiting = outbox.values.get(HEALTH), outbox.dead_letters.counts().pending
    except sqlite3.Error:
        return  # `status` reports it, with the remedy
    words = STOPPED.get(health.state)
    if words is not None:
        documents = f"; waiting: {counted(waiting, 'document')}" if waiting else ""
        what = f"{name}: {words}{documents}: {health.message}"
        yield CheckResult(good=False, what=what, remedy=health.remedy or f"`tconnectsync resume {name}` tries again.")
