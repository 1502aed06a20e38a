"""The whole engine with a pump in memory and a shelf for a receiver, on a simulated clock and a real folder."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs
import pytest

from tconnectsync import Batch, CredentialsRefused, Event, Finding, History, Hold, Retryable
from tconnectsync.delivery import Courier
from tconnectsync.engine import Engine
from tconnectsync.eventlog import EventLog
from tconnectsync.events import BasalDelivered, ClockChanged, HistoryOpened, UploadSeen, WindowFetched
from tconnectsync.folding import Folding
from tconnectsync.jobs import Progress, Request, Result, perform
from tconnectsync.keeping import Keeper
from tconnectsync.outbox import Outbox
from tconnectsync.placement import Placer
from tconnectsync.polling import Poller, SourceMemory
from tconnectsync.schedule import Rhythm
from tconnectsync.wallclock import Zones
from worlds import Shelf, StretchFold

ZONE = Zones(timezone="Europe/Berlin")
BEGIN = datetime(2026, 6, 1, tzinfo=timezone.utc)
SUMMER = timedelta(hours=2)


@attrs.define
class HandClock:
    """A clock that moves when somebody sleeps."""

    time: datetime = BEGIN + timedelta(days=1)
    ticks: float = 0.0

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        self.ticks += 0.001
        return self.ticks

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@attrs.define
class Pump:
    """A source: a pump that reports its basal every five minutes, uploaded as it comes."""

    clock: HandClock
    decoder: int = 1
    trouble: Exception | None = None
    polls: int = 0
    rate: Any = staticmethod(lambda minute: float(minute // 60 % 3))
    hidden: set[int] = attrs.field(factory=set)
    offset: timedelta = SUMMER

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
                self.fact("history.opened", "opened", HistoryOpened(first_day="2026-06-01")),
                self.event(1, "clock.changed", BEGIN - timedelta(days=1), ClockChanged(part="time", step_s=3600.0)),
            ]
        )
        minutes = int((now - BEGIN).total_seconds() // 60)
        events = [
            self.event(10 + minute, "basal.delivered", BEGIN + timedelta(minutes=minute), BasalDelivered(rate_u_per_h=self.rate(minute)))
            for minute in range(0, minutes, 5)
            if minute not in self.hidden
        ]
        window = WindowFetched(first_day="2026-06-01", last_day=f"{now:%Y-%m-%d}")
        yield Batch(events=[*events, self.fact("window.fetched", f"window:{now.isoformat()}", window)])

    def backfill(self, history: History, first: date, last: date) -> Iterator[Batch]:
        return self.poll(history)

    def decode(self, raw: Any) -> tuple[str, Any]:
        raise NotImplementedError

    def check(self) -> Iterator[Finding]:
        yield Finding(good=True, what="pump")


@attrs.define
class World:
    folder: Path
    clock: HandClock = attrs.field(factory=HandClock)
    shelf: Shelf = attrs.field(factory=lambda: Shelf(batch_size=100))
    zones: Zones = ZONE
    fingerprint: str = "1"
    room: list[str] = attrs.field(factory=list)
    pump: Pump = attrs.field(init=False)
    engine: Engine = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.pump = Pump(self.clock)
        self.open()

    def open(self) -> None:
        events = EventLog.open(self.folder, clock=self.clock, writable=True, decoders={})
        outbox = Outbox(self.folder / "outbox" / "shelf.sqlite")
        dice = random.Random(1)
        poller = Poller(
            name="pump", source=self.pump, events=events, clock=self.clock, mark="m", dice=dice,
            memory=SourceMemory.load(self.folder / "state" / "pump.json"),
            rhythm=Rhythm(poll_min_s=300, poll_max_s=1500), free_space=lambda: self.room[0] if self.room else None,
        )  # fmt: skip
        keeper = Keeper(
            name="shelf", fingerprint=self.fingerprint, folding=Folding(outbox, {"stretches": StretchFold()}),
            courier=Courier(outbox, self.shelf), events=events, clock=self.clock, dice=dice, rewrite_brake=10, mark="m",
        )  # fmt: skip
        self.engine = Engine(
            events=events, placer=Placer(events, self.zones), clock=self.clock, pollers={"pump": poller}, keepers={"shelf": keeper}
        )

    def reopen(self, **changes: Any) -> None:
        self.engine.close()
        for name, value in changes.items():
            setattr(self, name, value)
        self.open()

    def ask(self, command: str, **args: Any) -> Result:
        steps = list(perform(self.engine, Request(command=command, args=args), self.zones.zone_at))
        assert all(isinstance(step, Progress) for step in steps[:-1])
        assert isinstance(steps[-1], Result)
        return steps[-1]

    def starts(self) -> list[datetime]:
        return sorted(known.at for known in self.shelf.there.values())

    @property
    def keeper(self) -> Keeper:
        return self.engine.keepers["shelf"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.engine.close()


def hours(numbers: Sequence[int]) -> list[datetime]:
    return [BEGIN + timedelta(hours=number) for number in numbers]


def test_one_sync_carries_everything_over_in_true_utc(world: World) -> None:
    assert world.ask("sync") == Result(status=0)
    assert world.starts()[-3:] == hours([21, 22, 23])


def test_the_edge_of_history_is_a_local_day(world: World) -> None:
    """The first wanted day began at 22:00 UTC of the day before; what the lead-in shows before it is not sent."""
    world.ask("sync")
    assert world.starts()[0] == BEGIN


def test_a_second_sync_sends_nothing(world: World) -> None:
    world.ask("sync")
    calls = world.shelf.calls
    assert world.ask("sync") == Result(status=0)
    assert world.shelf.calls == calls


def test_a_restart_goes_on_where_it_was(world: World) -> None:
    world.ask("sync")
    world.reopen()
    calls, there = world.shelf.calls, dict(world.shelf.there)
    world.clock.sleep(3600)
    world.ask("sync")
    assert world.shelf.calls == calls + 1
    assert len(world.shelf.there) == len(there) + 1


def test_late_events_are_put_where_they_belong(world: World) -> None:
    world.pump.hidden = set(range(120, 180))
    world.ask("sync")
    before = len(world.shelf.there)
    world.pump.hidden = set()
    world.ask("sync")
    assert len(world.shelf.there) == before + 1
    assert hours([2])[0] in world.starts()


def test_a_receiver_that_lost_everything_gets_the_same_documents_again(world: World) -> None:
    world.ask("sync")
    there = dict(world.shelf.there)
    world.shelf.there.clear()
    result = world.ask("replay", sink="shelf")
    assert result.status == 0
    assert world.shelf.there == there
    assert str(len(there)) in result.lines[0]


def test_a_replay_of_some_days_leaves_the_others_alone(world: World) -> None:
    world.clock.sleep(86400 * 2)
    world.ask("sync")
    world.shelf.there.clear()
    world.ask("replay", sink="shelf", first="2026-06-02", last="2026-06-02")
    assert world.starts()[0] == BEGIN + timedelta(hours=22)
    assert world.starts()[-1] == BEGIN + timedelta(hours=45)


def test_a_mended_time_zone_moves_every_document_and_leaves_none_behind(world: World) -> None:
    world.clock.sleep(86400 * 4)
    world.ask("sync")
    before = world.starts()
    world.reopen(zones=Zones(timezone="America/New_York"))
    while world.engine.turn(polling=False):
        pass
    assert world.keeper.condition.state == "braked"
    assert world.starts() == before
    world.clock.sleep(3600 * 8)  # the newest documents lie in the future for a while
    assert world.ask("replay", sink="shelf").status == 0
    horizon = BEGIN + timedelta(hours=4)
    assert world.starts() == [at + timedelta(hours=6) for at in before if at + timedelta(hours=6) >= horizon]


def test_too_many_rewrites_of_the_past_wait_for_the_user(world: World) -> None:
    world.clock.sleep(86400 * 3)
    world.ask("sync")
    there = dict(world.shelf.there)

    class Reworded(StretchFold):
        def running(self, state):  # type: ignore[no-untyped-def]
            return [attrs.evolve(known, content={"new": 1}) for known in super().running(state)]

        def step(self, state, event):  # type: ignore[no-untyped-def]
            state, finished = super().step(state, event)
            return state, [attrs.evolve(known, content={"new": 1}) for known in finished]

    world.reopen(fingerprint="2")
    world.keeper.folding.folds = {"stretches": Reworded()}
    result = world.ask("sync")
    assert result.status == 6
    assert "tconnectsync resume shelf" in result.lines[0]
    assert world.shelf.there == there
    assert world.ask("resume", sink="shelf").status == 0
    assert all(known.content == {"new": 1} for known in world.shelf.there.values())


def test_an_inhabited_site_is_left_alone_until_the_user_says_so(world: World) -> None:
    world.shelf.hold = Hold(reason="another bridge was here", remedy="Run `tconnectsync adopt SINK --skip`.")
    result = world.ask("sync")
    assert (result.status, world.shelf.there) == (6, {})
    assert "adopt shelf --skip" in result.lines[0]
    assert world.ask("adopt", sink="shelf").status == 0
    assert world.shelf.there


def test_a_new_site_address_stops_the_sink_until_a_replay(world: World) -> None:
    world.ask("sync")
    world.reopen(shelf=Shelf(address="shelf://two", batch_size=100))
    world.clock.sleep(3600)
    result = world.ask("sync")
    assert (result.status, world.shelf.there) == (6, {})
    assert "tconnectsync replay shelf" in result.lines[0]
    assert world.ask("replay", sink="shelf").status == 0
    assert world.starts()[-2:] == hours([23, 24])


def test_a_wiped_disk_doubles_and_orphans_nothing(world: World, tmp_path: Path) -> None:
    world.ask("sync")
    there = dict(world.shelf.there)
    other = World(tmp_path / "fresh", clock=world.clock, shelf=world.shelf)
    stale = attrs.evolve(next(iter(there.values())), id="11111111-2222-5333-8444-555555555555", at=BEGIN + timedelta(hours=5, minutes=1))
    world.shelf.there[stale.id] = stale
    assert other.ask("sync").status == 0
    assert world.shelf.there == there
    other.engine.close()


def test_a_deleted_outbox_is_made_anew_and_sends_the_same(world: World) -> None:
    world.ask("sync")
    there = dict(world.shelf.there)
    world.engine.close()
    for path in (world.folder / "outbox").iterdir():
        path.unlink()
    world.open()
    assert world.ask("sync").status == 0
    assert world.shelf.there == there


def test_refused_credentials_are_not_tried_again_by_themselves(world: World) -> None:
    world.pump.trouble = CredentialsRefused("wrong password", remedy="Correct `sources.pump.password`.")
    assert world.ask("sync").status == 4
    assert world.ask("sync").status == 4
    world.reopen()
    assert world.ask("sync").status == 4
    assert world.pump.polls == 1
    world.pump.trouble = None
    assert world.ask("resume", sink="pump").status == 0


def test_a_back_off_survives_a_restart(world: World) -> None:
    world.pump.trouble = Retryable("the cloud is down")
    assert world.ask("sync").status == 3
    world.reopen()
    assert world.ask("sync").status == 3
    assert world.pump.polls == 1
    world.pump.trouble = None
    world.clock.sleep(60)
    assert world.ask("sync").status == 0


def test_a_source_in_trouble_does_not_stop_delivery(world: World) -> None:
    world.shelf.trouble = 1.0
    world.ask("sync")
    world.shelf.trouble = 0.0
    world.pump.trouble = Retryable("the cloud is down")
    world.clock.sleep(3600)
    assert world.ask("sync").status == 3
    assert world.starts()[-1] == hours([23])[0]


def test_a_full_disk_stops_polling_and_nothing_else(world: World) -> None:
    world.room.append("only 3 MB are free")
    result = world.ask("sync")
    assert (result.status, world.pump.polls) == (3, 0)
    assert "only 3 MB are free" in result.lines[0]
    world.room.clear()
    world.clock.sleep(120)
    assert world.ask("sync").status == 0


def test_a_computer_whose_clock_is_behind_the_log_waits(world: World) -> None:
    world.ask("sync")
    world.clock.time -= timedelta(days=400)
    result = world.ask("sync")
    assert result.status == 3
    assert "clock" in result.lines[0]
    assert world.pump.polls == 1


def test_a_simulated_year_polls_on_its_own_and_keeps_up(world: World) -> None:
    """Twelve hours here, in the loop that the daemon runs: nothing but the clock moves it."""
    for _ in range(20_000):
        if not world.engine.turn():
            world.clock.sleep(max(0.01, world.engine.next_due()))
        if world.clock.now() > BEGIN + timedelta(days=1, hours=12):
            break
    assert world.starts()[-1] == hours([35])[0]
    assert world.pump.polls > 20
