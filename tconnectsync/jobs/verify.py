"""The job ``verify --repair``: compares a receiver with the log and corrects the differences."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from tconnectsync.errors import RequestRefused, Retryable
from tconnectsync.exit_status import ExitStatus
from tconnectsync.jobs.days import utc_range
from tconnectsync.jobs.messages import Job, Progress, Result
from tconnectsync.jobs.poll_and_deliver import drain, find_runner, poll, start_runs
from tconnectsync.jobs.results import URGENT, conclude
from tconnectsync.plugin.receiver import ReadableReceiver
from tconnectsync.reconcile.report import ComparisonReport, cannot_verify_text
from tconnectsync.runtime.engine import Engine
from tconnectsync.text.plural import counted

log = logging.getLogger("tconnectsync.jobs")


_MOST_LINES, _MOST_JSON = 20, 1000
"""How many documents of each kind of difference are listed."""


def verify(engine: Engine, args: Mapping[str, Any], zone_at: Callable[[date], Any]) -> Job:
    """Compare, repair, and compare again. Orphaned documents are deleted only after everything was fetched once more."""
    name = str(args.get("sink"))
    runner = find_runner(engine, name)
    if not isinstance(runner.sender.receiver, ReadableReceiver):
        raise RequestRefused(cannot_verify_text(name), remedy="`tconnectsync plugins` lists the sinks.")
    while engine.run_once(polling=False, only=()):  # wait for a running poll
        yield Progress(message="reading the log")
    yield from drain(engine, (name,))
    blocked = conclude(engine, only=(name,))
    if not engine.timeline_is_current or blocked.status in URGENT or not runner.health.is_ok:
        yield blocked
        return
    span = utc_range(args, zone_at)
    most = _MOST_JSON if args.get("json") else _MOST_LINES
    try:
        before, after = ComparisonReport(max_listed=most), ComparisonReport(max_listed=most)
        for part in runner.verifier(engine.streams).run(*span):
            before.add(part)
            runner.repair(part.found)
            yield Progress(message=f"comparing, {counted(before.good, 'document')} so far")
        if before.counts["orphaned"]:
            yield from poll(engine, start_runs(engine, lambda poller: poller.request_poll()))
        yield from drain(engine, (name,))
        for part in runner.verifier(engine.streams).run(*span) if before.wrong else ():
            after.add(part)
            yield Progress(message=f"comparing again, {counted(after.good, 'document')} so far")
    except Retryable as error:
        yield Result.of_error(error, status=ExitStatus.WAITING, is_retried=False)
        return
    yield _repair_result(
        name, conclude(engine, only=(name,)), before, after if before.wrong else before, as_json=bool(args.get("json"))
    )


def _repair_result(
    sink: str, end: Result, before: ComparisonReport, after: ComparisonReport, *, as_json: bool
) -> Result:
    if as_json:
        objects = [*(each.to_json() for each in before.listed), {"before": before.to_json(), "after": after.to_json()}]
        lines = [json.dumps(found, ensure_ascii=False) for found in objects]
    else:
        lines = before.lines(sink)
        if before.wrong:
            lines += ["after the repair:", *after.lines(sink)]
    differs = ExitStatus.DIFFERENT if after.wrong or after.twice else ExitStatus.DONE
    waits = ExitStatus.WAITING if after.counts["waiting"] else ExitStatus.DONE
    return Result(status=end.status or differs or waits, lines=(*lines, *(() if as_json else end.lines)))
