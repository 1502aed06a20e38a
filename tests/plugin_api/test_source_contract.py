"""Our sources against their simulated clouds, with the same pump behind both: the contract, and what clouds add to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tconnectsync import CredentialsRefused, Event, Retryable
from tconnectsync.testing import SourceContract
from tconnectsync.testing.source_contract import EventsById
from tests.support.cloud_faults import CloudFault, answered, html_page
from tests.support.source_harness import (
    FIRST_DAY,
    HISTORY_DAYS,
    KINDS,
    OWN,
    SimulatedSourceWorld,
    SourceKind,
    pump,
    source_world,
)
from tests.support.truths import known_at


class TestTandem(SourceContract):
    kind = KINDS[0]

    def open_world(self, folder: Path) -> AbstractContextManager[SimulatedSourceWorld]:
        return source_world(self.kind, folder)

    odd_records: ClassVar = [{"from": 1, "row": []}, {"from": "csv", "row": {"Type": "Bolus"}}]


class TestTconnect(TestTandem):
    kind = KINDS[1]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> SourceKind:
    """Each source in turn."""
    found: SourceKind = request.param
    return found


@pytest.fixture
def world(kind: SourceKind, tmp_path: Path) -> Iterator[SimulatedSourceWorld]:
    """Its cloud, clock and log."""
    with source_world(kind, tmp_path / "world") as found:
        yield found


@pytest.fixture(scope="module")
def results_without_faults() -> dict[str, EventsById]:
    """Results of runs without faults, by source."""
    return {}


@pytest.fixture
def undisturbed(kind: SourceKind, tmp_path: Path, results_without_faults: dict[str, EventsById]) -> EventsById:
    """What one poll without any trouble brings."""
    if kind.name not in results_without_faults:
        with source_world(kind, tmp_path / "undisturbed") as other:
            other.poll()
            results_without_faults[kind.name] = other.events_by_id()
    return results_without_faults[kind.name]


def test_origin(world: SimulatedSourceWorld, undisturbed: EventsById) -> None:
    """Many events come, in steps that can be shown, and each says whose it is."""
    steps = [batch for batch in world.poll() if batch.total]
    assert len(steps) > 1
    assert len(undisturbed) > 1000
    assert {event.source for event in world.events()} == {world.kind.name}
    assert {event.pump for event in world.events()} == {pump().plan.serial}


def own_facts(world: SimulatedSourceWorld, kind: str) -> list[Event]:
    return list(world.log.facts(kind, limit=1000))


def test_first_poll(world: SimulatedSourceWorld) -> None:
    """It brings every dose and opens the history."""
    world.poll()
    begin, now = world.clock.now() - timedelta(days=HISTORY_DAYS), world.clock.now()
    truth = known_at(pump().truth, now)
    ended = {
        event.body.bolus_id for event in world.events() if event.kind.startswith("bolus.") and "completed" in event.kind
    }
    assert {bolus.bolus_id for bolus in truth.boluses if bolus.finished and bolus.started_at > begin} <= ended
    assert len(ended) > 10
    (opened,) = own_facts(world, "history.opened")
    assert (opened.body.first_day, opened.body.last_day) == (str(FIRST_DAY), None)


def test_window_is_read_after_its_events(world: SimulatedSourceWorld) -> None:
    """The events are in the log before the window counts as read."""
    seen = 0
    for batch in world.source().poll(world.log):
        kinds = [event.kind for event in batch.events]
        if "window.fetched" in kinds:
            assert kinds.index("window.fetched") >= len([kind for kind in kinds if kind not in OWN])
        seen += sum(kind not in OWN for kind in kinds)
        world.log.append(batch.events)
    assert seen > 1000
    days = {
        date.fromordinal(number)
        for fact in own_facts(world, "window.fetched")
        for number in range(
            date.fromisoformat(fact.body.first_day).toordinal(), date.fromisoformat(fact.body.last_day).toordinal() + 1
        )
    }
    assert {FIRST_DAY + timedelta(days=number) for number in range(HISTORY_DAYS + 1)} <= days


def test_an_idle_poll_asks_little_and_writes_nothing(world: SimulatedSourceWorld) -> None:
    world.poll()
    end = world.log.end
    world.clock.time += timedelta(minutes=5)
    idle = world.source()
    world.take(idle.poll(world.log))
    assert world.log.end == end
    asked = len(world.cloud.requests)
    world.take(idle.poll(world.log))
    assert (world.log.end, len(world.cloud.requests)) == (end, asked + 1)


def test_an_upload_is_seen_once_and_brings_what_is_new(world: SimulatedSourceWorld) -> None:
    world.poll()
    known = world.events_by_id()
    assert len(own_facts(world, "upload.seen")) == 1
    world.clock.time += timedelta(hours=1, minutes=20)
    world.poll()
    assert len(own_facts(world, "upload.seen")) == 2
    newest = max(event.pump_time for event in world.events())
    assert newest > max(pump_time for _, pump_time, _, _ in known.values())
    assert known.keys() <= world.events_by_id().keys()
    world.poll()
    assert len(own_facts(world, "upload.seen")) == 2


def test_check_reads_little(world: SimulatedSourceWorld) -> None:
    """Whether records can be read is shown by one request for a few of them."""
    end = world.log.end
    findings = list(world.source().check())
    assert findings
    assert all(finding.good for finding in findings)
    assert sum(world.kind.data in request.path for request in world.cloud.requests) <= 1
    assert world.log.end == end
    assert list(world.log.events(0)) == []


def test_a_refused_password_is_tried_once_and_not_shown(world: SimulatedSourceWorld) -> None:
    wrong = "not the pass word"
    source = world.source(password=wrong)
    with pytest.raises(CredentialsRefused) as caught:
        world.take(source.poll(world.log))
    assert wrong not in f"{caught.value} {caught.value.remedy}"
    assert world.cloud.count(world.kind.login) == 1
    assert not any(world.kind.data in request.path for request in world.cloud.requests)
    assert [finding.good for finding in world.source(password=wrong).check()] == [False]


TROUBLE = {
    "503": lambda path: answered(503, path=path, times=3),
    "half an answer": lambda path: CloudFault(path=path, cut=True, times=3),
    "a broken connection": lambda path: CloudFault(path=path, short=True, times=3),
    "a page": lambda path: html_page(path=path, times=3),
    "expired tokens": lambda path: CloudFault(path=path, revoke=True, times=1),
}


@pytest.mark.parametrize("trouble", TROUBLE)
def test_trouble_passes_and_leaves_nothing_behind(
    world: SimulatedSourceWorld, undisturbed: EventsById, trouble: str
) -> None:
    world.cloud.fail(TROUBLE[trouble](world.kind.data))
    settled = max(pump_time for _, pump_time, _, _ in undisturbed.values()) - timedelta(hours=2)
    failures = 0
    for _ in range(4):
        try:
            world.poll()
        except Retryable as error:
            failures += 1
            world.clock.time += timedelta(seconds=error.after_s or 60)
        else:
            break
    assert list(world.cloud.faults) == []
    assert failures < 4
    assert before(world.events_by_id(), settled) == before(undisturbed, settled)


def before(told: EventsById, when: datetime) -> dict[str, tuple[Any, ...]]:
    """What no later upload can add to."""
    return {name: each for name, each in told.items() if each[1] < when}
