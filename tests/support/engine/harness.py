"""The whole engine with a fake pump and a fake receiver, on a simulated clock and a real folder.

Gives :class:`EngineHarness` (fixture ``harness``). In it the source is named ``pump``, the sink ``shelf``.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs

from tconnectsync import Batch, CheckResult, Event, History
from tconnectsync.errors import RequestRefused
from tconnectsync.eventlog import EventLog, Files, OsFiles
from tconnectsync.events import BasalDelivered, ClockChanged, HistoryOpened, UploadSeen, WindowFetched
from tconnectsync.ingest.poller import Poller
from tconnectsync.ingest.schedule import PollSchedule
from tconnectsync.ingest.source_state import SourceState
from tconnectsync.jobs.dispatch import perform
from tconnectsync.jobs.messages import Progress, Request, Result
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.older_copy import open_outbox
from tconnectsync.outbox.sender import Sender
from tconnectsync.projection.fold_runner import FoldRunner
from tconnectsync.runtime.engine import Engine
from tconnectsync.runtime.sending import Sending, SendingHere
from tconnectsync.runtime.sink_runner import SinkRunner
from tconnectsync.timeline.resolver import TimelineResolver
from tconnectsync.timeline.zones import Zones
from tests.support.clocks import FakeClock
from tests.support.engine.fakes import FakeReceiver, StretchFold

ZONE = Zones(timezone="Europe/Berlin")
BEGIN = datetime(2026, 6, 1, tzinfo=timezone.utc)
SUMMER = timedelta(hours=2)


def hours(numbers: Iterable[int]) -> list[datetime]:
    """The starts of these hours of the pump's history, in UTC."""
    return [BEGIN + timedelta(hours=number) for number in numbers]


