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
    Retryable,
    SiteConflict,
    document_id,
)
from tconnectsync.events import FACTS, BasalDelivered, ClockChanged, HistoryOpened, Unknown, UploadSeen
from tconnectsync.ingest.schedule import PollSchedule
from tconnectsync.jobs.dispatch import perform
from tconnectsync.jobs.messages import Request, Result
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.facts import REWRITES_ALLOWED
from tconnectsync.outbox.sender import Sender
from tconnectsync.projection.fold_runner import FoldRunner
from tconnectsync.runtime.sink_runner import SinkRunner
from tconnectsync.timeline.zones import Zones
from tests.engine.fakes import Shelf, StretchFold
from tests.engine.harness import BEGIN, World
from tests.support.clocks import FakeClock


def hours(numbers: Sequence[int]) -> list[datetime]:
    return [BEGIN + timedelta(hours=number) for number in numbers]


def test_one_sync_carries_everything_over_in_true_utc(world: World) -> None:
    assert world.ask("sync") == Result(status=0)
    assert world.starts()[-3:] == hours([21, 22, 23])


def test_the_edge_of_history_is_a_local_day(world: World) -> None:
    """The first wanted day began at 22:00 UTC of the day before; what the lead-in shows before it is not sent."""
    world.ask("sync")
    assert world.starts()[0] == BEGIN


def test_history_that_is_opened_later_brings_what_reached_over_its_old_edge(world: World) -> None:
    """A document that began before the edge and was finished long after it, as a night's sleep on the first wanted day."""
    world.pump.stretch_h = 30
    world.pump.opened = (HistoryOpened(first_day="2026-06-02"),)
    world.clock.sleep(86400)
    world.ask("sync")
    assert BEGIN not in world.starts()
    world.pump.opened += (HistoryOpened(first_day="2026-06-01", last_day="2026-06-01"),)
    world.ask("backfill", first="2026-06-01", last="2026-06-01")
    assert world.starts()[0] == BEGIN


def test_history_that_is_opened_later_brings_what_still_goes_on(world: World) -> None:
    world.pump.stretch_h = 100
    world.pump.opened = (HistoryOpened(first_day="2026-06-02"),)
    world.clock.sleep(86400)
    world.ask("sync")
    assert world.starts() == []
    world.pump.opened += (HistoryOpened(first_day="2026-06-01", last_day="2026-06-01"),)
    world.ask("backfill", first="2026-06-01", last="2026-06-01")
    assert world.starts() == [BEGIN]


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


def test_what_was_being_folded_when_the_process_died_is_folded_by_the_next_one(world: World) -> None:
    """The cursor moves together with what is to be folded: else nothing would ever touch those events again."""

    class Dying(StretchFold):
        def step(self, state, event):  # type: ignore[no-untyped-def]
            raise KeyboardInterrupt

    world.reopen(folds={"stretches": Dying()})
    with pytest.raises(KeyboardInterrupt):
        world.ask("sync")
    world.reopen(folds={"stretches": StretchFold()})
    assert world.ask("sync") == Result(status=0)
    assert world.starts() == hours(range(24))


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
    while world.engine.run_once(polling=False):
        pass
    assert world.runner.health.state == "braked"
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
    world.runner.fold_runner.folds = {"stretches": Reworded()}
    result = world.ask("sync")
    assert result.status == 6
    assert "tconnectsync resume shelf" in result.lines[0]
    assert world.shelf.there == there
    assert world.ask("resume", sink="shelf").status == 0
    assert all(known.content == {"new": 1} for known in world.shelf.there.values())


def test_an_inhabited_site_is_left_alone_until_the_user_says_so(world: World) -> None:
    world.shelf.hold = SiteConflict(reason="another bridge was here", remedy="Run `tconnectsync adopt SINK --skip`.")
    result = world.ask("sync")
    assert (result.status, world.shelf.there) == (6, {})
    assert "adopt shelf --skip" in result.lines[0]
    assert world.ask("adopt", sink="shelf", skip=True).status == 0
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
    stale = attrs.evolve(
        next(iter(there.values())), id="11111111-2222-5333-8444-555555555555", at=BEGIN + timedelta(hours=5, minutes=1)
    )
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
    assert "`tconnectsync resume pump`" in (world.engine.pollers["pump"].health.remedy or "")
    world.pump.trouble = None
    assert world.ask("resume", sink="pump").status == 0


class LockedShelf(Shelf):
    def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        raise CredentialsRefused("refused the secret", remedy="Check the secret.")


