"""An engine with one pump and one receiver, from a first sync to a year of the daemon's loop."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import attrs
import pytest

from tconnectsync import Batch, Document, History, ReceiverConflict, Retryable, document_id
from tconnectsync.events import BasalDelivered, ClockChanged, Unknown, UploadSeen
from tconnectsync.ingest.schedule import PollSchedule
from tconnectsync.jobs.messages import Result
from tconnectsync.runtime import sink_folding
from tests.support.clocks import FakeClock
from tests.support.engine.fakes import FakeReceiver, StretchFold
from tests.support.engine.harness import BEGIN, EngineHarness, hours


def test_sync_delivers_in_utc(harness: EngineHarness) -> None:
    """One sync delivers everything, at its time in UTC."""
    assert harness.ask("sync") == Result(status=0)
    assert harness.starts()[-3:] == hours([21, 22, 23])


def test_first_batch_has_the_newest(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first batch of a first sync has the newest documents, however many slices the folding takes."""
    monkeypatch.setattr(sink_folding, "SLICE_S", 0.0)
    harness.clock.sleep(6 * 86400)  # more than one row of intervals, which a slice folds together
    harness.reopen(receiver=FakeReceiver(batch_size=3))
    while not harness.receiver.calls:
        assert harness.engine.run_once()
    assert harness.starts() == hours([165, 166, 167])


@attrs.define
class HangingReceiver(FakeReceiver):
    """A site that hangs while it is looked at."""

    clock: FakeClock = attrs.field(kw_only=True)

    def inspect(self, first: datetime, last: datetime) -> ReceiverConflict | None:
        self.calls += 1
        self.clock.sleep(180)
        raise Retryable("the site did not answer in time", in_doubt=False)


def test_hanging_site_holds_up_one_sink(harness: EngineHarness) -> None:
    """A site that hangs holds up a pass of the loop for one of its sinks only, and each of them gets its turn."""
    hanging = [HangingReceiver(clock=harness.clock) for _ in range(4)]
    runners = {f"sink{i}": harness.another_runner(f"sink{i}", receiver) for i, receiver in enumerate(hanging)}
    harness.engine.runners = {**runners, **harness.engine.runners}
    passes = []
    while not all(receiver.calls for receiver in hanging) or not harness.receiver.there:
        begin_s = harness.clock.elapsed_s
        assert harness.engine.run_once()
        passes.append(harness.clock.elapsed_s - begin_s)
    assert max(passes) < 181


def test_second_sync_sends_nothing(harness: EngineHarness) -> None:
    """A second sync without new data sends nothing."""
    harness.ask("sync")
    calls = harness.receiver.calls
    assert harness.ask("sync") == Result(status=0)
    assert harness.receiver.calls == calls


def test_restart_resumes(harness: EngineHarness) -> None:
    """After a restart the engine resumes where it was."""
    harness.ask("sync")
    harness.reopen()
    calls, there = harness.receiver.calls, dict(harness.receiver.there)
    harness.clock.sleep(3600)
    harness.ask("sync")
    assert harness.receiver.calls == calls + 1
    assert len(harness.receiver.there) == len(there) + 1


def test_fold_killed_in_the_middle(harness: EngineHarness) -> None:
    """What was being folded when the process died is folded by the next process.

    The cursor moves in the same transaction as the marks for folding; otherwise nothing would touch those events again.
    """

    class DyingFold(StretchFold):
        def step(self, state, event):  # type: ignore[no-untyped-def]
            raise KeyboardInterrupt

    harness.reopen(folds={"stretches": DyingFold()})
    with pytest.raises(KeyboardInterrupt):
        harness.ask("sync")
    harness.reopen(folds={"stretches": StretchFold()})
    assert harness.ask("sync") == Result(status=0)
    assert harness.starts() == hours(range(24))


def test_late_events(harness: EngineHarness) -> None:
    """Late events end up where they belong."""
    harness.pump.hidden = set(range(120, 180))
    harness.ask("sync")
    before = len(harness.receiver.there)
    harness.pump.hidden = set()
    harness.ask("sync")
    assert len(harness.receiver.there) == before + 1
    assert hours([2])[0] in harness.starts()


def test_daemon_loop_keeps_up(harness: EngineHarness) -> None:
    """The daemon's loop keeps up; only the clock moves it."""
    for _ in range(20_000):
        if not harness.engine.run_once():
            harness.clock.sleep(max(0.01, harness.engine.next_due()))
        if harness.clock.now() > BEGIN + timedelta(days=1, hours=12):
            break
    assert harness.starts()[-1] == hours([35])[0]
    assert harness.pump.polls > 20


