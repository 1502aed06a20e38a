"""Simulates an engine that may crash at any step, before a receiver that fails and refuses at random."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Any

import attrs

from tconnectsync import (
    Accepted,
    Batch,
    Delivery,
    Document,
    Event,
    History,
    Outcome,
    Postponed,
    Refused,
    Rejected,
    Retryable,
)
from tconnectsync.jobs.messages import Result
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.found_documents import FoundDocuments
from tconnectsync.outbox.older_copy import mark_older
from tconnectsync.plugin.receiver import StoredDocument
from tconnectsync.timeline.event_stream import EventStream, stream_name
from tconnectsync.timeline.resolver import TimelineResolver
from tests.projection.random_histories import END, FIRST_DAY, HOME, Unit, decoded, opened
from tests.projection.reference_projection import ALL, document_of_everything, sink_folds
from tests.support.engine.fakes import FakeReceiver
from tests.support.engine.harness import EngineHarness, FakePumpSource

COPY = "copy of the outbox"


class ProcessDied(BaseException):
    """The process, at this instruction."""


@attrs.define
class KillSwitch:
    """Kills the process when it was burned ``left`` times; None: never."""

    left: int | None = None

    def step_or_die(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self.left = None
                raise ProcessDied


@attrs.frozen
class WatchedFoundDocuments(FoundDocuments):
    """Remembers which documents were left at the receiver, because they may be another installation's."""

    left: set[str]

    def resolve(self, known: Callable[[str, datetime], bool], *, keep: Sequence[tuple[int, int]] = ()) -> int:
        rows = "SELECT id FROM document WHERE fold IS NULL AND ownership_state = 'found'"
        found = {id_ for (id_,) in self._db.execute(rows)}
        count = super().resolve(known, keep=keep)
        self.left.update(found - {id_ for (id_,) in self._db.execute("SELECT id FROM document")})
        return count


class KillableOutbox(Outbox):
    """The process may die before a transaction is committed, which loses it, or right after."""

    kill_switch: KillSwitch = KillSwitch()

    def watch_found(self, left: set[str]) -> None:
        """Add to ``left`` what is left at the receiver."""
        self.found = WatchedFoundDocuments(self._db, left)

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        with super().transaction(durable=durable):
            yield
            self.kill_switch.step_or_die()
        self.kill_switch.step_or_die()


@attrs.define
class RandomlyFailingReceiver(FakeReceiver):
    """Loses connections before and after it stored everything, or half; is busy; refuses some of what it is given."""

    kill_switch: KillSwitch = attrs.field(factory=KillSwitch)
    bad: float = 0.0
    refused_share: float = 0.0
    silent: bool = False

    def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        self.calls += 1
        self.kill_switch.step_or_die()
        mood = self.rng.choice(["unreached", "silent", "half", "busy", "html"]) if self.rng.random() < self.bad else ""
        if mood == "unreached":
            raise Retryable("not reached", in_doubt=False)
        if mood == "html":
            raise Rejected("somewhere in here")
        outcomes: list[Outcome] = []
        for number, delivery in enumerate(batch):
            if mood == "half" and number >= len(batch) / 2:
                raise Retryable("the connection broke", in_doubt=True)
            if mood == "busy" and self.rng.random() < 0.5:
                outcomes.append(Postponed(reason="busy", after_s=0.0))
            elif random.Random(delivery.document_id).random() < self.refused_share:
                outcomes.append(Refused(reason="not today"))
            else:
                self._store(delivery)
                outcomes.append(Accepted(receiver_key=f"key of {delivery.document_id}"))
        self.kill_switch.step_or_die()
        if mood == "silent" or self.silent:
            raise Retryable("no answer came", in_doubt=True)
        return outcomes

    def _store(self, delivery: Delivery) -> None:
        if delivery.document is not None:
            self.there[delivery.document_id] = delivery.document
            return
        assert delivery.receiver_key is not None or delivery.in_doubt, "taken back, but it was never given"
        self.there.pop(delivery.document_id, None)

    def read_back(self, first: datetime, last: datetime) -> Iterator[StoredDocument]:
        for known in [each for each in self.there.values() if first <= each.at < last]:
            yield StoredDocument(
                document_id=known.id, collection=known.collection, at=known.at, receiver_key=f"key of {known.id}",
                pump=known.content["pump"],
            )  # fmt: skip


@attrs.define
class ScriptedSource(FakePumpSource):
    """Reports what it is given, in batches. It may break off in the middle, and then begins again."""

    queue: list[list[Event]] = attrs.field(factory=list)
    breaks_after: int | None = None

    def poll(self, history: History) -> Iterator[Batch]:
        for number, events in enumerate(self.queue):
            if self.breaks_after is not None and number >= self.breaks_after:
                self.breaks_after = None
                raise Retryable("the cloud is down")
            yield Batch(events=events)
        self.queue = []

    def decode(self, raw: Any) -> tuple[str, Any]:
        return decoded(raw, self.decoder)