def test_a_sink_whose_secret_was_refused_by_mistake_says_how_it_goes_on(world: World) -> None:
    """A server that was set up anew, or a page in front of it, may refuse what is right."""
    sender = world.engine.runners["shelf"].sender
    sender.receiver = LockedShelf()
    said = world.ask("sync")
    assert said.status == 4
    assert "Check the secret." in said.lines[0]
    assert "`tconnectsync resume shelf`" in said.lines[0]
    sender.receiver = world.shelf
    assert world.ask("sync").status == 4
    assert world.ask("resume", sink="shelf").status == 0


@attrs.define
class Bouncer(Shelf):
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


def bouncer(world: World, refusals: int) -> Bouncer:
    shelf = Bouncer(batch_size=100, refusals=refusals, clock=world.clock)
    world.shelf = world.runner.sender.receiver = shelf
    return shelf


def test_one_refusal_of_the_receivers_is_a_hiccup(world: World) -> None:
    shelf = bouncer(world, 1)
    assert world.ask("sync").status == 4
    assert world.runner.health.state == "backing_off"
    world.clock.sleep(120)
    assert world.ask("sync").status == 0
    assert len(shelf.there) > 20
    assert world.runner.health == attrs.evolve(world.runner.health, state="ok", refusals=0, message="")


def test_a_refusal_that_is_only_remembered_is_no_second_one(world: World) -> None:
    """The clock jumps, or a laptop sleeps, while the receiver's own minute after the first one is not over."""
    shelf = bouncer(world, 2)
    world.ask("sync")
    shelf.remembers = True
    world.clock.sleep(120)
    assert world.ask("sync").status == 4
    assert world.runner.health.state == "backing_off"
    world.clock.sleep(120)
    assert world.ask("sync").status == 0


def test_a_receiver_that_refuses_for_days_is_tried_now_and_then_and_delivery_resumes_by_itself(world: World) -> None:
    """After two refusals: an hour, then every six; each is told, also over restarts."""
    shelf = bouncer(world, 5)
    end = world.clock.now() + timedelta(hours=21)
    while world.clock.now() < end:
        result = world.ask("sync")
        if shelf.refusals:
            assert result.status == 4
            assert "`tconnectsync resume shelf`" in " ".join(result.lines)
        world.reopen()
        world.clock.sleep(1200)
    assert not shelf.refusals
    waits = [(b - a).total_seconds() / 60 for a, b in pairwise(shelf.asked)]
    assert waits == pytest.approx([20, 60, 360, 360], abs=0.001)
    assert world.runner.health.state == "ok"
    assert len(shelf.there) >= 24


def test_after_two_refusals_the_sink_says_so_and_changed_credentials_are_tried_at_once(world: World) -> None:
    shelf = bouncer(world, 2)
    world.ask("sync")
    world.clock.sleep(120)
    world.ask("sync")
    assert world.runner.health.state == "refused"
    world.engine.close()
    world.mark = "other"
    world.open()
    assert world.ask("sync").status == 0
    assert len(shelf.there) > 20


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


def test_an_outbox_without_room_stops_its_sink_alone_and_goes_on_by_itself(world: World) -> None:
    """SQLite is given no page more; polling and the other sink go on, and the sink says what it waits for."""
    shelf = Shelf(address="shelf://other", batch_size=100)
    outbox = Outbox.opened(world.folder / "outbox" / "other.sqlite")
    other = SinkRunner.build(
        name="other", fingerprint="1", fold_runner=FoldRunner(outbox, world.folds), sender=Sender(outbox, shelf),
        events=world.engine.events, clock=world.clock, rng=random.Random(1), rewrite_limit=10, credentials_fingerprint="m",
    )  # fmt: skip
    world.engine.runners = {"other": other, **world.engine.runners}
    pages = outbox._db.execute("PRAGMA page_count").fetchone()[0]
    outbox._db.execute(f"PRAGMA max_page_count = {pages}")
    world.clock.sleep(86400 * 5)
    assert world.ask("sync").status != 0
    assert world.starts()[-1] == hours([6 * 24 - 1])[0]
    assert (other.health.state, shelf.there) == ("waiting", {})
    assert "full" in other.health.message
    assert world.pump.polls == 1
    assert world.engine.pollers["pump"].health.state == "ok"
    outbox._db.execute("PRAGMA max_page_count = 100000")
    world.clock.sleep(120)
    while world.engine.run_once(polling=False):
        pass
    assert shelf.there == world.shelf.there
    assert other.health.state == "ok"


def test_a_computer_whose_clock_is_behind_the_log_waits(world: World) -> None:
    world.ask("sync")
    world.clock.time -= timedelta(days=400)
    result = world.ask("sync")
    assert result.status == 3
    assert "clock" in result.lines[0]
    assert world.pump.polls == 1
    assert world.ask("resume", sink="pump").status == 0
    assert world.pump.polls == 2


