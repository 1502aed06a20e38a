"""Remembered deadlines: a wrong host clock never delays anything for long."""

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
from tconnectsync.health.states import Health
from tconnectsync.ingest.source_state import SourceState
from tconnectsync.json_converter import CONVERTER
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.stored_values import HEALTH
from tconnectsync.plugin.receiver import Delivery, Outcome, Postponed
from tconnectsync.reconcile.comparison_state import ComparisonState
from tconnectsync.retry.backoff import LONGEST_ASKED_WAIT_S, backoff_s
from tconnectsync.retry.deadline import TOLERANCE_S, RememberedDeadline
from tests.support.clocks import FakeClock
from tests.support.engine.fakes import ReadableFakeReceiver
from tests.support.engine.harness import BEGIN, EngineHarness

NOW = datetime(2026, 6, 1, 12, tzinfo=timezone.utc)
WRONG_BY = [sign * timedelta(**by) for sign in (1, -1) for by in ({"hours": 1}, {"days": 1}, {"days": 400})]


def remembered(deadline: RememberedDeadline) -> RememberedDeadline:
    """The deadline as it is read from its file."""
    return CONVERTER.loads(CONVERTER.dumps(deadline), RememberedDeadline)


# --- the value ------------------------------------------------------------------------------------------------------


def test_deadline_holds_until_over() -> None:
    """A deadline holds until it is over, in memory and as read from its file."""
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
def test_deadline_with_any_wrong_clock(
    wait_s: float, wrong_before_s: int, wrong_now_s: int, since_s: float, restarted: bool
) -> None:
    """However wrong the clock was or is, nothing waits longer than its wait.

    The wait counts from now; in the process that set it, from the moment at which it was set.
    """
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


def test_deadline_clock_back_by_seconds() -> None:
    """A clock that is set back by seconds ends no wait."""
    clock = FakeClock(NOW, still=True)
    deadline = remembered(RememberedDeadline.after(600, clock))
    clock.time -= timedelta(seconds=5)
    assert not deadline.is_over(clock)


@pytest.mark.parametrize(
    ("ahead", "over"), [(timedelta(hours=3), False), (timedelta(hours=5), True), (timedelta(0), True)]
)
def test_deadline_of_older_release(ahead: timedelta, over: bool) -> None:
    """A deadline that an older release wrote is believed for four hours at most."""
    text = f'{{"state": "backing_off", "not_before": "{(NOW + ahead).isoformat()}"}}'
    found = CONVERTER.loads(text, Health).not_before
    assert found is not None
    assert found.is_over(FakeClock(NOW, still=True)) == over


@pytest.mark.parametrize(
    "text", ['{"not_before": {}}', '{"not_before": 7}', '{"not_before": "soon"}', "[]", '{"at": 1}']
)
def test_deadline_unreadable(tmp_path: Path, text: str) -> None:
    """A deadline that cannot be read counts as none."""
    with closing(Outbox(tmp_path / "sink.sqlite")) as outbox:
        outbox.values.put_text(HEALTH.name, text)
        assert outbox.values.get(HEALTH).not_before is None
    assert ComparisonState.from_json(text).not_before is None


def test_source_state_of_older_release(tmp_path: Path) -> None:
    """A source's state file from an older release is read."""
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
def test_backoff_within_believed_wait(failures: int, after_s: float | None, grows: bool, rng: random.Random) -> None:
    """No back-off is longer than what is believed after a restart."""
    wait_s = backoff_s(failures, after_s=after_s, rng=rng, grows=grows)
    assert 0 < wait_s <= LONGEST_ASKED_WAIT_S
    clock = FakeClock(NOW, still=True)
    kept = remembered(RememberedDeadline.after(wait_s, clock))
    assert kept.time(clock.now(), clock) == pytest.approx(
        NOW + timedelta(seconds=wait_s), abs=timedelta(milliseconds=1)
    )


def test_backoff_asked_for_a_day(harness: EngineHarness) -> None:
    """If the other side asks for a day, the wait is four hours, and the message gives its date."""
    harness.clock.still = True
    harness.receiver.trouble_delivering = Retryable("fewer requests", after_s=86400.0)
    harness.ask("sync")
    not_before = harness.runner.health.not_before
    assert not_before is not None
    assert not_before.until == harness.clock.now() + timedelta(hours=4)
    harness.clock.sleep(3600)
    harness.pump.trouble = Retryable("fewer requests", after_s=86400.0)
    told = "\n".join(harness.ask("sync").lines)
    assert f"{harness.clock.now() + timedelta(hours=4):%Y-%m-%d %H:%M} UTC" in told