@attrs.define
class CrashingEngineHarness(EngineHarness):
    """The whole engine over a :class:`RandomlyFailingReceiver` and a :class:`ScriptedSource`, as it would be opened by a process."""

    kill_switch: KillSwitch = attrs.field(factory=KillSwitch)
    rng: random.Random = attrs.field(factory=random.Random)
    known: dict[str, Unit] = attrs.field(factory=dict)
    first_day: date = FIRST_DAY
    brake: int = 10
    release: int = 1
    left: set[str] = attrs.field(factory=set)
    """Documents that were left at the receiver when the outbox had been lost, because no document of their kind was made then."""
    copy_since: datetime | None = None
    """There is a copy of the outbox. What was delivered after it is from this time on."""

    def __attrs_post_init__(self) -> None:
        self.clock.time = END + timedelta(days=3)
        self.zones = HOME
        self.receiver = RandomlyFailingReceiver(
            rng=self.rng, kill_switch=self.kill_switch, batch_size=self.rng.choice([7, 50])
        )
        self.pump = ScriptedSource(self.clock)
        self.tell(())
        self.open()

    def open(self) -> None:
        self.fingerprint = f"{self.release} {self.pump.decoder}"
        self.folds = sink_folds(self.release)
        self.decoders = {"pump": self.pump, "csv": self.pump}
        self.outbox_type = KillableOutbox
        super().open()
        self.runner.folding.rewrite_limit = self.brake
        self.runner.outbox.kill_switch = self.kill_switch
        self.runner.outbox.watch_found(self.left)
        append = self.engine.events.append

        def dying_step(events: Sequence[Event]) -> Any:
            self.kill_switch.step_or_die()
            appended = append(events)
            self.kill_switch.step_or_die()
            return appended

        def fence(oldest: datetime) -> None:
            self.kill_switch.step_or_die()
            if self.copy_since is not None and oldest < self.copy_since:
                self.copy_since = None

        self.engine.events.append = dying_step  # type: ignore[method-assign]
        self.engine.events.fence = fence  # type: ignore[method-assign]

    def ask(self, command: str, **args: Any) -> Result:
        if command != "sync":
            self.copy_since = None  # a copy knows nothing of what the user asked for
        return super().ask(command, **args)

    def tell(self, units: Sequence[Unit], *, parts: int = 1, half: bool = False) -> None:
        """Let the vendor report these events with the next poll, in this number of answers."""
        self.known.update({each.name: unit for unit in units for each in unit})
        size = max(1, -(-len(units) // parts))
        self.pump.queue.append([opened(pump, self.first_day) for pump in ("1", "2")])
        for start in range(0, len(units), size):
            told = [each for unit in units[start : start + size] for each in unit]
            self.pump.queue.append([each.event(self.pump.decoder, half=half) for each in told])

    def tell_again(self, first: date | None = None) -> None:
        """Let the vendor report everything once more: for a disk that was wiped, or for older days."""
        self.first_day = min(first or FIRST_DAY, self.first_day)
        self.tell(list(dict.fromkeys(self.known.values())), parts=3)

    def live(self, minutes: int = 20) -> None:
        """A sync, some time later; the process may die in it, and is started again."""
        self.clock.sleep(60 * minutes)
        try:
            self.ask("sync")
        except ProcessDied:
            self.reopen()

    def sync_without_faults(self) -> None:
        """Nothing fails and the user agrees to everything, until nothing waits."""
        self.kill_switch.left = None
        self.receiver.bad = self.receiver.refused_share = 0.0
        self.receiver.silent = False
        for _ in range(30):
            self.clock.sleep(7200)
            result = self.ask("sync")
            counts = self.runner.outbox.dead_letters.counts()
            if counts.dead:
                self.ask("dead_letters_retry", sink="shelf")
            elif self.runner.health.state in ("braked", "halted"):
                self.ask("resume", sink="shelf")
            elif result.status == 0 and not counts.pending and not self.pump.queue:
                return
        raise AssertionError(f"no rest: {result}, {counts}, {self.runner.health}")

    def wipe(self, *parts: str) -> None:
        """Lose these parts of the data folder."""
        self.engine.close()
        if "log" in parts:
            self.copy_since = None
        for part in parts:
            for path in self.folder.glob(f"{part}*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.open()

    def copy_outbox(self, since: datetime) -> None:
        """Keep a copy of the outbox. It counts until something is delivered that is older than ``since``."""
        self.engine.close()
        shutil.rmtree(self.folder / COPY, ignore_errors=True)
        shutil.copytree(self.folder / "outbox", self.folder / COPY)
        self.copy_since = since
        self.open()

    def use_older_outbox(self) -> None:
        """Lose the outbox. If there is a copy that counts, it takes its place."""
        self.engine.close()
        shutil.rmtree(self.folder / "outbox")
        if self.copy_since is not None:
            shutil.copytree(self.folder / COPY, self.folder / "outbox")
            mark_older(self.folder / "outbox", self.copy_since)
        self.open()

    def wanted(self) -> dict[str, Document]:
        """One pass over everything that the log holds."""
        return document_of_everything(self.engine.events, self.zones, self.folds)

    def errors(self) -> dict[str, str]:
        """The names of events that are shown at a wrong time (by more than the configured zone is off), or half."""
        log = self.engine.events
        shift = timedelta(seconds=HOME.offset_at(END) - self.zones.offset_at(END))
        placements = TimelineResolver(log, self.zones).resolve()
        streams = {stream_name(stream): EventStream(log, stream, placements[stream.id]) for stream in log.streams()}
        read = {event.id: event for stream in streams.values() for event in log.read(stream.id, -ALL, ALL)}
        found = {}
        for known in (each for unit in set(self.known.values()) for each in unit):
            event = known.event(self.pump.decoder)
            at = streams[known.stream].timeline.at(known.seq or 0, event.pump_time)
            if at != known.at + shift:
                found[known.name] = f"at {at}, not {known.at + shift}"
            elif (read[event.id].kind, read[event.id].body) != (event.kind, event.body):
                found[known.name] = f"{read[event.id].body}, not {event.body}"
        return found
