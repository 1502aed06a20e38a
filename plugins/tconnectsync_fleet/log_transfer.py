"""Moves one person's event log into the stream, and out of it into a backup file."""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections.abc import Iterable
from pathlib import Path

import attrs

from tconnectsync import LogEnd
from tconnectsync_fleet.lease import live_workers
from tconnectsync_fleet.people import NAME, NotPossible, People, check_name
from tconnectsync_fleet.person_runner import FleetContext, checked_config
from tconnectsync_fleet.sealing import hasher, sealer
from tconnectsync_fleet.servers import Servers
from tconnectsync_fleet.snapshot_plan import NO_SNAPSHOT
from tconnectsync_fleet.snapshots import store_snapshot
from tconnectsync_fleet.status import was_read
from tconnectsync_fleet.stream_replica import StreamReplica

_EXPORT = re.compile(rf"({NAME.pattern})-tconnectsync-\d{{8}}T\d{{6}}Z(-\d+)?\.tar\.gz")
"""The name of a file that :func:`move_out` has chosen in a folder."""


def move_in(
    servers: Servers,
    engine: FleetContext,
    name: str,
    *,
    config: Path,
    source: Path,
    key: Path,
    shared: Iterable[str] = (),
) -> int:
    """Add a person with the log of a data folder or of a backup file. Return the log's last position.

    What was interrupted continues when it is run again: the stream's log may be a beginning of this one. The outboxes of a
    data folder become a snapshot. The person is added last, so no worker begins before.

    Errors: NotPossible, KeyProblem, TconnectsyncError, NatsError, OSError.
    """
    people, box = People(servers), sealer(key)
    exported = _EXPORT.fullmatch(source.name)
    if exported is not None and exported[1] != name:
        raise NotPossible(
            f"{source.name} has the event log of {exported[1]}: with it, {exported[1]}'s doses would go to {name}'s sites. Nothing was"
            f" done. If this is meant, for example to try a restore, copy the file to another file name."
        )
    if people.has(name):
        raise NotPossible(
            f"{name} is in the fleet already. If this is the import that was done before, nothing is left to do."
            f" To change the configuration: `tconnectsync fleet add --replace {name} …`. Another person needs another name."
        )
    checked = checked_config(engine, config, box, hasher(key), shared=shared)
    people.check_receivers(name, checked)
    replica = StreamReplica(servers, name, f"import.{secrets.token_hex(6)}")
    end = replica.look().end
    replica.check_format()
    remedy = f"The fleet still has an event log of {name}. To delete it: `tconnectsync fleet remove --data {name}`."
    if end == LogEnd():
        remedy = "Give the folder that has the folder `log`, or a file of `tconnectsync backup`."
    with engine.resting_log(source) as folder:
        batches = engine.log_after(folder, end, remedy=remedy)
        first = list(itertools.islice(batches, 1))
        replica.claim()
        for lines, end in itertools.chain(first, batches):
            replica.append(lines, end)
        replica.release(store_snapshot(servers, name, folder, box) if source.is_dir() else NO_SNAPSHOT)
        people.add(name, checked, replace=False)
    return replica.last.end.position


@attrs.define
class _LogReader(StreamReplica):
    """The log of a person whom any worker may own."""

    def end(self) -> LogEnd:
        return self.look().end


def _new_file(folder: Path, name: str) -> Path:
    """Return the path of a new file for a person's log."""
    stem = f"{name}-tconnectsync-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    paths = (folder / f"{stem}{more}.tar.gz" for more in itertools.chain([""], map("-{}".format, itertools.count(2))))
    return next(path for path in paths if not path.exists())


def move_out(servers: Servers, engine: FleetContext, name: str, target: Path) -> tuple[Path, int, bool] | None:
    """Write a person's log to a backup file, or to a new one in a folder; return its path, its last position, and whether workers still work for the person.

    None: the person is new and has no log yet. A backup of everybody need not fail because of that. Errors: NotPossible,
    TconnectsyncError.
    """
    replica, people = _LogReader(servers, check_name(name), owner=""), People(servers)
    last = replica.look()
    replica.check_format()
    if not last.end.position:
        if not people.has(name):
            raise NotPossible(f"The fleet has no event log of {name}. List the people: `tconnectsync fleet status`.")
        if not last.seq and was_read(servers, name):
            raise NotPossible(
                f"The event log of {name} is missing in the NATS servers, although the source was read. Restore it from a backup."
            )
        return None
    works = people.has(name) and not people.get(name).paused
    path, positions = engine.back_up_replica(replica, _new_file(target, name) if target.is_dir() else target)
    owners = {report["owner"] for report in live_workers(servers).values()}
    return path, positions, works or (replica.last.owner in owners and not replica.last.snapshot)