def test_the_daemons_loop_keeps_up_with_nothing_but_the_clock_to_move_it(world: World) -> None:
    for _ in range(20_000):
        if not world.engine.run_once():
            world.clock.sleep(max(0.01, world.engine.next_due()))
        if world.clock.now() > BEGIN + timedelta(days=1, hours=12):
            break
    assert world.starts()[-1] == hours([35])[0]
    assert world.pump.polls > 20


def test_a_log_that_was_put_back_from_a_backup_is_folded_anew(world: World) -> None:
    world.ask("sync")
    there = dict(world.shelf.there)
    world.engine.close()
    kept = {path.name: path.read_bytes() for path in (world.folder / "log").iterdir()}
    world.open()
    world.pump.hidden = set(range(1441, 1800))
    world.clock.sleep(6 * 3600)
    world.ask("sync")
    world.engine.close()
    for path in (world.folder / "log").iterdir():
        path.unlink()
    for name, content in kept.items():
        (world.folder / "log" / name).write_bytes(content)
    for path in world.folder.glob("index.sqlite*"):
        path.unlink()
    world.open()
    assert world.runner.outbox.checkpoints.cursor == 0
    world.pump.hidden = set()
    world.ask("sync")
    assert there.keys() <= world.shelf.there.keys()
    assert world.starts()[-6:] == hours([24, 25, 26, 27, 28, 29])


def test_an_unknown_record_is_counted_once_however_often_it_is_fetched(world: World) -> None:
    class Odd(type(world.pump)):  # type: ignore[misc]
        def poll(self, history: History) -> Iterator[Batch]:
            odd = self.event(7, "unknown", BEGIN, Unknown(code="999", reason="no such code"))
            yield Batch(events=[odd])
            yield from super().poll(history)

    world.engine.pollers["pump"].source = Odd(world.clock)
    for _ in range(3):
        assert world.ask("sync").status == 0
    assert world.engine.pollers["pump"].state.unknown_codes == {"999": 1}


def test_a_source_whose_own_code_fails_is_told_and_tried_again(world: World) -> None:
    world.pump.trouble = ConnectionError("a library's error that the source let through")
    result = world.ask("sync")
    assert result.status == 3
    assert "failed unexpectedly: ConnectionError" in result.lines[0]
    world.pump.trouble = None
    world.clock.sleep(60)
    assert world.ask("sync").status == 0


