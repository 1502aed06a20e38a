"""Which problems are reported when: once per change, repeated, and no storm."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone

import attrs

from tconnectsync.alerts.decisions import AlertReport, Known, ReportKind, decide, happened
from tconnectsync.alerts.problems import Problem

START = datetime(2026, 11, 1, tzinfo=timezone.utc)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
LOGIN = Problem(key="source tandem", state="refused", title="The login was refused", well="It is read again")
REPEAT = timedelta(hours=12)


@attrs.define
class Watched:
    """A watch that looks once a minute."""

    memory: Mapping[str, Known] = attrs.field(factory=dict)
    now: datetime = START
    said: list[tuple[timedelta, AlertReport]] = attrs.field(factory=list)

    def see(self, *problems: Problem, minutes: float = 1) -> list[ReportKind]:
        """Look once a minute for this long; return the kinds of the notifications."""
        end, before = self.now + minutes * MINUTE, len(self.said)
        while self.now < end:
            self.memory, reports = decide(self.memory, problems, self.now, REPEAT)
            self.said += [(self.now - START, report) for report in reports]
            self.now += MINUTE
        return [report.kind for _, report in self.said[before:]]


def test_a_problem_is_told_once_at_once_and_its_end_once() -> None:
    watch = Watched()
    assert watch.see(minutes=30) == []
    assert watch.see(LOGIN, minutes=300) == [ReportKind.BEGAN]
    assert watch.see(minutes=300) == [ReportKind.OVER]
    assert [at for at, _ in watch.said] == [30 * MINUTE, 335 * MINUTE]
    assert watch.said[1][1].began == START + 30 * MINUTE


def test_a_problem_that_lasts_is_told_again() -> None:
    watch = Watched()
    assert watch.see(LOGIN, minutes=37 * 60) == [ReportKind.BEGAN, ReportKind.LASTS, ReportKind.LASTS, ReportKind.LASTS]
    assert [at for at, _ in watch.said] == [timedelta(0), 12 * HOUR, 24 * HOUR, 36 * HOUR]


def test_repeats_do_not_delay_the_end() -> None:
    watch = Watched()
    watch.see(LOGIN, minutes=72 * 60)
    assert watch.see(minutes=10) == [ReportKind.OVER]


def test_another_kind_of_trouble_is_news() -> None:
    watch = Watched()
    watch.see(LOGIN, minutes=60)
    assert watch.see(attrs.evolve(LOGIN, state="changed"), minutes=60) == [ReportKind.BEGAN]


def test_other_words_of_the_same_trouble_are_none() -> None:
    watch = Watched()
    watch.see(LOGIN, minutes=60)
    assert watch.see(attrs.evolve(LOGIN, message="refused again", title="other"), minutes=60) == []


def test_two_problems_are_told_each() -> None:
    watch = Watched()
    other = Problem(key="disk", state="halted", title="The disk is full")
    assert watch.see(LOGIN, other) == [ReportKind.BEGAN, ReportKind.BEGAN]
    assert watch.see(LOGIN, minutes=60) == [ReportKind.OVER]


def test_a_consequence_is_told_when_its_cause_is_gone() -> None:
    watch = Watched()
    silence = Problem(key="data", state="silent", title="No data", consequence=True)
    assert watch.see(LOGIN, silence, minutes=60) == [ReportKind.BEGAN]
    assert watch.see(attrs.evolve(silence, consequence=False), minutes=60) == [ReportKind.BEGAN, ReportKind.OVER]


def test_flapping_gets_quiet_and_is_summarised() -> None:
    """Ten minutes bad, ten minutes well, for three days: few notifications, and one that counts the changes."""
    watch = Watched()
    for _ in range(3 * 24 * 3):
        watch.see(LOGIN, minutes=10)
        watch.see(minutes=10)
    kinds = [report.kind for _, report in watch.said]
    assert kinds[:2] == [ReportKind.BEGAN, ReportKind.OVER]
    assert ReportKind.UNSTEADY in kinds
    assert len(kinds) <= 12
    [summary, *_] = [report for _, report in watch.said if report.kind is ReportKind.UNSTEADY]
    assert summary.changes > 20
    assert len(watch.see(minutes=6 * 60)) <= 1
    assert watch.memory["source tandem"].told == ""


def test_any_pattern_is_bounded_and_ends_true() -> None:
    """Whatever the pattern: at most eight notifications in twelve hours about one thing, and the last one is the truth."""
    for seed in range(40):
        rng, watch = random.Random(seed), Watched()
        for _ in range(200):
            state = rng.choice(["", "refused", "changed"])
            problems = [attrs.evolve(LOGIN, state=state)] if state else []
            watch.see(*problems, minutes=rng.choice([1, 5, 20, 60, 240]))
        times = [at for at, _ in watch.said]
        assert max(sum(at <= other < at + 12 * HOUR for other in times) for at in times) <= 8
        watch.see(*problems, minutes=4 * 60)
        assert watch.memory[LOGIN.key].told == state


def test_state_with_a_clock_that_was_ahead() -> None:
    """The stored state survives, and no notification is suppressed."""
    watch = Watched(now=START + timedelta(days=400))
    watch.see(LOGIN, minutes=1)
    watch.now = START
    assert watch.see(LOGIN, minutes=13 * 60) == [ReportKind.LASTS]


def test_what_is_long_over_is_forgotten() -> None:
    watch = Watched()
    watch.see(LOGIN, minutes=10)
    watch.see(minutes=49 * 60)
    assert watch.memory == {}


def crashes(at: Sequence[timedelta]) -> Iterator[tuple[timedelta, int]]:
    memory: dict[str, Known] = {}
    crash = Problem(key="crash", state="crashed", title="It crashed")
    for each in at:
        memory, reports = happened(memory, crash, START + each, REPEAT)
        yield from ((each, report.changes) for report in reports)


def test_crashes_in_a_loop_are_counted() -> None:
    loop = [HOUR, *(2 * HOUR + n * MINUTE for n in range(30)), 14 * HOUR]
    assert list(crashes(loop)) == [(HOUR, 1), (14 * HOUR, 31)]
