"""What the engine does with one pump and one receiver, command by command."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import attrs
import pytest

from tconnectsync import (
    Batch,
    CredentialsRefused,
    Delivery,
    Document,
    History,
    Outcome,
    ReceiverConflict,
    Retryable,
    document_id,
)
from tconnectsync.events import FACTS, BasalDelivered, ClockChanged, HistoryOpened, Unknown, UploadSeen
from tconnectsync.ingest.schedule import PollSchedule
from tconnectsync.jobs.dispatch import perform
from tconnectsync.jobs.messages import Request, Result
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.sender import Sender
from tconnectsync.outbox.stored_values import REWRITES_ALLOWED
from tconnectsync.projection.fold_runner import FoldRunner
from tconnectsync.runtime.sink_runner import SinkRunner
from tconnectsync.timeline.zones import Zones
from tests.support.clocks import FakeClock
from tests.support.engine.fakes import FakeReceiver, StretchFold
from tests.support.engine.harness import BEGIN, EngineHarness


def hours(numbers: Sequence[int]) -> list[datetime]:
    return [BEGIN + timedelta(hours=number) for number in numbers]


def test_sync_delivers_in_utc(harness: EngineHarness) -> None:
    """One sync delivers everything, at its time in UTC."""
    assert harness.ask("sync") == Result(status=0)
    assert harness.starts()[-3:] == hours([21, 22, 23])


def test_history_edge_local_day(harness: EngineHarness) -> None:
    """The delivered history begins with a local day.

    The first wanted day began at 22:00 UTC of the day before; what the lead-in shows before it is not sent.
    """
    harness.ask("sync")
    assert harness.starts()[0] == BEGIN


def test_history_opened_later_across_edge(harness: EngineHarness) -> None:
    """History that is opened later includes what reached over its old edge.

    A document that began before the edge and was finished long after it, as a night's sleep on the first wanted day.
    """
    harness.pump.stretch_h = 30
    harness.pump.opened = (HistoryOpened(first_day="2026-06-02"),)
    harness.clock.sleep(86400)
    harness.ask("sync")
    assert BEGIN not in harness.starts()
    harness.pump.opened += (HistoryOpened(first_day="2026-06-01", last_day="2026-06-01"),)
    harness.ask("backfill", first="2026-06-01", last="2026-06-01")
    assert harness.starts()[0] == BEGIN


def test_history_opened_later_running(harness: EngineHarness) -> None:
    """History that is opened later includes what is still running."""
    harness.pump.stretch_h = 100
    harness.pump.opened = (HistoryOpened(first_day="2026-06-02"),)
    harness.clock.sleep(86400)
    harness.ask("sync")
    assert harness.starts() == []
    harness.pump.opened += (HistoryOpened(first_day="2026-06-01", last_day="2026-06-01"),)
    harness.ask("backfill", first="2026-06-01", last="2026-06-01")
    assert harness.starts() == [BEGIN]


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

    The cursor moves together with what is to be folded: else nothing would ever touch those events again.
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


def test_replay_to_emptied_receiver(harness: EngineHarness) -> None:
    """A receiver that lost everything gets the same documents again."""
    harness.ask("sync")
    there = dict(harness.receiver.there)
    harness.receiver.there.clear()
    result = harness.ask("replay", sink="shelf")
    assert result.status == 0
    assert harness.receiver.there == there
    assert str(len(there)) in result.lines[0]


def test_replay_of_some_days(harness: EngineHarness) -> None:
    """A replay of some days leaves the other days alone."""
    harness.clock.sleep(86400 * 2)
    harness.ask("sync")
    harness.receiver.there.clear()
    harness.ask("replay", sink="shelf", first="2026-06-02", last="2026-06-02")
    assert harness.starts()[0] == BEGIN + timedelta(hours=22)
    assert harness.starts()[-1] == BEGIN + timedelta(hours=45)


def test_corrected_zone_moves_documents(harness: EngineHarness) -> None:
    """A corrected time zone moves every document and leaves none behind."""
    harness.clock.sleep(86400 * 4)
    harness.ask("sync")
    before = harness.starts()
    harness.reopen(zones=Zones(timezone="America/New_York"))
    while harness.engine.run_once(polling=False):
        pass
    assert harness.runner.health.state == "braked"
    assert harness.starts() == before
    harness.clock.sleep(3600 * 8)  # the newest documents lie in the future for a while
    assert harness.ask("replay", sink="shelf").status == 0
    horizon = BEGIN + timedelta(hours=4)
    assert harness.starts() == [at + timedelta(hours=6) for at in before if at + timedelta(hours=6) >= horizon]


def test_rewrites_wait_for_user(harness: EngineHarness) -> None:
    """Too many rewrites of the past wait for the user."""
    harness.clock.sleep(86400 * 3)
    harness.ask("sync")
    there = dict(harness.receiver.there)

    class RewordedFold(StretchFold):
        def running(self, state):  # type: ignore[no-untyped-def]
            return [attrs.evolve(known, content={"new": 1}) for known in super().running(state)]

        def step(self, state, event):  # type: ignore[no-untyped-def]
            state, finished = super().step(state, event)
            return state, [attrs.evolve(known, content={"new": 1}) for known in finished]

    harness.reopen(fingerprint="2")
    harness.runner.fold_runner.folds = {"stretches": RewordedFold()}
    result = harness.ask("sync")
    assert result.status == 6
    assert "tconnectsync resume shelf" in result.lines[0]
    assert harness.receiver.there == there
    assert harness.ask("resume", sink="shelf").status == 0
    assert all(known.content == {"new": 1} for known in harness.receiver.there.values())


def test_inhabited_site_waits_for_user(harness: EngineHarness) -> None:
    """A site with an older bridge's documents is left alone until the user decides."""
    harness.receiver.hold = ReceiverConflict(
        reason="another bridge was here", remedy="Run `tconnectsync adopt SINK --skip`."
    )
    result = harness.ask("sync")
    assert (result.status, harness.receiver.there) == (6, {})
    assert "adopt shelf --skip" in result.lines[0]
    assert harness.ask("adopt", sink="shelf", skip=True).status == 0
    assert harness.receiver.there


