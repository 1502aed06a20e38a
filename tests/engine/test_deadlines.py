"""Remembered deadlines: whatever the host's clock said when they were set, none of them silences anything for long."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tconnectsync.errors import CredentialsRefused, Retryable
from tconnectsync.eventlog import EventLog
from tconnectsync.ingest.source_state import SourceState
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.facts import HEALTH
from tconnectsync.plugin.receiver import Delivery, Outcome, Postponed
from tconnectsync.reconcile.daily import ComparisonState
from tconnectsync.retry.backoff import LONGEST_ASKED_WAIT_S, backoff_s
from tconnectsync.retry.deadline import TOLERANCE_S, RememberedDeadline
from tconnectsync.retry.health import Health
from tconnectsync.retry.stored_json import CONVERTER
from tests.engine.fakes import OpenShelf
from tests.engine.harness import BEGIN, World
from tests.support.clocks import FakeClock

NOW = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
WRONG_BY = [sign * timedelta(**by) for sign in (1, -1) for by in ({"hours": 1}, {"days": 1}, {"days": 400})]


def remembered(deadline: RememberedDeadline) -> RememberedDeadline:
    """As it comes out of its file."""
    return CONVERTER.loads(CONVERTER.dumps(deadline), RememberedDeadline)


# --- the value ------------------------------------------------------------------------------------------------------


def test_it_holds_until_it_is_over() -> None:
    clock = FakeClock(NOW, still=True)
    for deadline in (RememberedDeadline.after(100, clock), remembered(RememberedDeadline.after(100, clock))):
        assert deadline.time(clock.now(), clock) == NOW + timedelta(seconds=100)
        assert not deadline.is_over(clock)
    clock.sleep(99)
    assert not deadline.is_over(clock)
    clock.sleep(1)
    assert deadline.is_over(clock)
    assert deadline.time(clock.now(), clock) == clock.now()


@given(
    st.floats(1, 6 * 3600),
    st.integers(-400 * 86400, 400 * 86400),
    st.integers(-400 * 86400, 400 * 86400),
    st.floats(0, 86400),
    st.booleans(),
)
def test_however_wrong_the_clock_was_or_is_nothing_waits_longer_than_its_wait(
    wait_s: float, wrong_before_s: int, wrong_now_s: int, since_s: float, restarted: bool
) -> None:
    """Counted from now; in the process that set it, counted from when it was set."""
    clock = FakeClock(NOW + timedelta(seconds=wrong_before_s), still=True)
    deadline = RememberedDeadline.after(wait_s, clock)
    if restarted:
        deadline = remembered(deadline)
    clock.sleep(since_s)
    clock.time += timedelta(seconds=wrong_now_s - wrong_before_s)
    left_s = (deadline.time(clock.now(), clock) - clock.now()).total_seconds()
    assert 0 <= left_s <= wait_s + TOLERANCE_S + 0.001
    if not restarted:
        assert left_s <= max(wait_s - since_s, 0) + 0.001
    if wrong_before_s == wrong_now_s:
        assert left_s == pytest.approx(max(wait_s - since_s, 0), abs=0.001)


def test_a_clock_that_is_put_back_by_seconds_ends_nothing() -> None:
    clock = FakeClock(NOW, still=True)
    deadline = remembered(RememberedDeadline.after(600, clock))
    clock.time -= timedelta(seconds=5)
    assert not deadline.is_over(clock)


@pytest.mark.parametrize(
    ("ahead", "over"), [(timedelta(hours=3), False), (timedelta(hours=5), True), (timedelta(0), True)]
)
def test_what_an_older_release_wrote_is_read_and_believed_for_four_hours_at_most(ahead: timedelta, over: bool) -> None:
    text = f'{{"state": "backing_off", "not_before": "{(NOW + ahead).isoformat()}"}}'
    found = CONVERTER.loads(text, Health).not_before
    assert found is not None
    assert found.is_over(FakeClock(NOW, still=True)) == over


@pytest.mark.parametrize(
    "text", ['{"not_before": {}}', '{"not_before": 7}', '{"not_before": "soon"}', "[]", '{"at": 1}']
)
def test_what_cannot_be_read_is_a_fresh_start(tmp_path: Path, text: str) -> None:
    with closing(Outbox(tmp_path / "sink.sqlite")) as outbox:
        outbox.facts.put_text(HEALTH.name, text)
        assert outbox.facts.get(HEALTH).not_before is None
    assert ComparisonState.from_json(text).not_before is None


def test_a_source_file_of_an_older_release_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pump.json"
    path.write_text(
        '{"condition": {"state": "ok"}, "last_fetch": "2026-06-01T11:00:00+00:00",'
        ' "next_poll": "2026-06-01T12:10:00+00:00", "unknown_codes": {}, "set_aside": 0}'
    )
    memory = SourceState.load(path)
    assert memory.last_fetch == NOW - timedelta(hours=1)
    assert memory.next_poll is not None
    assert memory.next_poll.until == NOW + timedelta(minutes=10)
    memory.save()
    assert SourceState.load(path).next_poll == memory.next_poll


# --- waits that are asked for ---------------------------------------------------------------------------------------


@given(st.integers(1, 60), st.one_of(st.none(), st.floats(0, 1e9)), st.booleans(), st.randoms(use_true_random=False))
def test_no_wait_is_longer_than_what_is_believed_after_a_restart(
    failures: int, after_s: float | None, grows: bool, rng: random.Random
) -> None:
    wait_s = backoff_s(failures, after_s=after_s, rng=rng, grows=grows)
    assert 0 < wait_s <= LONGEST_ASKED_WAIT_S
    clock = FakeClock(NOW, still=True)
    kept = remembered(RememberedDeadline.after(wait_s, clock))
    assert kept.time(clock.now(), clock) == pytest.approx(
        NOW + timedelta(seconds=wait_s), abs=timedelta(milliseconds=1)
    )


def test_a_day_that_is_asked_for_is_four_hours_and_told_with_its_date(world: World) -> None:
    world.clock.still = True
    world.shelf.trouble_delivering = Retryable("fewer requests", after_s=86400.0)
    world.ask("sync")
    not_before = world.runner.health.not_before
    assert not_before is not None
    assert not_before.until == world.clock.now() + timedelta(hours=4)
    world.clock.sleep(3600)
    world.pump.trouble = Retryable("fewer requests", after_s=86400.0)
    told = "\n".join(world.ask("sync").lines)
    assert f"{world.clock.now() + timedelta(hours=4):%Y-%m-%d %H:%M} UTC" in told


# --- every remembered time of the engine ----------------------------------------------------------------------------


@attrs.define
class Moody(OpenShelf):
    """Takes nothing for now, and says for how long."""

    postpone_s: float | None = None

    def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        if self.postpone_s is not None:
            return [Postponed(reason="later", after_s=self.postpone_s) for _ in batch]
        return super().deliver(batch)


@pytest.fixture
def moody(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, clock=FakeClock(BEGIN + timedelta(hours=3)), shelf=Moody(batch_size=100))
    yield world
    world.engine.close()


def live(world: World, stretch: timedelta, over: Callable[[], bool] = lambda: False) -> None:
    """The daemon's loop, for so long or until it is over."""
    step_s = 1200 if stretch > timedelta(hours=2) else 300
    lived_s = 0
    while lived_s < stretch.total_seconds() and not over():
        while world.engine.run_once():
            pass
        world.clock.sleep(step_s)
        lived_s += step_s


