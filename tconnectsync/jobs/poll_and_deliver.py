"""Steps that several jobs share: poll, fold and deliver, with progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tconnectsync.errors import RequestRefused
from tconnectsync.exit_status import ExitStatus
from tconnectsync.ingest.fetch import Fetch, FetchState
from tconnectsync.ingest.poller import Poller
from tconnectsync.jobs.messages import Progress, Result
from tconnectsync.jobs.results import URGENT
from tconnectsync.runtime.engine import Engine
from tconnectsync.runtime.sink_runner import SinkRunner
from tconnectsync.text.plural import counted

COUNT_EVERY_S = 1.0
"""How often the remaining work is counted again."""
UNREAD_SHOWN = 20
"""How many parts of a backfill that were not read completely a result names."""


def poll(engine: Engine, runs: Sequence[Fetch]) -> Iterator[Progress]:
    """Run until these fetches are over. Sinks are served in between, and no batch is on its way at the end."""
    while not all(run.is_over for run in runs):
        engine.run_once(polling=False)
        for poller in engine.pollers.values():
            if poller.running:
                batch = poller.progress
                yield Progress(message=batch.note or f"asking {poller.name}", done=batch.done, total=batch.total)
                break
        else:
            yield Progress(message="preparing and delivering documents")
    engine.finish_sending()


def with_failures(result: Result, runs: Sequence[Fetch]) -> Result:
    """Add the days that could not be read, and a line if a fetch failed, even if the source is ok again now."""
    failed = [run for run in runs if run.state is FetchState.FAILED]
    if not failed:
        return result
    lines = [*result.lines, *_unread_days(failed)]
    if not result.status:
        lines.append(
            "not everything could be read. Run the command again: records that are already in the log are skipped"
        )
    status = result.status if result.status in URGENT else ExitStatus.SOURCE
    return Result(status=status, lines=tuple(lines))


def _unread_days(failed: Sequence[Fetch]) -> Iterator[str]:
    """One line for each part of a backfill that was read in part, and one for all that were not read."""
    partial = {run.days: run.unread for run in failed if run.days is not None and run.unread}
    for number, ((first, last), reason) in enumerate(sorted(partial.items())):
        if number == UNREAD_SHOWN:
            yield f"and {counted(len(partial) - UNREAD_SHOWN, 'part')} more"
            break
        yield f"not everything of {first} to {last}: {reason}"
    rest = [run.days for run in failed if run.days is not None and not run.unread]
    if rest:
        yield f"not read: {min(rest)[0]} to {max(rest)[1]}"


def drain(engine: Engine, only: tuple[str, ...] | None = None) -> Iterator[Progress]:
    """Run until nothing more can be folded or delivered now."""
    runners = [runner for name, runner in engine.runners.items() if only is None or name in only]
    most = 0
    progress, next_count_s = Progress(message="preparing documents"), engine.clock.monotonic()
    while engine.run_once(polling=False, only=only):
        # rarely, because counting a year's backlog takes longer than sending a batch of it
        if engine.clock.monotonic() >= next_count_s:
            next_count_s = engine.clock.monotonic() + COUNT_EVERY_S
            folding = sum(runner.outbox.checkpoints.invalid_count() for runner in runners)
            pending = sum(runner.outbox.queue.waiting(engine.clock.now()) for runner in runners)
            most = max(most, folding + pending)
            words = (
                f"preparing documents, {counted(folding, 'part')} of the log to go"
                if folding
                else f"delivering, {counted(pending, 'document')} to go"
            )
            progress = Progress(message=words, done=most - folding - pending, total=most)
        yield progress


def start_runs(engine: Engine, begin: Callable[[Poller], list[Fetch]]) -> list[Fetch]:
    """Start a fetch for every source that may be polled. The others have the reason in their health."""
    return [run for poller in engine.pollers.values() if poller.can_poll() for run in begin(poller)]


def find_runner(engine: Engine, sink: str) -> SinkRunner:
    """Return the runner of a sink. Errors: RequestRefused if the sink is off, or cannot be used now."""
    runner = engine.runners.get(sink)
    if sink in engine.unusable:
        health = engine.unusable[sink]
        raise RequestRefused(f"{sink}: {health.message}. Nothing was done.", remedy=health.remedy)
    if runner is None:
        on = ", ".join(sorted(engine.runners)) or "none"
        raise RequestRefused(
            f"The sink {sink!r} is off. Nothing was done. These are on: {on}.",
            remedy="Turn it on in the configuration, then run `tconnectsync check`.",
        )
    return runner


def find_runners(engine: Engine, name: str) -> list[SinkRunner]:
    """Return the runner of the sink ``name``, or those of all sinks whose names begin with it (``nightscout``) and that are on.

    Errors: as :func:`find_runner`.
    """
    group = [sink for sink in sorted((*engine.runners, *engine.unusable)) if sink.startswith(f"{name}-")]
    return [find_runner(engine, sink) for sink in group or (name,)]
