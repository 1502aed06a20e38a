"""The jobs that fetch and deliver: sync, backfill, import, replay, resume, dead letters."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

from tconnectsync.exit_status import ExitStatus
from tconnectsync.ingest.event_count import EventCount
from tconnectsync.jobs.days import utc_range
from tconnectsync.jobs.messages import Job, Progress, Result
from tconnectsync.jobs.outcome import conclude
from tconnectsync.jobs.steps import drain, find_runner, poll, start_runs, with_failures
from tconnectsync.runtime.engine import Engine
from tconnectsync.text.plural import counted

log = logging.getLogger("tconnectsync.jobs")


def sync(engine: Engine) -> Job:
    runs = start_runs(engine, lambda poller: poller.request_poll())
    yield from poll(engine, runs)
    yield from drain(engine)
    yield with_failures(conclude(engine), runs)


def backfill(engine: Engine, args: Mapping[str, Any]) -> Job:
    first = date.fromisoformat(args["first"])
    last = date.fromisoformat(args["last"]) if args.get("last") else engine.clock.now().date() + timedelta(days=1)
    if last < first:
        yield Result(status=ExitStatus.USAGE, lines=(f"the range is empty: {first} is after {last}",))
        return
    brought = EventCount(engine.events.end)
    runs = start_runs(engine, lambda poller: poller.start_backfill(first, last, brought))
    yield from poll(engine, runs)
    yield from drain(engine)
    yield with_failures(conclude(engine, f"{brought.words()} ({first} to {last}, and a day on both sides)"), runs)


def import_job(engine: Engine, args: Mapping[str, Any]) -> Job:
    from tconnectsync.jobs.import_files import import_files

    lines = yield from import_files(engine, args)
    yield from drain(engine)
    yield conclude(engine, *lines)


def replay(engine: Engine, args: Mapping[str, Any], zone_at: Callable[[date], Any]) -> Job:
    name, runner, unknown = find_runner(engine, args)
    if runner is None:
        yield unknown
        return
    while engine.run_once(polling=False, only=()):  # wait for a running poll
        yield Progress(message="reading the log")
    while engine.timeline_is_current and runner.folding.fold(engine.views, version=engine.version):
        yield Progress(message="folding")
    if not engine.timeline_is_current:
        yield conclude(engine)
        return
    begin, end = utc_range(args, zone_at)
    count = runner.replay(begin, end)
    yield from drain(engine, (name,))
    yield conclude(engine, f"{name}: {counted(count, 'document')} to send again", only=(name,))


def resume(engine: Engine, args: Mapping[str, Any]) -> Job:
    name, runner, unknown = find_runner(engine, args)
    poller = engine.pollers.get(name)
    if poller is not None:
        poller.resume()
        yield from poll(engine, poller.request_poll())
        yield from drain(engine)
        yield conclude(engine, f"{name}: resumed")
        return
    if runner is None:
        yield unknown
        return
    runner.resume()
    yield from drain(engine, (name,))
    yield conclude(engine, f"{name}: resumed", only=(name,))


def dead_letters(engine: Engine, args: Mapping[str, Any], *, retry: bool) -> Job:
    name, runner, unknown = find_runner(engine, args)
    if runner is None:
        yield unknown
        return
    ids = args.get("ids")
    count = runner.outbox.dead_letters.retry(ids) if retry else runner.outbox.dead_letters.drop(ids)
    if ids and not count:
        yield Result(
            status=ExitStatus.USAGE,
            lines=(
                f"{name}: no dead letter has these IDs; nothing was changed. List them: `tconnectsync dead-letters list`",
            ),
        )
        return
    yield from drain(engine, (name,))
    word = "tried again" if retry else "dropped"
    yield conclude(engine, f"{name}: {counted(count, 'dead letter')} {word}", only=(name,))