def test_two_backfills_at_once_are_both_read_to_their_end(world: World) -> None:
    asked = []
    world.pump.backfills = lambda history, first, last: iter([asked.append((first, last)) or Batch()])
    world.ask("sync")
    stretches = [("2025-01-01", "2025-01-31"), ("2025-03-01", "2025-03-05")]
    jobs = [
        perform(world.engine, Request(command="backfill", args={"first": first, "last": last}), world.zones.zone_at)
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


def test_a_long_backfill_lets_todays_data_through(world: World) -> None:
    world.ask("sync")
    seen = []

    def slow(history: History, first: object, last: object) -> Iterator[Batch]:
        for _ in range(10):
            world.clock.sleep(60)
            seen.append(len(world.shelf.there))
            yield Batch()

    world.pump.backfills = slow
    polls = world.pump.polls
    job = perform(world.engine, Request(command="backfill", args={"first": "2025-01-01"}), world.zones.zone_at)
    while not isinstance(next(job), Result):
        world.engine.run_once()
    assert world.pump.polls - polls >= 5
    assert seen[-1] > seen[0]


def test_an_event_that_a_backfill_gives_several_times_is_counted_once(world: World) -> None:
    """Its parts overlap. What it brought itself was not there before."""
    world.pump.hidden = {30, 60, 90}
    world.ask("sync")
    held = sum(event.kind not in FACTS for event in world.engine.events.events())
    assert held == 286
    parts = 4
    world.pump.polls = 0
    first = f"{BEGIN - timedelta(days=28 * parts - 10):%Y-%m-%d}"
    result = world.ask("backfill", first=first, last="2026-06-02")
    assert world.pump.polls >= parts
    assert result.lines[0].startswith("0 new pump events, 286 were in the log already")
    world.pump.hidden = set()
    result = world.ask("backfill", first=first, last="2026-06-02")
    assert result.lines[0].startswith("3 new pump events, 286 were in the log already")


def test_a_backfill_that_could_not_be_read_says_so(world: World) -> None:
    world.ask("sync")

    def broken(history: History, first: object, last: object) -> Iterator[Batch]:
        raise Retryable("no answer")
        yield

    world.pump.backfills = broken
    assert world.ask("backfill", first="2025-01-01", last="2025-01-05").status == 3


def test_documents_of_another_pump_on_the_same_site_are_left_alone(world: World) -> None:
    """Another machine's, which this log knows nothing of."""
    foreign = Document(id=document_id("other"), collection="things", at=BEGIN + timedelta(hours=3), content={})
    world.shelf.there[foreign.id] = foreign
    world.shelf.pump_of[foreign.id] = "2"
    world.clock.sleep(86400)
    assert world.ask("sync").status == 0
    assert foreign.id in world.shelf.there


def test_a_resume_without_a_brake_is_no_consent_to_a_later_one(world: World) -> None:
    world.ask("sync")
    world.ask("resume", sink="shelf")
    assert not world.runner.outbox.facts.get(REWRITES_ALLOWED)


def test_what_was_refused_before_a_halt_is_tried_again_by_resume(world: World) -> None:
    world.shelf.refuse_all = True
    assert world.ask("sync").status == 6
    assert world.runner.health.state == "halted"
    world.shelf.refuse_all = False
    assert world.ask("resume", sink="shelf").status == 0
    assert world.starts() == hours(range(24))


def test_plans_made_by_a_clock_that_was_years_ahead_are_not_believed(world: World) -> None:
    world.ask("sync")
    right = world.clock.time
    world.clock.time = right + timedelta(days=1400)
    world.pump.trouble = Retryable("this computer's clock is wrong")
    world.ask("sync")
    world.pump.trouble = None
    world.clock.time = right + timedelta(minutes=30)
    world.reopen()
    assert world.ask("sync").status == 0


def test_reading_back_a_long_site_lets_others_have_their_turn(world: World) -> None:
    for number in range(1200):
        known = Document(
            id=document_id("old", number), collection="things", at=BEGIN + timedelta(minutes=number), content={}
        )
        world.shelf.there[known.id] = known
        world.shelf.pump_of[known.id] = "2"
    world.engine.pollers["pump"].request_poll()
    turns = 0
    while world.engine.run_once(polling=False):
        turns += 1
    assert turns >= 5
    assert len(world.shelf.there) == 1200 + 24


def test_a_year_passes_in_seconds(world: World) -> None:
    """The daemon's own loop through 365 days of a pump that is read every six hours, with a real log and outbox."""

    class Yearly(type(world.pump)):  # type: ignore[misc]
        told: int = 0

        def poll(self, history: History) -> Iterator[Batch]:
            first, now = self.told, self.clock.now()
            self.told = int((now - BEGIN).total_seconds() // 3600)
            yield Batch(
                events=[
                    self.fact("upload.seen", f"upload:{now.isoformat()}", UploadSeen(uploaded_at=now)),
                    *(self.fact("history.opened", f"opened:{body.first_day}", body) for body in self.opened),
                    self.event(1, "clock.changed", BEGIN - timedelta(days=1), ClockChanged(part="time", step_s=3600.0)),
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

    poller = world.engine.pollers["pump"]
    poller.source, poller.schedule = Yearly(world.clock), PollSchedule(poll_min_s=6 * 3600, poll_max_s=6 * 3600)
    end = world.clock.now() + timedelta(days=365)
    while world.clock.now() < end:
        if not world.engine.run_once():
            world.clock.sleep(
                max(1.0, min(world.engine.next_due() * 30, (end - world.clock.now()).total_seconds() + 1))
            )
    assert len(world.shelf.there) >= 365 * 24
    assert world.starts() == hours(range(len(world.shelf.there)))


def test_a_receiver_that_was_away_for_thirty_days_is_caught_up_newest_first(tmp_path: Path) -> None:
    """Polling goes on meanwhile, so that nothing depends on what the vendor still has by then."""
    world = World(tmp_path)
    world.clock.time = BEGIN + timedelta(days=1)
    assert world.ask("sync").status == 0
    world.shelf.trouble_delivering = Retryable("the site is down")
    for _ in range(30):
        world.clock.sleep(24 * 3600)
        assert world.ask("sync").status == 5
    assert len(world.shelf.there) == 24
    world.pump.trouble = Retryable("and now the cloud")
    world.shelf.trouble_delivering = None
    world.clock.sleep(3600)
    world.ask("sync")
    caught_up = [known.at for known in world.shelf.there.values()][24:]
    assert caught_up == sorted(caught_up, reverse=True)
    assert world.starts() == [BEGIN + timedelta(hours=hour) for hour in range(31 * 24)]
    world.engine.close()
