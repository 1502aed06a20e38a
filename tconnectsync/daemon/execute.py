"""Runs a request in this process, or sends it to the daemon if the daemon owns the data folder."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import attrs

from tconnectsync.clock import Clock
from tconnectsync.config.fingerprint import config_fingerprint
from tconnectsync.config.model import Config
from tconnectsync.daemon.state import SOCKET_NAME
from tconnectsync.errors import DataDirLocked, IndexCorrupt
from tconnectsync.eventlog import FolderLock, Replica
from tconnectsync.exit_status import ExitStatus
from tconnectsync.jobs.dispatch import perform
from tconnectsync.jobs.messages import Request, Result, Step
from tconnectsync.jobs.results import conclude
from tconnectsync.plugin.manager import Plugins
from tconnectsync.runtime.data_dir import keep_files_private, make_data_dir
from tconnectsync.runtime.open_engine import open_engine
from tconnectsync.runtime.sending import SendingHere, sending_for

log = logging.getLogger("tconnectsync.daemon")
LONGEST_PAUSE_S = 3600.0
"""After this long :func:`work` is called again, even if nothing seems to be due."""


@attrs.frozen(kw_only=True)
class Turn:
    """The outcome of :func:`work`: its exit status and lines, the seconds until something is due again, and the log's last position.

    ``last_fetch``: when the source that was read longest ago was read to its end; None: never.
    """

    status: int
    lines: tuple[str, ...]
    due_s: float
    records: int
    last_fetch: datetime | None = None


def work(
    config: Config,
    plugins: Plugins,
    *,
    clock: Clock,
    replica: Replica | None,
    pace: Callable[[], None],
    stops: Callable[[], bool],
) -> Turn:
    """Do what is due in a data folder now, as the daemon does, for a process that serves many people in turn.

    ``stops``: whether to return before everything is done. Errors: DataDirLocked, ReplicaFailed, IndexCorrupt, LogCorrupt, OSError.
    """
    keep_files_private()
    make_data_dir(config)
    with FolderLock(config.data_dir):
        engine = open_engine(config, plugins, clock=clock, replica=replica, pace=pace)
        try:
            while not stops() and engine.run_once():
                pass
            result = conclude(engine)
            fetches = [poller.state.last_fetch for poller in engine.pollers.values()]
            return Turn(
                status=result.status,
                lines=result.lines,
                due_s=engine.next_due(LONGEST_PAUSE_S),
                records=engine.events.end,
                last_fetch=min((each for each in fetches if each is not None), default=None) if all(fetches) else None,
            )
        finally:
            engine.close()


def execute(
    config: Config,
    plugins: Plugins,
    request: Request,
    *,
    clock: Clock,
    replica: Replica | None = None,
    pace: Callable[[], None] = lambda: None,
) -> Iterator[Step]:
    """Run a request, in this process or in the daemon that owns the data folder. The last step is the Result."""
    keep_files_private()
    make_data_dir(config)
    try:
        lock = FolderLock(config.data_dir)
    except DataDirLocked as error:
        identified = attrs.evolve(request, config_id=config_fingerprint(config))
        yield from _send_to_daemon(config.data_dir / SOCKET_NAME, identified, error)
        return
    try:
        try:
            yield from _run_here(config, plugins, request, clock, replica, pace)
        except IndexCorrupt as error:  # the file is deleted: try once more, which rebuilds it
            log.error('index_corrupt message="%s"', error.message)
            yield from _run_here(config, plugins, request, clock, replica, pace)
    finally:
        lock.release()


def _run_here(
    config: Config,
    plugins: Plugins,
    request: Request,
    clock: Clock,
    replica: Replica | None,
    pace: Callable[[], None],
) -> Iterator[Step]:
    sending = sending_for(clock) if replica is None else SendingHere()  # a worker of a fleet has threads of its own
    engine = open_engine(config, plugins, clock=clock, replica=replica, pace=pace, sending=sending)
    try:
        yield from perform(engine, request, config.zones.zone_at)
    except Exception:
        engine.finish_sending()  # the next engine of this process calls the same receivers
        raise
    finally:
        engine.close()


def _send_to_daemon(path: Path, request: Request, error: DataDirLocked) -> Iterator[Step]:
    from tconnectsync.daemon.control_socket import ask  # a command that works in this process needs no socket

    for attempt in range(3):
        try:
            yield from ask(path, request)
            return
        except (FileNotFoundError, ConnectionRefusedError):
            time.sleep(0.2 * (attempt + 1))  # the owner may be starting, or be a command that ends soon
        except OSError as failure:
            words = (
                f"The daemon did not answer ({failure}). Nothing was done. `tconnectsync status` shows whether it runs."
            )
            yield Result(status=ExitStatus.OWNED, lines=(words,))
            return
    remedy = error.remedy or "Wait until it has ended, or stop it, then run the command again."
    yield Result(status=ExitStatus.OWNED, lines=(f"{error.message}, and it accepts no requests. {remedy}",))