def test_what_is_due_is_done_though_the_clock_moves_on_between_two_readings(moody: World) -> None:
    live(moody, timedelta(hours=12))
    assert moody.pump.polls > 12
    assert len(moody.shelf.there) > 12


@pytest.mark.parametrize("wrong_by", WRONG_BY, ids=str)
@pytest.mark.parametrize("restart", [True, False], ids=["restarted", "running"])
@pytest.mark.parametrize(
    ("trouble", "longest"),
    [
        (Retryable("no"), timedelta(minutes=45)),
        (Retryable("no", after_s=1e9), timedelta(hours=4, minutes=20)),
        (CredentialsRefused("no"), timedelta(hours=6, minutes=20)),
        (None, timedelta(hours=1, minutes=10)),
    ],
    ids=["back-off", "asked to wait", "refused", "postponed"],
)
def test_what_failed_while_the_clock_was_wrong_goes_on_when_it_is_right(
    moody: World, wrong_by: timedelta, trouble: Exception | None, longest: timedelta, restart: bool
) -> None:
    shelf, pump = moody.shelf, moody.pump
    assert isinstance(shelf, Moody)
    live(moody, timedelta(minutes=10))
    delivered = len(shelf.there)
    assert delivered
    shelf.trouble_delivering, shelf.postpone_s = trouble, None if trouble else 3600.0
    live(moody, timedelta(hours=1, minutes=30))
    pump.trouble = Retryable("this computer's clock is wrong")
    moody.clock.time += wrong_by
    live(moody, timedelta(minutes=30))
    moody.clock.time -= wrong_by
    shelf.trouble_delivering, shelf.postpone_s, pump.trouble, polls = None, None, None, pump.polls
    if restart:
        moody.reopen()
    live(moody, longest, lambda: len(shelf.there) > delivered)
    assert len(shelf.there) > delivered
    live(moody, timedelta(minutes=45), lambda: pump.polls > polls)
    assert pump.polls > polls


@pytest.mark.parametrize("wrong_by", WRONG_BY, ids=str)
@pytest.mark.parametrize("restart", [True, False], ids=["restarted", "running"])
def test_what_was_planned_while_the_clock_was_wrong_happens_in_time(
    moody: World, monkeypatch: pytest.MonkeyPatch, wrong_by: timedelta, restart: bool
) -> None:
    """The next poll, the log's maintenance and the daily comparison."""
    maintained: list[datetime] = []
    monkeypatch.setattr(EventLog, "maintain", lambda self, *_: maintained.append(moody.clock.now()))
    shelf, pump = moody.shelf, moody.pump
    assert isinstance(shelf, Moody)
    live(moody, timedelta(minutes=10))
    moody.clock.time += wrong_by
    memory = moody.engine.pollers["pump"].state
    memory.next_poll = RememberedDeadline.after(1500.0, moody.clock)
    memory.save()
    moody.runner.daily_comparison._save(ComparisonState(not_before=RememberedDeadline.after(86400.0, moody.clock)))
    moody.engine._next_maintenance = RememberedDeadline.after(600.0, moody.clock)
    moody.clock.time -= wrong_by
    if restart:
        moody.reopen()
    polls, cared = pump.polls, len(maintained)
    live(moody, timedelta(minutes=35))
    assert pump.polls > polls
    assert len(maintained) > cared
    live(moody, timedelta(hours=26), lambda: shelf.surveys > 0)
    assert shelf.surveys
