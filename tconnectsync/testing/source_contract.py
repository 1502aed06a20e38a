"""What every source must do, as a pytest class to inherit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from tconnectsync.eventlog import EventLog
from tconnectsync.events import FACTS, Event
from tconnectsync.plugin.source import Batch, Source
from tconnectsync.testing.events import ManualClock
from tconnectsync.testing.fold_checks import require

EventsById = Mapping[str, tuple[Any, ...]]


@attrs.define
class SourceWorld:
    """A vendor's service, a clock, and an empty event log. ``open_source`` opens the source as a new process does."""

    open_source: Callable[[], Source]
    clock: ManualClock
    log: EventLog
    private: tuple[str, ...] = ()
    """Texts that must not be kept or shown: passwords, names, account numbers."""

    def take(self, batches: Iterator[Batch]) -> list[Batch]:
        """Append each batch before the next one is asked for, as the engine does."""
        taken = []
        for batch in batches:
            self.log.append(batch.events)
            taken.append(batch)
        return taken

    def poll(self) -> list[Batch]:
        """Poll once with a newly opened source."""
        return self.take(self.open_source().poll(self.log))

    def events(self) -> list[Event]:
        """Return the best revision of everything that the pump said."""
        return [
            event
            for stream in self.log.streams()
            for event in self.log.read(stream.id, stream.first_key, stream.last_key)
            if event.kind not in FACTS
        ]

    def events_by_id(self) -> EventsById:
        """Return the same by identity, without the times at which it was read."""
        return {event.id: (event.kind, event.pump_time, event.body, event.raw) for event in self.events()}