def test_unknown_record_counted_once(harness: EngineHarness) -> None:
    """An unknown record is counted once, however often it is fetched."""

    class Odd(type(harness.pump)):  # type: ignore[misc]
        def poll(self, history: History) -> Iterator[Batch]:
            odd = self.event(7, "unknown", BEGIN, Unknown(code="999", reason="no such code"))
            yield Batch(events=[odd])
            yield from super().poll(history)

    harness.engine.pollers["pump"].source = Odd(harness.clock)
    for _ in range(3):
        assert harness.ask("sync").status == 0
    assert harness.engine.pollers["pump"].state.unknown_codes == {"999": 1}


def test_other_pumps_documents_stay(harness: EngineHarness) -> None:
    """Documents of another pump on the same site are left alone.

    They come from another machine, and this log does not know that pump.
    """
    foreign = Document(id=document_id("other"), collection="things", at=BEGIN + timedelta(hours=3), content={})
    harness.receiver.there[foreign.id] = foreign
    harness.receiver.pump_of[foreign.id] = "2"
    harness.clock.sleep(86400)
    assert harness.ask("sync").status == 0
    assert foreign.id in harness.receiver.there


def test_long_read_back_yields(harness: EngineHarness) -> None:
    """Reading back a site with many documents lets other work have its turn."""
    for number in range(1200):
        known = Document(
            id=document_id("old", number), collection="things", at=BEGIN + timedelta(minutes=number), content={}
        )
        harness.receiver.there[known.id] = known
        harness.receiver.pump_of[known.id] = "2"
    harness.engine.pollers["pump"].request_poll()
    turns = 0
    while harness.engine.run_once(polling=False):
        turns += 1
    assert turns >= 5
    assert len(harness.receiver.there) == 1200 + 24


def test_a_year_of_the_loop(harness: EngineHarness) -> None:
    """The daemon's own loop through 365 days of a pump that is read every twenty hours, with a real log and outbox."""

    class Yearly(type(harness.pump)):  # type: ignore[misc]
        told: int = 0

        def poll(self, history: History) -> Iterator[Batch]:
            first, now = self.told, self.clock.now()
            clock_set = self.event(
                1, "clock.changed", BEGIN - timedelta(days=1), ClockChanged(part="time", step_s=3600.0)
            )
            self.told = int((now - BEGIN).total_seconds() // 3600)
            yield Batch(
                events=[
                    self.fact("upload.seen", f"upload:{now.isoformat()}", UploadSeen(uploaded_at=now)),
                    *(self.fact("history.opened", f"opened:{body.first_day}", body) for body in self.opened),
                    *([] if first else [clock_set]),
                    *(
                        self.event(
                            10 + hour * 60,
                            "basal.delivered",
                            BEGIN + timedelta(hours=hour),
                            BasalDelivered(rate_u_per_h=float(hour % 3)),
                        )
                        for hour in range(first, self.told)
                    ),
                ]
            )

    poller = harness.engine.pollers["pump"]
    poller.source, poller.schedule = Yearly(harness.clock), PollSchedule(poll_min_s=20 * 3600, poll_max_s=20 * 3600)
    end = harness.clock.now() + timedelta(days=365)
    while harness.clock.now() < end:
        if not harness.engine.run_once():
            harness.clock.sleep(
                max(1.0, min(harness.engine.next_due(8 * 3600), (end - harness.clock.now()).total_seconds() + 1))
            )
    assert len(harness.receiver.there) >= 365 * 24
    assert harness.starts() == hours(range(len(harness.receiver.there)))


def test_receiver_away_thirty_days(tmp_path: Path) -> None:
    """A receiver that was away for thirty days is caught up, newest documents first.

    Polling continues meanwhile, so that it does not matter what the vendor still has by then.
    """
    harness = EngineHarness(tmp_path)
    harness.pump.every_min = 60
    harness.clock.time = BEGIN + timedelta(days=1)
    assert harness.ask("sync").status == 0
    harness.receiver.trouble_delivering = Retryable("the site is down")
    for _ in range(30):
        harness.clock.sleep(24 * 3600)
        assert harness.ask("sync").status == 5
    assert len(harness.receiver.there) == 24
    harness.pump.trouble = Retryable("and now the cloud")
    harness.receiver.trouble_delivering = None
    harness.clock.sleep(3600)
    harness.ask("sync")
    caught_up = [known.at for known in harness.receiver.there.values()][24:]
    assert caught_up == sorted(caught_up, reverse=True)
    assert harness.starts() == [BEGIN + timedelta(hours=hour) for hour in range(31 * 24)]
    harness.engine.close()
