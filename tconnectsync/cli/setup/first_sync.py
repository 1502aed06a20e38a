"""Waits until the daemon has fetched and delivered everything for the first time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from enum import Enum
from typing import Any

from tconnectsync.cli.progress import ProgressLine
from tconnectsync.clock import Clock
from tconnectsync.health.severity import RETRIED, WELL
from tconnectsync.text.plural import counted

LOOK_EVERY_S = 1.0


class SyncState(Enum):
    """How far the first sync is."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    """Some part stopped; ``status`` says why and what to do."""
    ENDED = "ended"
    """The daemon does not run any more."""


def sync_state(status: Mapping[str, Any]) -> SyncState:
    """Judge what ``status --json`` prints."""
    sources = [part for part in status["sources"].values() if part["state"] != "off"]
    sinks = [part for part in status["sinks"].values() if part["state"] != "off"]
    if any(part["state"] not in WELL | RETRIED for part in (*sources, *sinks)):
        return SyncState.STOPPED
    read = all(part["last_fetch"] for part in sources)
    delivered = all(part["state"] == "ok" and not part["behind"] and not part["pending"] for part in sinks)
    return SyncState.DONE if read and delivered else SyncState.RUNNING


def wait_for_sync(
    read_status: Callable[[], Mapping[str, Any]], clock: Clock, *, limit: timedelta, alive: Callable[[], bool]
) -> SyncState:
    """Wait until the first sync is done or stopped, the daemon is not ``alive``, or ``limit`` is over. Shows the progress."""
    end, most = clock.monotonic() + limit.total_seconds(), 0
    with ProgressLine(stream=sys.stderr) as line:
        while True:
            begin = clock.monotonic()
            status = read_status()
            took_s = clock.monotonic() - begin
            state = sync_state(status)
            if state is not SyncState.RUNNING:
                return state
            if not alive():
                return SyncState.ENDED
            if clock.monotonic() >= end:
                return SyncState.RUNNING
            waiting = sum(int(sink["pending"]) for sink in status["sinks"].values())
            most = max(most, waiting)
            line.show(", ".join(_progress(status, waiting)), most - waiting, most)
            clock.sleep(max(LOOK_EVERY_S, 4 * took_s))  # on a small computer, leave the time to the daemon


def _progress(status: Mapping[str, Any], waiting: int) -> Iterator[str]:
    yield f"First sync: {counted(int(status['log']['positions']), 'record')} fetched"
    if waiting:
        yield f"{counted(waiting, 'document')} to send"
