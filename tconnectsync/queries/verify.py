"""``verify`` without ``--repair``: compares a receiver with the log, read-only, while the daemon may run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import date

from tconnectsync.clock import Clock
from tconnectsync.config.model import Config
from tconnectsync.config.unusable_parts import REMEDY
from tconnectsync.errors import RequestRefused
from tconnectsync.eventlog import EventLog
from tconnectsync.ingest.gaps import open_gaps_by_source
from tconnectsync.ingest.source_state import SourceState
from tconnectsync.jobs.days import utc_range
from tconnectsync.outbox import Outbox
from tconnectsync.plugin.manager import Plugins
from tconnectsync.plugin.receiver import ReadableReceiver
from tconnectsync.projection.fold_runner import FoldRunner
from tconnectsync.reconcile.comparison import Verifier
from tconnectsync.reconcile.report import ComparisonChunk, cannot_verify_text
from tconnectsync.runtime.data_dir import outbox_path
from tconnectsync.runtime.open_engine import open_sinks, open_sources
from tconnectsync.timeline.event_stream import event_streams
from tconnectsync.timeline.resolver import TimelineResolver


def verify(
    config: Config, plugins: Plugins, *, sink: str, first: date | None = None, last: date | None = None, clock: Clock
) -> Iterator[ComparisonChunk]:
    """Yield the results of comparing one sink, chunk by chunk. Takes no lock and writes nothing.

    Errors: RequestRefused (the sink is off, cannot read back, or delivered nothing yet), LogCorrupt, the receiver's errors.
    """
    problem = config.sinks[sink].problem if sink in config.sinks else ""
    if problem:
        raise RequestRefused(
            f"The sink {sink} cannot be compared: its secret cannot be used: {problem}.", remedy=REMEDY
        )
    opened = open_sinks(config, plugins, clock=clock, data_dir=config.data_dir).get(sink)
    if opened is None:
        raise RequestRefused(
            f"The sink {sink} is off: there is nothing to compare.",
            remedy="`tconnectsync status` shows which sinks are on. Turn it on in the configuration, then run `tconnectsync sync`.",
        )
    if not isinstance(opened.receiver, ReadableReceiver):
        raise RequestRefused(cannot_verify_text(sink), remedy="`tconnectsync plugins` lists the sinks.")
    path = outbox_path(config.data_dir, sink)
    if not path.exists() or not (config.data_dir / "log").is_dir():
        raise RequestRefused(
            f"{sink} has not delivered anything yet: there is nothing to compare.", remedy="Run `tconnectsync sync`."
        )
    decoders = open_sources(config, plugins, clock=clock, data_dir=config.data_dir)
    args = {"first": first and first.isoformat(), "last": last and last.isoformat()}
    with (
        closing(EventLog.open(config.data_dir, clock=clock, writable=False, decoders=decoders)) as events,
        closing(Outbox(path, writable=False)) as outbox,
    ):
        refetched = {
            name: SourceState.load(config.data_dir / "state" / f"{name}.json").refetched_until for name in decoders
        }
        gaps_of_source = open_gaps_by_source(events, refetched)  # as in the daemon, so that the result is the same
        streams = event_streams(events, TimelineResolver(events, config.zones).resolve(), gaps_of_source)
        fold_runner = FoldRunner(outbox, {fold.name: fold for fold in opened.folds})
        verifier = Verifier(fold_runner, opened.receiver, events, streams, clock)
        yield from verifier.run(*utc_range(args, config.zones.zone_at))
