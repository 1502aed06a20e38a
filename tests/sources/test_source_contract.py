"""What every source must do, asked of each against its own simulated cloud, with the same pump behind both."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tconnectsync import CredentialsRefused, Event, Retryable
from tconnectsync_simulator.cloud.faults import CloudFault, answered, html_page
from tests.sources.harness import KINDS, OWN, Kind, SourceWorld, pump, source_world


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def world(kind: Kind, tmp_path: Path) -> Iterator[SourceWorld]:
    with source_world(kind, tmp_path / "world") as found:
        yield found


@pytest.fixture(scope="module")
def calm() -> dict[str, Mapping[str, tuple[Any, ...]]]:
    return {}


@pytest.fixture
def undisturbed(
    kind: Kind, tmp_path: Path, calm: dict[str, Mapping[str, tuple[Any, ...]]]
) -> Mapping[str, tuple[Any, ...]]:
    """What one poll without any trouble brings."""
    if kind.name not in calm:
        with source_world(kind, tmp_path / "undisturbed") as other:
            other.poll()
            calm[kind.name] = other.told()
    return calm[kind.name]


def own_facts(world: SourceWorld, kind: str) -> list[Event]:
    return list(world.log.facts(kind, limit=1000))


def test_a_first_poll_brings_every_dose_and_opens_the_history(world: SourceWorld) -> None:
    world.poll()
    begin, now = world.clock.now() - timedelta(days=4), world.clock.now()
    truth = pump().truth.until(now)
    ended = {
        event.body.bolus_id for event in world.events() if event.kind.startswith("bolus.") and "completed" in event.kind
    }
    assert {bolus.bolus_id for bolus in truth.boluses if bolus.finished and bolus.started_at > begin} <= ended
    assert len(ended) > 10
    (opened,) = own_facts(world, "history.opened")
    assert (opened.body.first_day, opened.body.last_day) == ("2021-04-03", None)


def test_what_a_window_brought_is_there_before_the_window_counts_as_read(world: SourceWorld) -> None:
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
    assert {date(2021, 4, 3) + timedelta(days=number) for number in range(5)} <= days


def test_progress_never_goes_back_and_reaches_its_end(world: SourceWorld) -> None:
    told = [(batch.done, batch.total) for batch in world.poll() if batch.total]
    assert len(told) > 1
    assert {total for _, total in told} == {told[0][1]}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == told[-1][1]


def test_an_idle_poll_asks_little_and_writes_nothing(world: SourceWorld) -> None:
    world.poll()
    end = world.log.end
    world.clock.time += timedelta(minutes=5)
    idle = world.source()
    world.take(idle.poll(world.log))
    assert world.log.end == end
    asked = len(world.cloud.requests)
    world.take(idle.poll(world.log))
    assert (world.log.end, len(world.cloud.requests)) == (end, asked + 1)


def test_reading_the_same_days_again_adds_nothing_that_the_pump_said(world: SourceWorld) -> None:
    world.poll()
    before = world.told()
    end = world.log.end
    world.take(world.source().backfill(world.log, date(2021, 4, 4), date(2021, 4, 6)))
    assert world.told() == before
    added = [event for event in world.log.events(end) if event.kind not in OWN]
    assert added == []


def test_an_empty_log_is_filled_with_the_same_events(
    world: SourceWorld, undisturbed: Mapping[str, tuple[Any, ...]]
) -> None:
    world.poll()
    assert world.told() == undisturbed
    assert len(undisturbed) > 1000


@pytest.mark.parametrize("batches", [1, 2, 3, 5, 8])
def test_a_poll_that_is_killed_is_gone_on_with_and_ends_in_the_same_log(
    world: SourceWorld, undisturbed: Mapping[str, tuple[Any, ...]], batches: int
) -> None:
    run = world.source().poll(world.log)
    for _, batch in zip(range(batches), run, strict=False):
        world.log.append(batch.events)
    run.close()  # type: ignore[attr-defined]  # both are generators
    world.poll()
    assert world.told() == undisturbed


def test_an_upload_is_seen_once_and_brings_what_is_new(world: SourceWorld) -> None:
    world.poll()
    known = world.told()
    assert len(own_facts(world, "upload.seen")) == 1
    world.clock.time += timedelta(hours=1, minutes=20)
    world.poll()
    assert len(own_facts(world, "upload.seen")) == 2
    newest = max(event.pump_time for event in world.events())
    assert newest > max(pump_time for _, pump_time, _, _ in known.values())
    assert known.keys() <= world.told().keys()
    world.poll()
    assert len(own_facts(world, "upload.seen")) == 2


def test_what_the_log_keeps_is_enough_to_read_it_again(world: SourceWorld) -> None:
    world.poll()
    source = world.source()
    for event in world.events():
        if event.kind != "settings.captured":
            assert event.raw is not None
            assert source.decode(event.raw) == (event.kind, event.body)
        assert event.source == world.kind.name
        assert event.pump == pump().plan.serial


@pytest.mark.parametrize(
    "raw", [{}, {"eventCode": "x"}, {"from": 1, "row": []}, {"from": "csv", "row": {"Type": "Bolus"}}]
)
def test_odd_data_is_unknown_and_never_an_error(world: SourceWorld, raw: dict[str, Any]) -> None:
    assert world.source().decode(raw)[0] == "unknown"


def test_nothing_secret_or_personal_is_kept(world: SourceWorld) -> None:
    world.poll()
    kept = " ".join(json.dumps([event.id, event.raw]) for event in world.log.events(0))
    findings = " ".join(f"{finding.what} {finding.remedy}" for finding in world.source().check())
    for private in (*world.kind.private(world.cloud), "Simulated Wearer"):
        assert private not in kept
        assert private not in findings


def test_a_check_finds_all_well_reads_little_and_keeps_nothing(world: SourceWorld) -> None:
    """Whether records can be read is told by one request for a few of them."""
    end = world.log.end
    findings = list(world.source().check())
    assert findings
    assert all(finding.good for finding in findings)
    assert sum(world.kind.data in request.path for request in world.cloud.requests) <= 1
    assert world.log.end == end
    assert list(world.log.events(0)) == []


def test_a_refused_password_is_tried_once_and_not_told(world: SourceWorld) -> None:
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
    world: SourceWorld, undisturbed: Mapping[str, tuple[Any, ...]], trouble: str
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
    assert before(world.told(), settled) == before(undisturbed, settled)


def before(told: Mapping[str, tuple[Any, ...]], when: datetime) -> dict[str, tuple[Any, ...]]:
    """What no later upload can add to."""
    return {name: each for name, each in told.items() if each[1] < when}