def test_new_address_stops_until_replay(harness: EngineHarness) -> None:
    """A new site address stops the sink until a replay."""
    harness.ask("sync")
    harness.reopen(receiver=FakeReceiver(address="shelf://two", batch_size=100))
    harness.clock.sleep(3600)
    result = harness.ask("sync")
    assert (result.status, harness.receiver.there) == (6, {})
    assert "tconnectsync replay shelf" in result.lines[0]
    assert harness.ask("replay", sink="shelf").status == 0
    assert harness.starts()[-2:] == hours([23, 24])


def test_wiped_disk(harness: EngineHarness, tmp_path: Path) -> None:
    """After the disk was wiped, no document is doubled or orphaned."""
    harness.ask("sync")
    there = dict(harness.receiver.there)
    other = EngineHarness(tmp_path / "fresh", clock=harness.clock, receiver=harness.receiver)
    stale = attrs.evolve(
        next(iter(there.values())), id="11111111-2222-5333-8444-555555555555", at=BEGIN + timedelta(hours=5, minutes=1)
    )
    harness.receiver.there[stale.id] = stale
    assert other.ask("sync").status == 0
    assert harness.receiver.there == there
    other.engine.close()


def test_deleted_outbox(harness: EngineHarness) -> None:
    """A deleted outbox is rebuilt and gives the same documents."""
    harness.ask("sync")
    there = dict(harness.receiver.there)
    harness.engine.close()
    for path in (harness.folder / "outbox").iterdir():
        path.unlink()
    harness.open()
    assert harness.ask("sync").status == 0
    assert harness.receiver.there == there


def test_refused_source_credentials(harness: EngineHarness) -> None:
    """Refused credentials of the source are not tried again and again."""
    harness.pump.trouble = CredentialsRefused("wrong password", remedy="Correct `sources.pump.password`.")
    assert harness.ask("sync").status == 4
    assert harness.ask("sync").status == 4
    harness.reopen()
    assert harness.ask("sync").status == 4
    assert harness.pump.polls == 1
    assert "`tconnectsync resume pump`" in (harness.engine.pollers["pump"].health.remedy or "")
    harness.pump.trouble = None
    assert harness.ask("resume", sink="pump").status == 0


class LockedReceiver(FakeReceiver):
    def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        raise CredentialsRefused("refused the secret", remedy="Check the secret.")


def test_refused_secret_by_mistake(harness: EngineHarness) -> None:
    """A sink whose secret was refused by mistake says how it continues.

    A server that was set up anew, or a page in front of it, may refuse what is right.
    """
    sender = harness.engine.runners["shelf"].sender
    sender.receiver = LockedReceiver()
    said = harness.ask("sync")
    assert said.status == 4
    assert "Check the secret." in said.lines[0]
    assert "`tconnectsync resume shelf`" in said.lines[0]
    sender.receiver = harness.receiver
    assert harness.ask("sync").status == 4
    assert harness.ask("resume", sink="shelf").status == 0


