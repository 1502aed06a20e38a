"""The job that replaces an older bridge's documents with ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from tconnectsync.errors import (
    Retryable,
)
from tconnectsync.jobs.days import utc_range
from tconnectsync.jobs.messages import Job, Progress, Result
from tconnectsync.jobs.outcome import conclude, problems, result_of
from tconnectsync.jobs.steps import drain, find_runner, poll, start_runs
from tconnectsync.plugin.receiver import can_adopt
from tconnectsync.reconcile.adoption import AdoptionReport, adopted, cannot_be_adopted
from tconnectsync.retry.health import HealthState
from tconnectsync.runtime.engine import Engine
from tconnectsync.runtime.sink_runner import SinkRunner


def adopt(engine: Engine, args: Mapping[str, Any], zone_at: Callable[[date], Any]) -> Job:
    """Fetch and fold all, then let what an older bridge wrote of the same facts make room for ours, or leave both."""
    name, runner, unknown = find_runner(engine, args)
    if runner is None:
        yield unknown
        return
    if args.get("skip"):
        runner.allow_others()
        yield from drain(engine, (name,))
        yield conclude(engine, f"{name}: what others left there stays beside ours", only=(name,))
        return
    receiver = runner.sender.receiver
    if not can_adopt(receiver):
        yield Result(status=2, lines=(cannot_be_adopted(name),))
        return
    runs = start_runs(engine, lambda poller: poller.start())
    yield from poll(engine, runs)
    while engine.placed and runner.folding.fold(engine.views, version=engine.version):
        yield Progress(message="folding")
    days, keep_unclear = utc_range(args, zone_at), bool(args.get("keep_unclear"))
    hindrance = adoption_blocker(engine, runner, *days)
    if hindrance is not None:
        yield hindrance
        return
    seen, found = AdoptionReport(), AdoptionReport()
    try:
        verifier = runner.verifier(engine.views)
        for _ in adopted(seen, verifier, receiver, *days):
            yield Progress(message="looking at what an older bridge wrote")
        if seen.unclear and not keep_unclear:
            yield Result(status=6, lines=seen.lines(name, done=False, keep_unclear=False))
            return
        for _ in adopted(found, verifier, receiver, *days, send_again=runner.send_again):
            yield Progress(message=f"replacing an older bridge's documents, {sum(found.replaced.values()):,} so far")
    except Retryable as error:
        again = f"Run `tconnectsync adopt {name}` again: it goes on where it was."
        waits = (
            f" Until then {name} sends nothing of these days." if runner.delivery.preflight.unseen() is not None else ""
        )
        yield Result(status=5, lines=(error.message, *([error.remedy] if error.remedy else []), f"{again}{waits}"))
        return
    runner.allow_others_once()
    yield from drain(engine, (name,))
    pending = runner.counts().pending
    yield conclude(engine, *found.lines(name, done=True, keep_unclear=True, pending=pending), only=(name,))


def adoption_blocker(
    engine: Engine, runner: SinkRunner, first: datetime | None, last: datetime | None
) -> Result | None:
    """Why nothing can be replaced now: what is not fetched, folded or sent there would be taken away and not come back."""
    if (first or last) and runner.delivery.preflight.unseen() is not None:
        words = (
            f"{runner.name} has not delivered all of its days to this place, so that some days alone cannot be replaced"
        )
        return Result(status=2, lines=("nothing was replaced", f"{words}. Leave --from and --to out."))
    moved = runner.delivery.preflight.moved()
    if moved is not None:
        return Result(
            status=6, lines=("nothing was replaced", f"{runner.name}: {moved.hold.reason}. {moved.hold.remedy}")
        )
    if (
        runner.health.state in (HealthState.BRAKED, HealthState.REFUSED)
        or runner.sender.is_halted()
        or runner.fold_runner.blocked
    ):
        return conclude(engine, "nothing was replaced: ours could not take the place of what goes", only=(runner.name,))
    unread = [poller.health for poller in engine.pollers.values() if not poller.health.is_ok]
    if not engine.placed or runner.folding.is_behind() or unread:
        words = "nothing was replaced: not all of the pump's data could be read and worked out"
        return result_of(problems(engine), words) if unread or engine.log_trouble else conclude(engine, words)
    return None
