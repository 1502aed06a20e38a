"""Older days that are fetched later, and where the delivered history begins."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from tconnectsync import Batch, History, Retryable
from tconnectsync.events import FACTS, HistoryOpened
from tconnectsync.jobs.dispatch import perform
from tconnectsync.jobs.messages import Request, Result
from tconnectsync_nightscout.folds.basal import BasalFold
from tests.support.engine.harness import BEGIN, EngineHarness, hours


def test_history_edge_local_day(harness: EngineHarness) -> None:
    """The delivered history begins with a local day.

    The first wanted day began at 22:00 UTC of the day before; what the lead-in shows before it is not sent.
    """
    harness.ask("sync")
    assert harness.starts()[0] == BEGIN


def test_history_opened_later_across_edge(harness: EngineHarness) -> None:
    """History that is opened later includes what reached over its old edge.

    A document began before the edge and ended long after it, such as a night's sleep on the first wanted day.
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


def test_rate_across_history_edge(harness: EngineHarness) -> None:
    """A rate that applies since before the first day is delivered from that day on, as one document with its whole length.

    A rate that never changes would otherwise never be on the site.
    """
    harness.reopen(folds={"basal": BasalFold()})
    harness.pump.stretch_h = 100
    harness.pump.opened = (HistoryOpened(first_day="2026-06-02"),)
    harness.clock.sleep(86400)
    harness.ask("sync")
    (shown,) = harness.receiver.there.values()
    edge = BEGIN + timedelta(hours=22)
    assert (shown.at.replace(microsecond=0), shown.content["duration"]) == (edge, pytest.approx(26 * 60, abs=1))
    harness.pump.opened += (HistoryOpened(first_day="2026-06-01", last_day="2026-06-01"),)
    harness.ask("backfill", first="2026-06-01", last="2026-06-01")
    (shown,) = harness.receiver.there.values()
    assert (shown.at.replace(microsecond=0), shown.content["duration"]) == (BEGIN, pytest.approx(48 * 60, abs=1))


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
    """An event that a backfill brings several times is counted once.

    Its parts overlap. An event that an earlier part brought does not count as known before the backfill.
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


@pytest.mark.parametrize(("partial", "parts"), [(True, 5), (False, 2)])
def test_backfill_after_unread_days(harness: EngineHarness, partial: bool, parts: int) -> None:
    """If the rest of a part was read, the other parts are read as well; else no more is asked. The result names the days."""
    harness.ask("sync")
    asked = []

    def broken(history: History, first: date, last: date) -> Iterator[Batch]:
        asked.append(first)
        yield Batch()
        if len(asked) == 2:
            raise Retryable("3 April 2026 could not be read", after_s=600, partial=partial)

    harness.pump.backfills = broken
    result = harness.ask("backfill", first="2026-01-10", last="2026-05-28")
    assert (result.status, len(asked)) == (3, parts)
    assert harness.engine.pollers["pump"].health.is_ok == partial
    words = "\n".join(result.lines)
    if partial:
        assert "not everything of 2026-04-03 to 2026-04-30: 3 April 2026 could not be read\n" in words
        assert "Run the command again" in words
    else:
        assert "not read: 2026-01-10 to 2026-04-30" in words


def test_failing_polls_during_backfill(harness: EngineHarness) -> None:
    """A poll that lacks some days does not end a backfill, and polls still wait as long as without it."""
    harness.ask("sync")
    harness.pump.trouble = Retryable("1 June 2026 could not be read", after_s=1200, partial=True)
    asked = []

    def slow(history: History, first: date, last: date) -> Iterator[Batch]:
        asked.append(first)
        harness.clock.sleep(600)
        yield Batch()

    harness.pump.backfills = slow
    harness.pump.polls = 0
    harness.clock.sleep(3600)
    result = harness.ask("backfill", first="2025-06-01", last="2026-05-28")
    assert len(asked) == 13
    assert 2 <= harness.pump.polls <= 5
    assert result.status == 3
    assert "1 June 2026 could not be read" in harness.engine.pollers["pump"].health.message
    assert harness.engine.pollers["pump"].health.failures == harness.pump.polls


@pytest.mark.parametrize(("first_day", "left"), [("2026-06-02", 3), ("2026-06-06", 0)])
def test_delivery_begins_later(harness: EngineHarness, first_day: str, left: int) -> None:
    """The first day was unknown after a repair, and comes back: documents before it go, also those that ended long after they
    began, and the running one.
    """
    harness.pump.stretch_h = 36
    harness.pump.opened = ()
    harness.clock.sleep(86400 * 4)
    harness.ask("sync")
    assert harness.starts() == hours([0, 36, 72, 108])
    harness.pump.opened = (HistoryOpened(first_day=first_day),)
    harness.clock.sleep(1800)
    harness.ask("sync")
    harness.ask("resume", sink="shelf")
    assert harness.starts() == hours([0, 36, 72, 108])[4 - left :]
