"""The law: any order of arrival, any split, any trouble, any replay: what is delivered equals the fold of everything."""

from __future__ import annotations

import contextlib
import random
import tempfile
from datetime import timedelta
from pathlib import Path

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from worlds import START, MemoryStream, Shelf, StretchFold, event, one_pass

from tconnectsync import Retryable
from tconnectsync.delivery import Courier
from tconnectsync.folding import Folding, interval_of
from tconnectsync.outbox import Outbox


@attrs.define
class Bench:
    """Outbox, fold and receiver around one stream."""

    folder: Path
    shelf: Shelf
    stream: MemoryStream = attrs.field(factory=MemoryStream)
    arrived: int = 0
    outbox: Outbox = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.open()

    def open(self) -> None:
        self.outbox = Outbox(self.folder / "sink.sqlite")
        self.folding = Folding(self.outbox, {"stretches": StretchFold()})
        self.courier = Courier(self.outbox, self.shelf)

    folding: Folding = attrs.field(init=False)
    courier: Courier = attrs.field(init=False)

    def arrive(self, events: list, *, crash: bool = False) -> None:
        """New events: marked and folded in one transaction, or, with ``crash``, not at all."""
        for new in events:
            self.stream.known[new.seq] = new
        self.arrived += len(events)
        with contextlib.suppress(ZeroDivisionError), self.outbox.transaction():
            touched = [(self.stream.name, new.seq, new.kind, True) for new in events]
            self.folding.mark_new(touched, cursor=self.arrived)
            self.fold()
            if crash:
                raise ZeroDivisionError
        if crash:
            self.arrive(events)

    def fold(self) -> int:
        count = 0
        while self.folding.fold_next(lambda name: self.stream):
            count += 1
        return count

    def deliver(self, *, attempts: int = 400) -> None:
        now = START + timedelta(days=4000)
        for _ in range(attempts):
            try:
                if not self.courier.send_next(now) and self.outbox.next_due(now) is None:
                    return
            except Retryable:
                continue

    def check(self) -> None:
        self.shelf.trouble = 0.0
        self.deliver()
        wanted = one_pass(list(self.stream.known.values()))
        assert {id_: (d.at, d.content) for id_, d in self.shelf.there.items()} == {
            id_: (d.at, d.content) for id_, d in wanted.items()
        }


class Law(RuleBasedStateMachine):
    """A misbehaving world."""

    @initialize(seed=st.integers(0, 1 << 30), trouble=st.sampled_from([0.0, 0.3, 0.8]))
    def begin(self, seed: int, trouble: float) -> None:
        self.dice = random.Random(seed)
        self.folder = tempfile.TemporaryDirectory()
        self.bench = Bench(Path(self.folder.name), Shelf(dice=self.dice, trouble=trouble))
        seqs = sorted(self.dice.sample(range(3000), 60))
        minutes = sorted(self.dice.choices(range(20_000), k=60))
        events = [event(seq, minute, self.dice.choice([0.0, 1.0])) for seq, minute in zip(seqs, minutes, strict=True)]
        self.dice.shuffle(events)
        self.coming = events

    @rule(count=st.integers(1, 12), crash=st.booleans())
    def events_arrive(self, count: int, crash: bool) -> None:
        batch, self.coming = self.coming[:count], self.coming[count:]
        self.bench.arrive(batch, crash=crash)

    @rule(count=st.integers(1, 5))
    def some_come_again(self, count: int) -> None:
        known = list(self.bench.stream.known.values())
        self.bench.arrive(self.dice.sample(known, min(count, len(known))))

    @rule(attempts=st.integers(1, 6))
    def some_are_delivered(self, attempts: int) -> None:
        self.bench.deliver(attempts=attempts)

    @rule()
    def process_restarts(self) -> None:
        self.bench.outbox.close()
        self.bench.open()

    @rule()
    def all_is_replayed(self) -> None:
        with self.bench.outbox.transaction():
            self.bench.outbox.replay(["stretches"])
            self.bench.fold()

    @rule()
    def everything_is_folded_again(self) -> None:
        with self.bench.outbox.transaction():
            self.bench.outbox.start_over()
            known = self.bench.stream.known.values()
            self.bench.folding.mark_new([("1:0", new.seq, new.kind, True) for new in known], cursor=1)
            self.bench.fold()

    @rule()
    def receiver_loses_all_and_a_replay_follows(self) -> None:
        self.bench.shelf.there.clear()
        self.all_is_replayed()

    @invariant()
    def nothing_foreign_is_there(self) -> None:
        assert not hasattr(self, "bench") or len(self.bench.shelf.there) <= 61 * 2

    def teardown(self) -> None:
        if hasattr(self, "bench"):
            self.bench.arrive(self.coming)
            self.bench.check()
            self.bench.outbox.close()
            self.folder.cleanup()


def test_delivered_equals_the_fold_of_everything_whatever_happens() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Law,
        settings=settings(
            max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@settings(max_examples=40, deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_order_of_arrival_ends_in_the_same_documents(dice: random.Random) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), Shelf())
        events = [event(seq, seq * 3, dice.choice([0.0, 1.0])) for seq in range(0, 2000, 40)]
        dice.shuffle(events)
        while events:
            size = dice.randint(1, 9)
            bench.arrive(events[:size])
            events = events[size:]
        bench.check()
        bench.outbox.close()


def test_a_late_event_folds_about_one_interval_whatever_the_age_of_the_log(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Shelf(batch_size=500))
    dice = random.Random(5)
    events = [event(seq, seq, dice.choice([0.0, 1.0, 2.0])) for seq in range(20_000)]
    late = events.pop(3000)
    bench.arrive(events)
    known = bench.stream.known
    known[3000] = late
    with bench.outbox.transaction():
        bench.folding.mark_new([("1:0", 3000, late.kind, True)], cursor=1)
        assert bench.fold() <= 2
    bench.check()
    bench.outbox.close()


def test_an_interval_is_a_stretch_of_the_pumps_own_numbers() -> None:
    assert interval_of(511, numbered=True) == 0
    assert interval_of(512, numbered=True) == 1
