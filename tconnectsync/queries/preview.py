"""`--dry-run`: computes what would be sent on copies of the state, while the daemon may run. Sends nothing."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import Any

from tconnectsync.clock import Clock
from tconnectsync.config.model import Config
from tconnectsync.eventlog import INDEX_NAME, OverlayFiles
from tconnectsync.exit_status import ExitStatus
from tconnectsync.filesystem import TEMPORARY
from tconnectsync.jobs.adopt import adoption_blocker
from tconnectsync.jobs.days import utc_range
from tconnectsync.jobs.messages import Result
from tconnectsync.jobs.poll_and_deliver import find_runner, find_runners
from tconnectsync.jobs.results import problems, result_of
from tconnectsync.outbox import Outbox
from tconnectsync.plugin.manager import Plugins
from tconnectsync.plugin.receiver import Delivery, Receiver, Refused, can_adopt, rendered
from tconnectsync.reconcile.adoption import AdoptionReport, adopt_documents, cannot_adopt
from tconnectsync.runtime.data_dir import make_data_dir
from tconnectsync.runtime.engine import Engine
from tconnectsync.runtime.open_engine import open_engine
from tconnectsync.runtime.sink_runner import SinkRunner

_PREFIX = ".preview-"
_LEFT_BEHIND_S = 86_400.0
_BATCH = 1000


def preview(
    config: Config,
    plugins: Plugins,
    *,
    sink: str | None = None,
    first: date | None = None,
    last: date | None = None,
    clock: Clock,
) -> Iterator[dict[str, Any] | Result]:
    """Yield the documents that ``sync`` (or a replay of ``sink``, a sink or a group of sinks) would send, in the form that the receiver would get.

    Each is ``{"sink", "action", "id", "collection", "at", "document"}``. ``action`` is "put", "withdraw" (a deletion: no
    document, ``stored`` is the receiver's key) or "set aside" (it would be refused; ``reason`` says why). The last item is the
    Result with the problems of sources and sinks. Errors: RequestRefused if ``sink`` is off.
    """
    make_data_dir(config)  # the login token is stored there
    with _scratch_engine(config, plugins, clock, polling=sink is None) as engine:
        runners = list(engine.runners.values()) if sink is None else find_runners(engine, sink)
        engine.run_once(polling=False, only=())
        for runner in runners:
            _fold(engine, runner)
            if sink is not None:
                runner.replay(*_utc_days(config, first, last))
                _fold(engine, runner)
            runner.delivery.preview_preflight()
            for delivery in _deliveries(runner.outbox, clock):
                yield {"sink": runner.name, **_described(runner.sender.receiver, delivery)}
        found = problems(engine, None if sink is None else tuple(runner.name for runner in runners))
        yield result_of(problem for problem in found if problem[0] != ExitStatus.WAITING)


def preview_adoption(
    config: Config,
    plugins: Plugins,
    *,
    sink: str,
    first: date | None = None,
    last: date | None = None,
    keep_unclear: bool = False,
    clock: Clock,
) -> Result:
    """Return what ``adopt`` of ``sink`` would replace. Fetches data, but changes nothing here or in the receiver."""
    make_data_dir(config)  # the login token is stored there
    with _scratch_engine(config, plugins, clock, polling=True) as engine:
        runner = find_runner(engine, sink)
        receiver = runner.sender.receiver
        if not can_adopt(receiver):
            raise cannot_adopt(sink)
        engine.run_once(polling=False, only=())
        _fold(engine, runner)
        days = _utc_days(config, first, last)
        blocked = adoption_blocker(engine, runner, *days)
        if blocked is not None:
            return blocked
        found = AdoptionReport()
        for _ in adopt_documents(found, runner.verifier(engine.streams), receiver, *days):
            pass
        waits = bool(found.unclear) and not keep_unclear
        return Result(
            status=ExitStatus.SET_ASIDE if waits else ExitStatus.DONE,
            lines=found.lines(sink, done=False, keep_unclear=keep_unclear),
        )


def _utc_days(config: Config, first: date | None, last: date | None) -> tuple[datetime | None, datetime | None]:
    args = {"first": first and first.isoformat(), "last": last and last.isoformat()}
    return utc_range(args, config.zones.zone_at)


@contextlib.contextmanager
def _scratch_engine(config: Config, plugins: Plugins, clock: Clock, *, polling: bool) -> Iterator[Engine]:
    """Open an engine on copies. With ``polling`` it appends fetched data to a scratch log that continues the real one."""
    with _scratch(config.data_dir, clock) as folder:
        _copy_positions(config.data_dir, folder)
        if polling:
            _copy_index(config.data_dir / INDEX_NAME, folder / INDEX_NAME)
            files = OverlayFiles(config.data_dir / "log", folder / "log")
            engine = open_engine(config, plugins, clock=clock, data_dir=folder, files=files)
        else:
            engine = open_engine(config, plugins, clock=clock, data_dir=folder, log_read_only=config.data_dir)
        try:
            if polling:
                _poll(engine)
            yield engine
        finally:
            engine.close()


def _poll(engine: Engine) -> None:
    for poller in engine.pollers.values():
        if poller.can_poll():
            poller.request_poll()
    while engine.run_once(polling=False, only=()):
        pass


def _fold(engine: Engine, runner: SinkRunner) -> None:
    while engine.timeline_is_current and runner.folding.fold(engine.streams, version=engine.version):
        pass


def _deliveries(outbox: Outbox, clock: Clock) -> Iterator[Delivery]:
    """Yield all waiting deliveries in batches, because years do not fit into memory. Marks them as delivered in the copy."""
    while batch := outbox.queue.pending(clock.now(), _BATCH):
        yield from batch
        with outbox.transaction():
            outbox.queue.mark_delivered((delivery, "") for delivery in batch)


def _described(receiver: Receiver, delivery: Delivery) -> dict[str, Any]:
    names = {"id": delivery.document_id, "collection": delivery.collection}
    document = delivery.document
    if document is None:
        return {"action": "withdraw", **names, "at": None, "document": None, "stored": delivery.receiver_key}
    at = document.at.isoformat().replace("+00:00", "Z")
    body = rendered(receiver, document)
    if isinstance(body, Refused):
        return {"action": "set aside", **names, "at": at, "document": dict(document.content), "reason": body.reason}
    return {"action": "put", **names, "at": at, "document": dict(body)}


@contextlib.contextmanager
def _scratch(data_dir: Path, clock: Clock) -> Iterator[Path]:
    """Make a temporary folder inside the data folder: /tmp is often in memory, and the index of years is large."""
    for left in data_dir.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if clock.now().timestamp() - left.stat().st_mtime > _LEFT_BEHIND_S:
                shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=data_dir) as name:
        yield Path(name)


def _copy_positions(source: Path, target: Path) -> None:
    """Copy outboxes (by SQLite's backup) and source states. Done before the log is opened, so no cursor is ahead of it."""
    for attempt in range(5):
        try:
            if (source / "state").is_dir():
                ignore = shutil.ignore_patterns(f"*{TEMPORARY}")
                shutil.copytree(source / "state", target / "state", ignore=ignore, dirs_exist_ok=True)
            break
        except shutil.Error:  # a file was replaced during the copy
            if attempt == 4:
                raise
    (target / "outbox").mkdir(mode=0o700)
    for path in sorted((source / "outbox").glob("*.sqlite")):
        with closing(Outbox(path, writable=False)) as outbox:
            outbox.copy_to(target / "outbox" / path.name)


def _copy_index(source: Path, target: Path) -> None:
    """Copy the index before the last segment: an index behind the log catches up, one ahead of it would look like a loss."""
    if not source.exists():
        return
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as index,
            closing(sqlite3.connect(target)) as copy,
        ):
            index.backup(copy)
    except sqlite3.Error:
        target.unlink(missing_ok=True)  # it is rebuilt from the log