@attrs.define
class SecretRefusingReceiver(FakeReceiver):
    """Refuses the credentials so many times."""

    refusals: int = 1
    asked: list[datetime] = attrs.field(factory=list)
    clock: FakeClock | None = None
    remembers: bool = False
    """Refuses without asking anybody."""

    def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        if self.refusals:
            self.refusals -= 1
            assert self.clock is not None
            self.asked.append(self.clock.now())
            raise CredentialsRefused("refused the secret", asked=not self.remembers, remedy="Check the secret.")
        return super().deliver(batch)


def refuse_secret(harness: EngineHarness, refusals: int) -> SecretRefusingReceiver:
    receiver = SecretRefusingReceiver(batch_size=100, refusals=refusals, clock=harness.clock)
    harness.receiver = harness.runner.sender.receiver = receiver
    return receiver


def test_one_refused_secret_is_retried(harness: EngineHarness) -> None:
    """One refusal of the secret is a hiccup."""
    receiver = refuse_secret(harness, 1)
    assert harness.ask("sync").status == 4
    assert harness.runner.health.state == "backing_off"
    harness.clock.sleep(120)
    assert harness.ask("sync").status == 0
    assert len(receiver.there) > 20
    assert harness.runner.health == attrs.evolve(harness.runner.health, state="ok", refusals=0, message="")


def test_a_refusal_that_is_only_remembered_is_no_second_one(harness: EngineHarness) -> None:
    """The clock jumps, or a laptop sleeps, while the receiver's own minute after the first one is not over."""
    receiver = refuse_secret(harness, 2)
    harness.ask("sync")
    receiver.remembers = True
    harness.clock.sleep(120)
    assert harness.ask("sync").status == 4
    assert harness.runner.health.state == "backing_off"
    harness.clock.sleep(120)
    assert harness.ask("sync").status == 0


def test_refused_secret_for_days(
    harness: EngineHarness,
) -> None:
    """A receiver that refuses the secret for days is tried now and then, and delivery resumes without a command.

    After two refusals: an hour, then every six; each is reported, also after a restart.
    """
    receiver = refuse_secret(harness, 5)
    end = harness.clock.now() + timedelta(hours=21)
    while harness.clock.now() < end:
        result = harness.ask("sync")
        if receiver.refusals:
            assert result.status == 4
            assert "`tconnectsync resume shelf`" in " ".join(result.lines)
        harness.reopen()
        harness.clock.sleep(1200)
    assert not receiver.refusals
    waits = [(b - a).total_seconds() / 60 for a, b in pairwise(receiver.asked)]
    assert waits == pytest.approx([20, 60, 360, 360], abs=0.001)
    assert harness.runner.health.state == "ok"
    assert len(receiver.there) >= 24


def test_changed_credentials_tried_at_once(harness: EngineHarness) -> None:
    """After two refusals the sink says so; changed credentials are tried at once."""
    receiver = refuse_secret(harness, 2)
    harness.ask("sync")
    harness.clock.sleep(120)
    harness.ask("sync")
    assert harness.runner.health.state == "refused"
    harness.engine.close()
    harness.mark = "other"
    harness.open()
    assert harness.ask("sync").status == 0
    assert len(receiver.there) > 20


def test_backoff_survives_restart(harness: EngineHarness) -> None:
    """A back-off survives a restart."""
    harness.pump.trouble = Retryable("the cloud is down")
    assert harness.ask("sync").status == 3
    harness.reopen()
    assert harness.ask("sync").status == 3
    assert harness.pump.polls == 1
    harness.pump.trouble = None
    harness.clock.sleep(60)
    assert harness.ask("sync").status == 0


def test_source_trouble_keeps_delivery(harness: EngineHarness) -> None:
    """A source in trouble does not stop delivery."""
    harness.receiver.trouble = 1.0
    harness.ask("sync")
    harness.receiver.trouble = 0.0
    harness.pump.trouble = Retryable("the cloud is down")
    harness.clock.sleep(3600)
    assert harness.ask("sync").status == 3
    assert harness.starts()[-1] == hours([23])[0]


