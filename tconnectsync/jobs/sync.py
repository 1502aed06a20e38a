"""The jobs that fetch and deliver: sync, backfill, import, replay, resume, dead letters."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

from tconnectsync.errors import RequestRefused
from tconnectsync.exit_status import ExitStatus
from tconnectsync.ingest.event_count import EventCount
from tconnectsync.jobs.days import utc_range
from tconnectsync.jobs.messages import Job, Progress, Result
from tconnectsync.jobs.poll_and_deliver import drain, find_runner, find_runners, poll, start_runs, with_failures
from tconnectsync.jobs.results import conclude
from tconnectsync.outbox.dead_letters import letter_fields, letter_lines
from tconnectsync.runtime.engine import Engine
from tconnectsync.text.plural import counted

log = logging.getLogger("tconnectsync.jobs")
LISTED = 200
"""How many dead letters an answer shows."""


def sync(engine: Engine) -> Job:
    """Fetch new data from every source, and deliver it."""
    runs = start_runs(engine, lambda poller: poller.request_poll())
    yield from poll(engine, runs)
    yield from drain(engine)
    yield with_failures(conclude(engine), runs)


def backfill(engine: Engine, args: Mapping[str, Any]) -> Job:
    """Fetch the days from ``first`` to ``last`` again (ISO dates, both included), and deliver what is new."""
    first = date.fromisoformat(args["first"])
    last = date.fromisoformat(args["last"]) if args.get("last") else engine.clock.now().date() + timedelta(days=1)
    if last < first:
        raise RequestRefused(
            f"The range is empty: {first} is after {last}. Nothing was done.",
            remedy="Give a --to that is not before --from.",
        )
    brought = EventCount(engine.events.end)
    runs = start_runs(engine, lambda poller: poller.start_backfill(first, last, brought))
    yield from poll(engine, runs)
    yield from drain(engine)
    yield with_failures(conclude(engine, f"{brought.words()} ({first} to {last}, and a day on both sides)"), runs)


def import_job(engine: Engine, args: Mapping[str, Any]) -> Job:
    """Import files, and deliver what is new."""
    from tconnectsync.jobs.import_files import import_files

    lines = yield from import_files(engine, args)
    yield from drain(engine)
    yield conclude(engine, *lines)


def replay(engine: Engine, args: Mapping[str, Any], zone_at: Callable[[date], Any]) -> Job:
    """Deliver the documents of a sink, or of a group of sinks, from ``first`` to ``last`` again."""
    runners = find_runners(engine, str(args.get("sink")))
    names = tuple(runner.name for runner in runners)
    while engine.run_once(polling=False, only=()):  # wait for a running poll
        yield Progress(message="reading the log")
    for runner in runners:
        while engine.timeline_is_current and runner.folding.fold(engine.streams, version=engine.version):
            yield Progress(message="preparing documents")
    if not engine.timeline_is_current:
        yield conclude(engine)
        return
    begin, end = utc_range(args, zone_at)
    counts = {runner.name: runner.replay(begin, end) for runner in runners}
    yield from drain(engine, names)
    lines = (f"{name}: {counted(count, 'document')} to send again" for name, count in counts.items())
    yield conclude(engine, *lines, only=names)


def resume(engine: Engine, args: Mapping[str, Any]) -> Job:
    """End the stop of a source, a sink or a group of sinks, and continue with it."""
    name = str(args.get("sink"))
    poller = engine.pollers.get(name)
    if poller is not None:
        poller.resume()
        yield from poll(engine, poller.request_poll())
        yield from drain(engine)
        yield conclude(engine, f"{name}: resumed")
        return
    runners = find_runners(engine, name)
    for runner in runners:
        runner.resume()
    names = tuple(runner.name for runner in runners)
    yield from drain(engine, names)
    yield conclude(engine, *(f"{each}: resumed" for each in names), only=names)


def list_dead_letters(engine: Engine, args: Mapping[str, Any]) -> Job:
    """Show the dead letters of a sink, or of all sinks, with the IDs for the two requests below."""
    chosen = args.get("sink")
    runners = engine.runners if chosen is None else {str(chosen): find_runner(engine, str(chosen))}
    letters = [
        letter_fields(name, letter) for name, runner in runners.items() for letter in runner.outbox.dead_letters.all()
    ]
    letters.sort(key=lambda letter: (letter["at"], letter["sink"]))
    lines = [line for letter in letters[:LISTED] for line in letter_lines(letter)]
    if len(letters) > LISTED:
        lines.append(f"and {counted(len(letters) - LISTED, 'newer dead letter')}")
    lines += [
        f"Send those of {name} again: `tconnectsync dead-letters retry {name}`."
        f" Never send them: `tconnectsync dead-letters drop {name} ID…`."
        for name in sorted({letter["sink"] for letter in letters})
    ]
    yield Result(status=ExitStatus.DONE, lines=tuple(lines) or ("There are no dead letters: nothing was refused.",))


def dead_letters(engine: Engine, args: Mapping[str, Any], *, retry: bool) -> Job:
    """Retry or drop a sink's dead letters: those with the ``ids``, or all."""
    name = str(args.get("sink"))
    runner = find_runner(engine, name)
    ids = args.get("ids")
    count = runner.outbox.dead_letters.retry(ids) if retry else runner.outbox.dead_letters.drop(ids)
    if ids and not count:
        raise RequestRefused(
            f"{name} has no dead letter with these IDs. Nothing was changed.",
            remedy="List them: `tconnectsync dead-letters list`.",
        )
    yield from drain(engine, (name,))
    word = "tried again" if retry else "dropped"
    yield conclude(engine, f"{name}: {counted(count, 'dead letter')} {word}", only=(name,))
