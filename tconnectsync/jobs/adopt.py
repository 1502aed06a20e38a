"""The job ``adopt``: replaces an older bridge's documents with a sink's documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from tconnectsync.errors import Retryable
from tconnectsync.exit_status import ExitStatus
from tconnectsync.health.states import HealthState
from tconnectsync.jobs.days import utc_range
from tconnectsync.jobs.messages import Job, Progress, Result
from tconnectsync.jobs.poll_and_deliver import drain, find_runner, poll, start_runs
from tconnectsync.jobs.results import conclude, problems, result_of
from tconnectsync.plugin.receiver import can_adopt
from tconnectsync.reconcile.adoption import AdoptionReport, adopt_documents, cannot_adopt
from tconnectsync.runtime.engine import Engine
from tconnectsync.runtime.sink_runner import SinkRunner


def adopt(engine: Engine, args: Mapping[str, Any], zone_at: Callable[[date], Any]) -> Job:
    """Fetch and fold everything, then delete the older bridge's documents of the same records and deliver the sink's."""
    name = str(args.get("sink"))
    runner = find_runner(engine, name)
    if args.get("skip"):
        runner.allow_foreign()
        yield from drain(engine, (name,))
        yield conclude(
            engine,
            f"{name}: the older bridge's documents stay, and the sink delivers its own documents too",
            only=(name,),
        )
        return
    receiver = runner.sender.receiver
    if not can_adopt(receiver):
        raise cannot_adopt(name)
    runs = start_runs(engine, lambda poller: poller.request_poll())
    yield from poll(engine, runs)
    while engine.timeline_is_current and runner.folding.fold(engine.streams, version=engine.version):
        yield Progress(message="preparing documents")
    days, keep_unclear = utc_range(args, zone_at), bool(args.get("keep_unclear"))
    blocked = adoption_blocker(engine, runner, *days)
    if blocked is not None:
        yield blocked
        return
    seen, found = AdoptionReport(), AdoptionReport()
    try:
        verifier = runner.verifier(engine.streams)
        for _ in adopt_documents(seen, verifier, receiver, *days):
            yield Progress(message="comparing the older bridge's documents")
        if seen.unclear and not keep_unclear:
            yield Result(status=ExitStatus.SET_ASIDE, lines=seen.lines(name, done=False, keep_unclear=False))
            return
        for _ in adopt_documents(found, verifier, receiver, *days, send_again=runner.send_again):
            yield Progress(message=f"replacing an older bridge's documents, {sum(found.replaced.values()):,} so far")
    except Retryable as error:
        again = f"Run `tconnectsync adopt {name}` again: it continues where it stopped."
        waits = (
            f" Until then {name} sends nothing for these days."
            if runner.delivery.preflight.unchecked_days() is not None
            else ""
        )
        yield Result.of_error(error, f"{again}{waits}", status=ExitStatus.WAITING, is_retried=False)
        return
    runner.allow_foreign_once()
    yield from drain(engine, (name,))
    pending = runner.outbox.queue.waiting(engine.clock.now())
    yield conclude(engine, *found.lines(name, done=True, keep_unclear=True, pending=pending), only=(name,))


def adoption_blocker(
    engine: Engine, runner: SinkRunner, first: datetime | None, last: datetime | None
) -> Result | None:
    """Return why nothing can be replaced now, else None. Deleted documents must come back: everything has to be fetched and folded."""
    if (first or last) and runner.delivery.preflight.unchecked_days() is not None:
        words = f"{runner.name} has not delivered all of its days to this site yet, so single days cannot be replaced"
        return Result(
            status=ExitStatus.USAGE,
            lines=("nothing was replaced", f"{words}. Run the command without --from and --to."),
        )
    moved = runner.delivery.preflight.address_change()
    if moved is not None:
        return Result(
            status=ExitStatus.SET_ASIDE,
            lines=("nothing was replaced", f"{runner.name}: {moved.conflict.reason}. {moved.conflict.remedy}"),
        )
    if (
        runner.health.state in (HealthState.BRAKED, HealthState.REFUSED)
        or runner.sender.is_halted()
        or runner.fold_runner.blocked
    ):
        return conclude(
            engine, "nothing was replaced: the new documents could not be delivered now", only=(runner.name,)
        )
    unread = [poller.health for poller in engine.pollers.values() if not poller.health.is_ok]
    if not engine.timeline_is_current or runner.folding.is_behind() or unread:
        words = "nothing was replaced: not all of the pump's data could be read"
        return result_of(problems(engine), words) if unread or engine.log_problem else conclude(engine, words)
    return None