class SourceContract:
    """Inherit this, and open a simulated service with your source::

        class TestMyCloud(SourceContract):
            @contextmanager
            def open_world(self, folder):
                clock = ManualClock()
                with my_server(clock) as server, closing(EventLog.open(folder, clock=clock, writable=True)) as log:
                    yield SourceWorld(lambda: MySource(server.url), clock, log)

    The service must hold three days of events or more, and new ones after the clock moved by :attr:`upload_after`.
    """

    upload_after: ClassVar[timedelta] = timedelta(minutes=80)
    odd_records: ClassVar[Sequence[Mapping[str, Any]]] = ()
    """Records that look like the vendor's and make no sense."""
    _undisturbed: ClassVar[dict[type, EventsById]] = {}

    def open_world(self, folder: Path) -> AbstractContextManager[SourceWorld]:
        """Open the service with its first days of events. Each call opens the same, from the beginning."""
        raise NotImplementedError

    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[SourceWorld]:
        """A service that was not asked yet."""
        with self.open_world(tmp_path) as world:
            yield world

    @pytest.fixture
    def undisturbed(self, tmp_path_factory: pytest.TempPathFactory) -> EventsById:
        """What one poll without any trouble brings; asked once for each class."""
        known: dict[type, EventsById] = SourceContract._undisturbed
        if type(self) not in known:
            with self.open_world(tmp_path_factory.mktemp("undisturbed")) as world:
                world.poll()
                known[type(self)] = world.events_by_id()
        return known[type(self)]

    def test_first_poll(self, world: SourceWorld, undisturbed: EventsById) -> None:
        """An empty log is filled with the same events each time, and the wish for history is recorded."""
        world.poll()
        require(bool(undisturbed), "the first poll brings no events")
        require(world.events_by_id() == undisturbed, "another first poll brings other events")
        opened = {fact.pump for fact in world.log.facts("history.opened", limit=1000)}
        require(opened == {event.pump for event in world.events()}, f"history.opened is there for {opened} only")

    def test_events_before_their_window(self, world: SourceWorld) -> None:
        """Days count as fetched only once their events are in the log."""
        for batch in world.open_source().poll(world.log):
            kinds = [event.kind for event in batch.events]
            if "window.fetched" in kinds:
                late = [kind for kind in kinds[kinds.index("window.fetched") :] if kind not in FACTS]
                require(not late, f"events behind the mark that their days were fetched: {late}")
            world.log.append(batch.events)

    def test_progress(self, world: SourceWorld) -> None:
        """Progress does not go back, its total stays, and it reaches its end."""
        progress = [(batch.done, batch.total) for batch in world.poll() if batch.total]
        require(progress == sorted(progress), f"progress goes back: {progress}")
        require(len({total for _, total in progress}) <= 1, f"the total changes: {progress}")
        require(not progress or progress[-1][0] == progress[-1][1], f"progress does not reach its end: {progress}")

    def test_idle_poll(self, world: SourceWorld) -> None:
        """A poll without news writes nothing."""
        world.poll()
        end = world.log.end
        world.clock.sleep(300)
        idle = world.open_source()
        for _ in range(2):
            world.take(idle.poll(world.log))
            require(world.log.end == end, "a poll without news wrote something")

    def test_backfill(self, world: SourceWorld) -> None:
        """Fetching days again adds no events."""
        world.poll()
        before, end = world.events_by_id(), world.log.end
        days = sorted({event.pump_time.date() for event in world.events()})
        # the first days may reach beyond the history, and the last one has not ended
        days = days[len(days) // 2 : -1] or days[-1:]
        world.take(world.open_source().backfill(world.log, days[0], days[-1]))
        require(world.events_by_id() == before, "fetching again changed events")
        added = [event.id for event in world.log.events(end) if event.kind not in FACTS]
        require(not added, f"fetching again added events: {added[:5]}")

    def test_backfill_of_lost_days(self, world: SourceWorld, undisturbed: EventsById) -> None:
        """Fetching days that the log does not have brings all of their events."""
        days = sorted({pump_time.date() for _, pump_time, _, _ in undisturbed.values()})
        require(len(days) > 2, f"the service must hold events of three days or more, not {len(days)}")
        middle = days[1:-1]  # the first day may begin in the middle, and the last one has not ended
        first, last = middle[0], middle[-1]
        world.take(world.open_source().backfill(world.log, first, last))
        expected = {
            identity
            for identity, (kind, pump_time, _, _) in undisturbed.items()
            if first <= pump_time.date() <= last and kind != "settings.captured"
        }
        missing = sorted(expected - world.events_by_id().keys())
        require(not missing, f"a backfill of {first} to {last} did not bring: {missing[:5]}")

    @pytest.mark.parametrize("batches", [1, 2, 3, 5, 8])
    def test_interrupted_poll(self, world: SourceWorld, undisturbed: EventsById, batches: int) -> None:
        """A poll that was killed after any batch is continued by the next one."""
        run = world.open_source().poll(world.log)
        for _, batch in zip(range(batches), run, strict=False):
            world.log.append(batch.events)
        del run  # closes a generator
        world.poll()
        require(world.events_by_id() == undisturbed, "after a killed poll the log has other events")

    def test_upload(self, world: SourceWorld) -> None:
        """A later poll brings what is new, and keeps what is known."""
        world.poll()
        known = world.events_by_id()
        world.clock.sleep(self.upload_after.total_seconds())
        world.poll()
        newest = max(event.pump_time for event in world.events())
        require(newest > max(pump_time for _, pump_time, _, _ in known.values()), "nothing new after an upload")
        require(known.keys() <= world.events_by_id().keys(), "events are missing that were known")
        end = world.log.end
        world.poll()
        require(world.log.end == end, "an upload is recorded twice")

    def test_decode(self, world: SourceWorld) -> None:
        """``decode`` makes the event from the raw record that the log keeps."""
        world.poll()
        source = world.open_source()
        for event in world.events():
            if event.kind == "settings.captured":
                continue
            if event.raw is None:
                raise AssertionError(f"no raw record: {event}")
            require(source.decode(event.raw) == (event.kind, event.body), f"decoded as something else: {event}")

    def test_odd_records(self, world: SourceWorld) -> None:
        """A record that makes no sense is ``unknown``, not an error."""
        source = world.open_source()
        odd: list[Mapping[str, Any]] = [{}, {"eventCode": "x"}, {"": None, "a": {"b": [1.5]}}, *self.odd_records]
        for raw in odd:
            require(source.decode(raw)[0] == "unknown", f"not unknown: {raw}")

    def test_check(self, world: SourceWorld) -> None:
        """``check`` finds nothing wrong and writes nothing."""
        found = list(world.open_source().check())
        require(bool(found), "check says nothing")
        require(all(each.good for each in found), f"check found something wrong: {found}")
        require(not list(world.log.events(0)), "check wrote to the log")

    def test_privacy(self, world: SourceWorld) -> None:
        """Nothing private gets into the log or into messages."""
        world.poll()
        kept = " ".join(json.dumps([event.id, event.raw, str(event.body)]) for event in world.log.events(0))
        shown = " ".join(f"{each.what} {each.remedy}" for each in world.open_source().check())
        for text in world.private:
            require(text not in kept, "something private is in the log")
            require(text not in shown, "something private is in a message of check")