# --- every remembered time of the engine ----------------------------------------------------------------------------


@attrs.define
class PostponingReceiver(ReadableFakeReceiver):
    """Accepts nothing for now, and says for how long."""

    postpone_s: float | None = None

    def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        if self.postpone_s is not None:
            return [Postponed(reason="later", after_s=self.postpone_s) for _ in batch]
        return super().deliver(batch)


@pytest.fixture
def postponing(tmp_path: Path) -> Iterator[EngineHarness]:
    """An engine whose receiver can postpone everything, three hours after the first record."""
    harness = EngineHarness(
        tmp_path, clock=FakeClock(BEGIN + timedelta(hours=3)), receiver=PostponingReceiver(batch_size=100)
    )
    yield harness
    harness.engine.close()


def live(harness: EngineHarness, stretch: timedelta, over: Callable[[], bool] = lambda: False) -> None:
    """Run the daemon's loop for this time, or until it is over."""
    step_s = 1200 if stretch > timedelta(hours=2) else 300
    lived_s = 0
    while lived_s < stretch.total_seconds() and not over():
        while harness.engine.run_once():
            pass
        harness.clock.sleep(step_s)
        lived_s += step_s


def test_due_work_with_moving_clock(postponing: EngineHarness) -> None:
    """What is due is done although the clock moves between two readings."""
    live(postponing, timedelta(hours=12))
    assert postponing.pump.polls > 12
    assert len(postponing.receiver.there) > 12


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
def test_failures_while_clock_wrong(
    postponing: EngineHarness, wrong_by: timedelta, trouble: Exception | None, longest: timedelta, restart: bool
) -> None:
    """What failed while the clock was wrong resumes once it is right."""
    receiver, pump = postponing.receiver, postponing.pump
    assert isinstance(receiver, PostponingReceiver)
    live(postponing, timedelta(minutes=10))
    delivered = len(receiver.there)
    assert delivered
    receiver.trouble_delivering, receiver.postpone_s = trouble, None if trouble else 3600.0
    live(postponing, timedelta(hours=1, minutes=30))
    pump.trouble = Retryable("this computer's clock is wrong")
    postponing.clock.time += wrong_by
    live(postponing, timedelta(minutes=30))
    postponing.clock.time -= wrong_by
    receiver.trouble_delivering, receiver.postpone_s, pump.trouble, polls = None, None, None, pump.polls
    if restart:
        postponing.reopen()
    live(postponing, longest, lambda: len(receiver.there) > delivered)
    assert len(receiver.there) > delivered
    live(postponing, timedelta(minutes=45), lambda: pump.polls > polls)
    assert pump.polls > polls


@pytest.mark.parametrize("wrong_by", WRONG_BY, ids=str)
@pytest.mark.parametrize("restart", [True, False], ids=["restarted", "running"])
def test_plans_while_clock_wrong(
    postponing: EngineHarness, monkeypatch: pytest.MonkeyPatch, wrong_by: timedelta, restart: bool
) -> None:
    """What was planned while the clock was wrong happens in time.

    The next poll, the log's maintenance and the daily comparison.
    """
    maintained: list[datetime] = []
    monkeypatch.setattr(EventLog, "maintain", lambda self, *_: maintained.append(postponing.clock.now()))
    receiver, pump = postponing.receiver, postponing.pump
    assert isinstance(receiver, PostponingReceiver)
    live(postponing, timedelta(minutes=10))
    postponing.clock.time += wrong_by
    memory = postponing.engine.pollers["pump"].state
    memory.next_poll = RememberedDeadline.after(1500.0, postponing.clock)
    memory.save()
    postponing.runner.daily_comparison._save(
        ComparisonState(not_before=RememberedDeadline.after(86400.0, postponing.clock))
    )
    postponing.engine._next_maintenance = RememberedDeadline.after(600.0, postponing.clock)
    postponing.clock.time -= wrong_by
    if restart:
        postponing.reopen()
    polls, cared = pump.polls, len(maintained)
    live(postponing, timedelta(minutes=35))
    assert pump.polls > polls
    assert len(maintained) > cared
    live(postponing, timedelta(hours=26), lambda: receiver.surveys > 0)
    assert receiver.surveys