def test_full_disk_stops_polling(harness: EngineHarness) -> None:
    """A full disk stops polling and nothing else."""
    harness.room.append("only 3 MB are free")
    result = harness.ask("sync")
    assert (result.status, harness.pump.polls) == (3, 0)
    assert "only 3 MB are free" in result.lines[0]
    harness.room.clear()
    harness.clock.sleep(120)
    assert harness.ask("sync").status == 0


def test_full_outbox_stops_its_sink(harness: EngineHarness) -> None:
    """An outbox without room stops its own sink only, which resumes without a command.

    SQLite is given no page more; polling and the other sink go on, and the sink says what it waits for.
    """
    receiver = FakeReceiver(address="shelf://other", batch_size=100)
    outbox = Outbox.opened(harness.folder / "outbox" / "other.sqlite")
    other = SinkRunner.build(
        name="other", fingerprint="1", fold_runner=FoldRunner(outbox, harness.folds), sender=Sender(outbox, receiver),
        events=harness.engine.events, clock=harness.clock, rng=random.Random(1), rewrite_limit=10, credentials_fingerprint="m",
    )  # fmt: skip
    harness.engine.runners = {"other": other, **harness.engine.runners}
    pages = outbox._db.execute("PRAGMA page_count").fetchone()[0]
    outbox._db.execute(f"PRAGMA max_page_count = {pages}")
    harness.clock.sleep(86400 * 5)
    assert harness.ask("sync").status != 0
    assert harness.starts()[-1] == hours([6 * 24 - 1])[0]
    assert (other.health.state, receiver.there) == ("waiting", {})
    assert "full" in other.health.message
    assert harness.pump.polls == 1
    assert harness.engine.pollers["pump"].health.state == "ok"
    outbox._db.execute("PRAGMA max_page_count = 100000")
    harness.clock.sleep(120)
    while harness.engine.run_once(polling=False):
        pass
    assert receiver.there == harness.receiver.there
    assert other.health.state == "ok"


def test_clock_behind_log(harness: EngineHarness) -> None:
    """A computer whose clock is behind the log waits."""
    harness.ask("sync")
    harness.clock.time -= timedelta(days=400)
    result = harness.ask("sync")
    assert result.status == 3
    assert "clock" in result.lines[0]
    assert harness.pump.polls == 1
    assert harness.ask("resume", sink="pump").status == 0
    assert harness.pump.polls == 2


def test_daemon_loop_keeps_up(harness: EngineHarness) -> None:
    """The daemon's loop keeps up with nothing but the clock to move it."""
    for _ in range(20_000):
        if not harness.engine.run_once():
            harness.clock.sleep(max(0.01, harness.engine.next_due()))
        if harness.clock.now() > BEGIN + timedelta(days=1, hours=12):
            break
    assert harness.starts()[-1] == hours([35])[0]
    assert harness.pump.polls > 20


def test_restored_log_folded_again(harness: EngineHarness) -> None:
    """A log that was restored from a backup is folded again."""
    harness.ask("sync")
    there = dict(harness.receiver.there)
    harness.engine.close()
    kept = {path.name: path.read_bytes() for path in (harness.folder / "log").iterdir()}
    harness.open()
    harness.pump.hidden = set(range(1441, 1800))
    harness.clock.sleep(6 * 3600)
    harness.ask("sync")
    harness.engine.close()
    for path in (harness.folder / "log").iterdir():
        path.unlink()
    for name, content in kept.items():
        (harness.folder / "log" / name).write_bytes(content)
    for path in harness.folder.glob("index.sqlite*"):
        path.unlink()
    harness.open()
    assert harness.runner.outbox.checkpoints.cursor == 0
    harness.pump.hidden = set()
    harness.ask("sync")
    assert there.keys() <= harness.receiver.there.keys()
    assert harness.starts()[-6:] == hours([24, 25, 26, 27, 28, 29])


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


def test_source_code_raises(harness: EngineHarness) -> None:
    """A source whose own code fails is reported and tried again."""
    harness.pump.trouble = ConnectionError("a library's error that the source let through")
    result = harness.ask("sync")
    assert result.status == 3
    assert "failed unexpectedly: ConnectionError" in result.lines[0]
    harness.pump.trouble = None
    harness.clock.sleep(60)
    assert harness.ask("sync").status == 0


