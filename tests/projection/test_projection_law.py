"""Any order of arrival, any split, any failure, any replay: the delivered documents are those of one pass."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tconnectsync import Document, Event, Retryable
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.sender import Sender
from tconnectsync.projection.fold_runner import FoldRunner
from tconnectsync.projection.intervals import interval_of
from tconnectsync.timeline.event_stream import EventStream
from tconnectsync.timeline.zones import Zones
from tests.projection.faulty_harness import CrashingEngineHarness, ProcessDied
from tests.projection.random_histories import BEGIN, FIRST_DAY, HOME, HOME_S, PumpRecord, Unit, random_history
from tests.support.engine.fakes import START, FakeReceiver, MemoryStream, State, StretchFold, event, one_pass
from tests.support.engine.harness import EngineHarness
from tests.support.memory_folder import memory_folder


@attrs.define
class FoldBench:
    """Outbox, fold and receiver around one stream."""

    folder: Path
    receiver: FakeReceiver
    stream: MemoryStream = attrs.field(factory=MemoryStream)
    arrived: int = 0
    outbox: Outbox = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.outbox = Outbox(self.folder / "sink.sqlite")
        self.fold_runner = FoldRunner(self.outbox, {"stretches": StretchFold()})
        self.sender = Sender(self.outbox, self.receiver)

    fold_runner: FoldRunner = attrs.field(init=False)
    sender: Sender = attrs.field(init=False)

    def arrive(self, events: list, *, crash: bool = False) -> None:
        """New events: marked and folded in one transaction, or, with ``crash``, not at all."""
        for new in events:
            self.stream.known[new.seq] = new
        self.arrived += len(events)
        with contextlib.suppress(ZeroDivisionError), self.outbox.transaction():
            touched = [(self.stream.name, interval_of(new.seq, numbered=True), new.kind) for new in events]
            self.fold_runner.invalidate_new(touched, cursor=self.arrived)
            self.fold()
            if crash:
                raise ZeroDivisionError
        if crash:
            self.arrive(events)

    def fold(self) -> int:
        count = 0
        while self.fold_runner.fold_next(lambda name: self.stream):
            count += 1
        return count

    def deliver(self, *, attempts: int = 400) -> None:
        now = START + timedelta(days=4000)
        for _ in range(attempts):
            try:
                if not self.sender.send_next(now) and self.outbox.queue.next_due(now) is None:
                    return
            except Retryable:
                continue

    def check(self) -> None:
        self.receiver.trouble = 0.0
        self.deliver()
        wanted = one_pass(list(self.stream.known.values()))
        assert {id_: (d.at, d.content) for id_, d in self.receiver.there.items()} == {
            id_: (d.at, d.content) for id_, d in wanted.items()
        }


class Law(RuleBasedStateMachine):
    """A whole installation through everything that may happen to it; whenever nothing disturbs it, the law holds."""

    @initialize(
        rng=st.randoms(use_true_random=False), bad=st.sampled_from([0.0, 0.3, 0.8]), brake=st.sampled_from([10, 10_000])
    )
    def it_begins(self, rng: random.Random, bad: float, brake: int) -> None:
        self.rng = rng
        self.coming = random_history(self.rng)
        self.rng.shuffle(self.coming)
        self.come: list[Unit] = []
        self.folder = tempfile.TemporaryDirectory(dir=memory_folder())
        self.harness = CrashingEngineHarness(Path(self.folder.name), rng=self.rng, brake=brake)
        self.harness.receiver.bad = self.bad = bad

    # --- what arrives -----------------------------------------------------------------------------------------------

    @rule(units=st.integers(1, 12), parts=st.integers(1, 3), breaks_after=st.sampled_from([None, 1, 2]))
    def some_arrive_whenever_they_were(self, units: int, parts: int, breaks_after: int | None) -> None:
        self.arrive(units, parts=parts, breaks_after=breaks_after)

    @rule(units=st.integers(1, 12))
    def some_arrive_and_are_all_there_is_for_now(self, units: int) -> None:
        self.arrive(units)
        self.left_in_peace_it_has_delivered_the_fold_of_everything_once()

    @rule(units=st.integers(1, 12))
    def some_arrive_and_are_stored_but_not_acknowledged(self, units: int) -> None:
        self.harness.receiver.silent = True
        self.arrive(units)
        self.harness.receiver.silent = False

    def arrive(self, units: int, *, parts: int = 1, breaks_after: int | None = None) -> None:
        told, self.coming = self.coming[:units], self.coming[units:]
        self.come += told
        self.harness.pump.breaks_after = breaks_after
        self.harness.tell(told, parts=parts)
        self.harness.live()

    @rule(units=st.integers(1, 12))
    def some_arrive_half_broken_first(self, units: int) -> None:
        self.harness.tell([unit for unit in self.coming[:units] if is_spoilt(unit)], half=True)
        self.harness.live()

    @rule(count=st.integers(1, 8), half=st.booleans())
    def some_come_again_whole_or_half_broken(self, count: int, half: bool) -> None:
        again = self.rng.sample(self.come, min(count, len(self.come)))
        self.harness.tell([unit for unit in again if not half or is_spoilt(unit)], half=half)
        self.harness.live()

    @rule(days=st.integers(1, 5))
    def older_history_is_opened(self, days: int) -> None:
        self.harness.tell_again(FIRST_DAY - timedelta(days=days))
        self.harness.live()
        self.left_in_peace_it_has_delivered_the_fold_of_everything_once()

    # --- what goes wrong --------------------------------------------------------------------------------------------

    @rule(instruction=st.integers(0, 30))
    def the_process_will_die(self, instruction: int) -> None:
        self.harness.kill_switch.left = instruction

    @rule()
    def the_process_is_started_again(self) -> None:
        self.harness.reopen()

    @rule(turns=st.integers(1, 8))
    def it_gets_no_further(self, turns: int) -> None:
        with contextlib.suppress(ProcessDied):
            for _ in range(turns):
                self.harness.engine.run_once()
        self.harness.reopen()

    @rule(share=st.sampled_from([0.0, 0.2, 1.0]))
    def the_receiver_refuses_some(self, share: float) -> None:
        self.harness.receiver.refused_share = share
        self.harness.live()

    @rule()
    def the_outbox_is_lost(self) -> None:
        self.harness.wipe("outbox")

    @rule(day=st.integers(-5, 95))
    def the_outbox_is_copied(self, day: int) -> None:
        self.harness.copy_outbox(BEGIN + timedelta(days=day))

    @rule()
    def an_older_copy_of_the_outbox_takes_its_place(self) -> None:
        self.harness.use_older_outbox()

    @rule()
    def the_disk_is_wiped(self) -> None:
        self.harness.wipe("outbox", "log", "state", "index.sqlite")
        self.harness.tell_again()
        self.harness.live()

    @rule()
    def the_receiver_loses_all_and_a_replay_follows(self) -> None:
        self.harness.receiver.there.clear()
        self.replayed()

    # --- what the user does -----------------------------------------------------------------------------------------

    @rule(days=st.sampled_from([None, (5, 20), (20, 60)]))
    def some_days_are_replayed(self, days: tuple[int, int] | None) -> None:
        first, last = (BEGIN.date() + timedelta(days=day) for day in days) if days else (None, None)
        self.replayed(**({} if days is None else {"first": f"{first}", "last": f"{last}"}))

    def replayed(self, **days: str) -> None:
        try:
            self.harness.ask("replay", sink="shelf", **days)
        except ProcessDied:
            self.harness.reopen()
            self.harness.kill_switch.left = None
            self.harness.ask("replay", sink="shelf", **days)

    @rule(zone=st.sampled_from(["America/New_York", "Asia/Kolkata", HOME.timezone]))
    def another_zone_is_configured(self, zone: str) -> None:
        self.harness.reopen(zones=Zones(timezone=zone))
        self.harness.live()

    @rule()
    def the_source_learns_to_read_more(self) -> None:
        self.harness.pump.decoder = 2
        self.harness.reopen()
        self.harness.live()

    @rule()
    def the_sink_words_things_anew(self) -> None:
        self.harness.release += 1
        self.harness.reopen()
        self.harness.live()

    @rule()
    def the_user_agrees(self) -> None:
        with contextlib.suppress(ProcessDied):
            self.harness.ask("resume", sink="shelf")
            return
        self.harness.reopen()

    # --- the law ----------------------------------------------------------------------------------------------------

    @rule()
    def left_in_peace_it_has_delivered_the_fold_of_everything_once(self) -> None:
        harness = self.harness
        harness.sync_without_faults()
        wanted = harness.wanted()
        there = {
            id_: known for id_, known in harness.receiver.there.items() if id_ in wanted or id_ not in harness.left
        }
        wrong = {id_: (there.get(id_), wanted.get(id_)) for id_ in there | wanted if there.get(id_) != wanted.get(id_)}
        assert not wrong, f"(there, wanted) by identity: {wrong}"
        places = [(known.unique_slot, known.at) for known in there.values()]
        assert len(set(places)) == len(places)
        calls = harness.receiver.calls
        harness.ask("sync")
        assert harness.receiver.calls == calls, "nothing is sent twice"
        harness.receiver.bad = self.bad

    def teardown(self) -> None:
        if not hasattr(self, "harness"):
            return
        try:
            self.harness.kill_switch.left = None
            self.harness.tell(self.coming)
            self.left_in_peace_it_has_delivered_the_fold_of_everything_once()
            errors = self.harness.errors()
            assert not errors, f"events that are not shown as they were: {errors}"
        finally:
            self.harness.engine.close()
            self.folder.cleanup()


def is_spoilt(unit: Unit) -> bool:
    """Whether the vendor may report half of it. Half a clock setting is tested elsewhere."""
    return unit[0].raw["kind"] != "clock.changed"


@pytest.mark.timeout(1200)
def test_delivered_equals_one_pass() -> None:
    """Whatever happens, the delivered documents are those of one pass over everything."""
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Law,
        settings=settings(
            stateful_step_count=25,
            phases=(
                Phase.reuse,
                Phase.generate,
            ),  # the first failure shows its steps; shrinking them would take minutes
            suppress_health_check=list(HealthCheck),
        ),
    )


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_arrival_order_does_not_matter(rng: random.Random) -> None:
    """Any order of arrival ends in the same documents."""
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        bench = FoldBench(Path(folder), FakeReceiver())
        events = [event(seq, seq, rng.choice([0.0, 1.0])) for seq in range(0, 2000, 40)]
        rng.shuffle(events)
        while events:
            size = rng.randint(1, 9)
            bench.arrive(events[:size])
            events = events[size:]
            if rng.random() < 0.3:
                bench.deliver()  # what later turns out to be a part of something else is there by then
        bench.check()
        bench.outbox.close()


def test_late_event_folds_one_interval(tmp_path: Path) -> None:
    """A late event folds about one interval, whatever the age of the log."""
    bench = FoldBench(tmp_path, FakeReceiver(batch_size=500))
    rng = random.Random(5)
    events = [event(seq, seq, rng.choice([0.0, 1.0, 2.0])) for seq in range(20_000)]
    late = events.pop(3000)
    bench.arrive(events)
    known = bench.stream.known
    known[3000] = late
    with bench.outbox.transaction():
        bench.fold_runner.invalidate_new([("1:0", interval_of(3000, numbered=True), late.kind)], cursor=1)
        assert bench.fold() <= 2
    bench.check()
    bench.outbox.close()


class WatchedFold(StretchFold):
    """Notes which events it is shown."""

    def __init__(self) -> None:
        self.shown: list[int] = []

    def step(self, state: State, event: Event) -> tuple[State, Sequence[Document]]:
        assert event.seq is not None
        self.shown.append(event.seq)
        return super().step(state, event)


@pytest.mark.parametrize("days", [3, 30])
def test_late_event_costs_the_same(tmp_path: Path, days: int) -> None:
    """The work for one late event is the same at any age of the log.

    Through the whole engine: an interval or two are folded again, and only what changed is sent.
    """
    fold = WatchedFold()
    harness = EngineHarness(tmp_path, folds={"stretches": fold})
    late = 1805
    harness.pump.hidden = {late}
    harness.clock.sleep(86400 * days)
    assert harness.ask("sync").status == 0
    fold.shown.clear()
    harness.pump.hidden.clear()
    calls, there = harness.receiver.calls, dict(harness.receiver.there)
    assert harness.ask("sync").status == 0
    assert len({interval_of(seq, numbered=True) for seq in fold.shown}) <= 2
    assert len(fold.shown) == len(set(fold.shown)), "each event once"
    changed = [known for id_, known in harness.receiver.there.items() if there.get(id_) != known]
    assert (harness.receiver.calls - calls, changed) == (0, []), "the stretch around it is the same with it"
    harness.engine.close()


def test_inactive_pump_after_update(tmp_path: Path) -> None:
    """An inactive pump gets no documents after an update.

    No event that the fold reads is at its hand-over, and everything is folded again.
    """
    harness = CrashingEngineHarness(tmp_path, rng=random.Random(0))
    drawer = PumpRecord(
        pump="2", group=0, seq=40, at=BEGIN + timedelta(days=9), offset_s=HOME_S, raw={"kind": "snack", "value": 1.0}
    )
    rate = {"kind": "basal.delivered", "value": 1.0}
    worn = {"kind": "bolus.completed", "id": 7, "value": 2.0}
    harness.tell(
        [
            (drawer,),
            (attrs.evolve(drawer, seq=1200, at=drawer.at + timedelta(hours=3), raw=rate),),
            (attrs.evolve(drawer, pump="1", at=drawer.at + timedelta(hours=1), raw=worn),),
        ]
    )
    harness.sync_without_faults()
    harness.release += 1
    harness.reopen()
    harness.sync_without_faults()
    assert [known.unique_slot for known in harness.receiver.there.values()] == ["dose"]
    harness.engine.close()


END_OF_BOLUS = PumpRecord(
    pump="1", group=0, seq=500, at=BEGIN + timedelta(days=6, hours=7), offset_s=HOME_S,
    raw={"kind": "bolus.completed", "id": 4, "value": 12.0},
)  # fmt: skip
LATER = attrs.evolve(END_OF_BOLUS, seq=900, at=BEGIN + timedelta(days=20), raw=END_OF_BOLUS.raw | {"id": 5})


def after_lost_disk(folder: Path, *told: PumpRecord) -> CrashingEngineHarness:
    """A bolus was delivered, the disk was lost, and these records are all that the vendor has now."""
    harness = CrashingEngineHarness(folder, rng=random.Random(0))
    harness.tell([(END_OF_BOLUS,)])
    harness.sync_without_faults()
    harness.wipe("outbox", "log", "state", "index.sqlite")
    harness.tell([(each,) for each in told])
    harness.sync_without_faults()
    harness.engine.close()
    return harness


REQUEST = attrs.evolve(END_OF_BOLUS, seq=200, at=BEGIN + timedelta(hours=7), raw={"kind": "bolus.requested", "id": 4})
"""With it, the bolus belongs to a time before the first day of history."""


def test_stale_document_before_the_first(tmp_path: Path) -> None:
    """A disk is lost. A document that the log no longer makes is withdrawn, although all that are made now are later."""
    harness = after_lost_disk(tmp_path, END_OF_BOLUS, REQUEST, LATER)
    assert [known.at for known in harness.receiver.there.values()] == [LATER.at]


def test_days_before_the_log_stay(tmp_path: Path) -> None:
    """A disk is lost, and the vendor no longer has the first days (they were imported): their documents stay."""
    harness = after_lost_disk(tmp_path, LATER)
    assert [known.at for known in harness.receiver.there.values()] == [END_OF_BOLUS.at, LATER.at]


def test_unknown_times_withdraw_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk is lost. While some times of a pump are unknown, their documents wait; none at the receiver is deleted."""
    monkeypatch.setattr(EventStream, "has_unknown_times", True)
    harness = after_lost_disk(tmp_path, END_OF_BOLUS, REQUEST, LATER)
    assert [known.at for known in harness.receiver.there.values()] == [END_OF_BOLUS.at, LATER.at]


def test_interval_is_512_numbers() -> None:
    """An interval is a range of the pump's own sequence numbers."""
    assert interval_of(511, numbered=True) == 0
    assert interval_of(512, numbered=True) == 1
