"""Workers of a fleet that are killed (SIGKILL) at a named point of their work. Nothing in the product knows of this.

The workers are forked from a process that has the product loaded, because a start takes half a second.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.e2e.kill_points import KillPoint, arm

STOP, SNAPSHOT, EMPTY, OFTEN = "a stop in order", "a snapshot", "an empty disk", "snapshots of people who stay"
"""What must happen first, so that a point is reached."""

_REPLICA = "tconnectsync_fleet.stream_replica:StreamReplica"
_SENDER = "tconnectsync.outbox.sender:Sender"
_SNAPSHOTS = "tconnectsync_fleet.snapshots"
_DOUBT = "tconnectsync.outbox.older_copy:mark_older"
_PUBLISH = "nats.js.client:JetStreamContext.publish"
_WRITE = "tconnectsync.filesystem:OsAppendFile.write"
_COPY = "tconnectsync.eventlog.replica:_copy"


def _about(subject: str) -> Any:
    return lambda _js, name, *_: bool(name.startswith(subject))


def _has_lines(_replica: Any, payload: bytes, *_: Any) -> bool:
    return payload != b""


POINTS: Mapping[str, KillPoint] = {
    # appends and deliveries
    "in the local log, not published": KillPoint(f"{_REPLICA}.append", "before"),
    "published, answer not heard": KillPoint(f"{_REPLICA}._publish", "after", _has_lines),
    "in both logs, not folded": KillPoint(f"{_REPLICA}.append", "after"),
    "in doubt, not delivered": KillPoint(
        "tconnectsync.outbox:Outbox.transaction", "committed", caller=f"{_SENDER}.begin"
    ),
    "delivered, outbox not committed": KillPoint(f"{_SENDER}._record_outcomes", "before"),
    # a person is taken over
    "outboxes of another claim deleted": KillPoint(f"{_SNAPSHOTS}:clear", "after"),
    "snapshot half restored": KillPoint(
        "pathlib:Path.write_bytes", "after", caller=f"{_SNAPSHOTS}:_extract", first=SNAPSHOT
    ),
    "snapshot restored": KillPoint(f"{_SNAPSHOTS}:restore_snapshot", "after", first=SNAPSHOT),
    "about to claim": KillPoint(f"{_REPLICA}.claim", "before"),
    "claimed, not written down": KillPoint(f"{_REPLICA}.claim", "after"),
    "half a batch copied": KillPoint(_WRITE, "half", caller=_COPY, first=EMPTY),
    "a batch copied": KillPoint(_WRITE, "after", caller=_COPY, first=EMPTY),
    # a snapshot of a person who stays, and who is taken over with it
    "snapshot stored, not named": KillPoint(f"{_REPLICA}.name_snapshot", "before", first=OFTEN),
    "snapshot named": KillPoint(f"{_REPLICA}.name_snapshot", "after", first=OFTEN),
    "older outboxes restored, not doubted": KillPoint(_DOUBT, "before", first=EMPTY),
    "older outboxes doubted": KillPoint(_DOUBT, "after", first=EMPTY),
    # a person is given back
    "about to store a snapshot": KillPoint(f"{_SNAPSHOTS}:store_snapshot", "before", first=STOP),
    "snapshot without its description": KillPoint(_PUBLISH, "before", _about("$O.snapshots.M."), first=STOP),
    "snapshot stored, not released": KillPoint(f"{_REPLICA}.release", "before", first=STOP),
    "released": KillPoint(f"{_REPLICA}.release", "after", first=STOP),
    "everybody released, lease not ended": KillPoint("tconnectsync_fleet.lease:WorkerLease.end", "before", first=STOP),
}


def _work(point: str | None, words: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.clear()
    os.environ.update(environ)
    if point is not None:
        arm(POINTS[point], 1)
    from tconnectsync.cli.root import run

    sys.exit(run(list(words)))


def start(point: str | None, words: Sequence[str], environ: Mapping[str, str], log: Path) -> BaseProcess:
    """Start a worker that dies at a point; None: it does not."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(
        ["tconnectsync_fleet.worker", "tconnectsync.daemon.execute", "tests.fleet.kill_points"]
    )
    process = processes.Process(target=_work, args=(point, tuple(words), dict(environ), log), daemon=True)
    process.start()
    return process