def test_two_backfills(harness: EngineHarness) -> None:
    """Two backfills at once are both read to their end."""
    asked = []
    harness.pump.backfills = lambda history, first, last: iter([asked.append((first, last)) or Batch()])
    harness.ask("sync")
    stretches = [("2025-01-01", "2025-01-31"), ("2025-03-01", "2025-03-05")]
    jobs = [
        perform(harness.engine, Request(command="backfill", args={"first": first, "last": last}), harness.zones.zone_at)
        for first, last in stretches
    ]
    results: list[Result] = []
    while jobs:
        for job in list(jobs):
            step = next(job)
            if isinstance(step, Result):
                results.append(step)
                jobs.remove(job)
    assert [result.status for result in results] == [0, 0]
    days = {day for first, last in asked for day in range(first.toordinal(), last.toordinal() + 1)}
    assert len(days) == 31 + 5


def test_backfill_lets_news_through(harness: EngineHarness) -> None:
    """A long backfill lets today's data through."""
    harness.ask("sync")
    seen = []

    def slow(history: History, first: object, last: object) -> Iterator[Batch]:
        for _ in range(10):
            harness.clock.sleep(60)
            seen.append(len(harness.receiver.there))
            yield Batch()

    harness.pump.backfills = slow
    polls = harness.pump.polls
    job = perform(harness.engine, Request(command="backfill", args={"first": "2025-01-01"}), harness.zones.zone_at)
    while not isinstance(next(job), Result):
        harness.engine.run_once()
    assert harness.pump.polls - polls >= 5
    assert seen[-1] > seen[0]


def test_backfill_counts_events_once(harness: EngineHarness) -> None:
    """An event that a backfill gives several times is counted once.

    Its parts overlap. What it brought itself was not there before.
    """
    harness.pump.hidden = {30, 60, 90}
    harness.ask("sync")
    held = sum(event.kind not in FACTS for event in harness.engine.events.events())
    assert held == 286
    parts = 4
    harness.pump.polls = 0
    first = f"{BEGIN - timedelta(days=28 * parts - 10):%Y-%m-%d}"
    result = harness.ask("backfill", first=first, last="2026-06-02")
    assert harness.pump.polls >= parts
    assert result.lines[0].startswith("0 new pump events, 286 were in the log already")
    harness.pump.hidden = set()
    result = harness.ask("backfill", first=first, last="2026-06-02")
    assert result.lines[0].startswith("3 new pump events, 286 were in the log already")


def test_backfill_fails(harness: EngineHarness) -> None:
    """A backfill that could not be read says so."""
    harness.ask("sync")

    def broken(history: History, first: object, last: object) -> Iterator[Batch]:
        raise Retryable("no answer")
        yield

    harness.pump.backfills = broken
    assert harness.ask("backfill", first="2025-01-01", last="2025-01-05").status == 3


def test_other_pumps_documents_stay(harness: EngineHarness) -> None:
    """Documents of another pump on the same site are left alone.

    Another machine's, which this log knows nothing of.
    """
    foreign = Document(id=document_id("other"), collection="things", at=BEGIN + timedelta(hours=3), content={})
    harness.receiver.there[foreign.id] = foreign
    harness.receiver.pump_of[foreign.id] = "2"
    harness.clock.sleep(86400)
    assert harness.ask("sync").status == 0
    assert foreign.id in harness.receiver.there


def test_resume_without_brake(harness: EngineHarness) -> None:
    """``resume`` without a brake is no consent to a later one."""
    harness.ask("sync")
    harness.ask("resume", sink="shelf")
    assert not harness.runner.outbox.values.get(REWRITES_ALLOWED)


def test_resume_retries_refused(harness: EngineHarness) -> None:
    """``resume`` tries again what was refused before the halt."""
    harness.receiver.refuse_all = True
    assert harness.ask("sync").status == 6
    assert harness.runner.health.state == "halted"
    harness.receiver.refuse_all = False
    assert harness.ask("resume", sink="shelf").status == 0
    assert harness.starts() == hours(range(24))


def test_plans_of_clock_years_ahead(harness: EngineHarness) -> None:
    """Plans that were made while the clock was years ahead are not believed."""
    harness.ask("sync")
    right = harness.clock.time
    harness.clock.time = right + timedelta(days=1400)
    harness.pump.trouble = Retryable("this computer's clock is wrong")
    harness.ask("sync")
    harness.pump.trouble = None
    harness.clock.time = right + timedelta(minutes=30)
    harness.reopen()
    assert harness.ask("sync").status == 0


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

    Polling goes on meanwhile, so that nothing depends on what the vendor still has by then.
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