@attrs.define
class FakePumpSource:
    """A source: a pump that reports its basal every ``every_min`` minutes and uploads immediately. Each poll returns everything."""

    clock: FakeClock
    decoder: int = 1
    trouble: Exception | None = None
    backfills: Any = None
    polls: int = 0
    hidden: set[int] = attrs.field(factory=set)
    offset: timedelta = SUMMER
    stretch_h: int = 1
    """How long a rate lasts."""
    every_min: int = 5
    """For weeks of polls, thirty or sixty give the same documents."""
    opened: tuple[HistoryOpened, ...] = (HistoryOpened(first_day="2026-06-01"),)

    def event(self, seq: int, kind: str, at: datetime, body: Any) -> Event:
        return Event(
            id=f"pump:1:0:{seq}", kind=kind, pump="1", group=0, seq=seq, pump_time=(at + self.offset).replace(tzinfo=None),
            source="pump", received_at=self.clock.now(), body=body, raw={"seq": seq},
        )  # fmt: skip

    def fact(self, kind: str, name: str, body: Any) -> Event:
        return Event(
            id=f"pump:1:{name}", kind=kind, pump="1", group=None, seq=None, pump_time=BEGIN.replace(tzinfo=None),
            source="pump", received_at=self.clock.now(), body=body,
        )  # fmt: skip

    def poll(self, history: History) -> Iterator[Batch]:
        self.polls += 1
        if self.trouble is not None:
            raise self.trouble
        now = self.clock.now()
        yield Batch(
            events=[
                self.fact("upload.seen", f"upload:{now.isoformat()}", UploadSeen(uploaded_at=now)),
                *(self.fact("history.opened", f"opened:{body.first_day}", body) for body in self.opened),
                self.event(1, "clock.changed", BEGIN - timedelta(days=1), ClockChanged(part="time", step_s=3600.0)),
            ]
        )
        minutes = int((now - BEGIN).total_seconds() // 60)
        events = [
            self.event(
                10 + minute,
                "basal.delivered",
                BEGIN + timedelta(minutes=minute),
                BasalDelivered(rate_u_per_h=float(minute // 60 // self.stretch_h % 3)),
            )
            for minute in range(0, minutes, self.every_min)
            if minute not in self.hidden
        ]
        window = WindowFetched(first_day="2026-06-01", last_day=f"{now:%Y-%m-%d}")
        yield Batch(events=[*events, self.fact("window.fetched", f"window:{now.isoformat()}", window)])

    def backfill(self, history: History, first: date, last: date) -> Iterator[Batch]:
        return self.poll(history) if self.backfills is None else self.backfills(history, first, last)

    def decode(self, raw: Any) -> tuple[str, Any]:
        raise NotImplementedError

    def check(self) -> Iterator[CheckResult]:
        yield CheckResult(good=True, what="pump")


@attrs.define
class EngineHarness:
    """An open engine: source ``pump`` (:class:`FakePumpSource`), sink ``shelf`` (:class:`.FakeReceiver` and ``folds``).

    Changed fields take effect with :meth:`reopen`, as after a restart of the process.
    """

    folder: Path
    clock: FakeClock = attrs.field(factory=lambda: FakeClock(BEGIN + timedelta(days=1)))
    receiver: FakeReceiver = attrs.field(factory=lambda: FakeReceiver(batch_size=100))
    zones: Zones = ZONE
    fingerprint: str = "1"
    room: list[str] = attrs.field(factory=list)
    """Why the disk has no free space; empty if it has."""
    folds: dict[str, Any] = attrs.field(factory=lambda: {"stretches": StretchFold()})
    segment_bytes: int = 4 << 20
    files: Files = attrs.field(factory=OsFiles)
    decoders: dict[str, Any] = attrs.field(factory=dict)
    outbox_type: type[Outbox] = Outbox
    mark: str = "m"
    """The fingerprint of the receiver's credentials."""
    sending: Callable[[], Sending] = SendingHere
    """Makes what calls the receiver."""
    pump: FakePumpSource = attrs.field(init=False)
    engine: Engine = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.pump = FakePumpSource(self.clock)
        self.open()

    def open(self) -> None:
        """Open log, outbox and engine, as a new process would."""
        events = EventLog.open(
            self.folder,
            clock=self.clock,
            writable=True,
            decoders=self.decoders,
            segment_bytes=self.segment_bytes,
            files=self.files,
        )
        outbox = open_outbox(self.outbox_type, self.folder / "outbox" / "shelf.sqlite", list(self.folds))
        try:
            self.engine = self._engine(events, outbox)
        except BaseException:
            outbox.close()
            events.close()
            raise

    def _engine(self, events: EventLog, outbox: Outbox) -> Engine:
        rng, sending = random.Random(1), self.sending()
        poller = Poller(
            name="pump", source=self.pump, events=events, clock=self.clock, credentials_fingerprint="m", rng=rng,
            state=SourceState.load(self.folder / "state" / "pump.json", self.files),
            schedule=PollSchedule(poll_min_s=300, poll_max_s=1500), free_space=lambda: self.room[0] if self.room else None,
        )  # fmt: skip
        return Engine(
            events=events,
            timelines=TimelineResolver(events, self.zones),
            clock=self.clock,
            sending=sending,
            pollers={"pump": poller},
            runners={"shelf": self._runner("shelf", outbox, self.receiver, events, rng, sending)},
        )

    def _runner(
        self, name: str, outbox: Outbox, receiver: FakeReceiver, events: EventLog, rng: random.Random, sending: Sending
    ) -> SinkRunner:
        return SinkRunner.build(
            name=name, fingerprint=self.fingerprint, fold_runner=FoldRunner(outbox, self.folds),
            sender=Sender(outbox, receiver), events=events, clock=self.clock, rng=rng, rewrite_limit=10,
            credentials_fingerprint=self.mark, sending=sending,
        )  # fmt: skip

    def another_runner(self, name: str, receiver: FakeReceiver) -> SinkRunner:
        """A second sink of the open engine, with an outbox of its own."""
        outbox = self.outbox_type.opened(self.folder / "outbox" / f"{name}.sqlite")
        return self._runner(name, outbox, receiver, self.engine.events, random.Random(2), self.engine.sending)

    def reopen(self, **changes: Any) -> None:
        """Close everything, change these fields, and open it again."""
        self.engine.close()
        for name, value in changes.items():
            setattr(self, name, value)
        self.open()

    def ask(self, command: str, **args: Any) -> Result:
        """Run a command to its end and return its result."""
        try:
            steps = list(perform(self.engine, Request(command=command, args=args), self.zones.zone_at))
        except RequestRefused as error:
            return Result.of_error(error)
        assert all(isinstance(step, Progress) for step in steps[:-1])
        assert isinstance(steps[-1], Result)
        return steps[-1]

    def starts(self) -> list[datetime]:
        """The times of all documents that the receiver holds."""
        return sorted(known.at for known in self.receiver.there.values())

    @property
    def runner(self) -> SinkRunner:
        """The sink at work."""
        return self.engine.runners["shelf"]
