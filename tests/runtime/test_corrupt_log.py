"""A corrupt log: sinks that need the corrupt part stop, the others continue, and a repair brings everything back."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from tconnectsync import Batch, Document, Event, History, Retryable, document_id
from tconnectsync.errors import LogCorrupt
from tconnectsync.eventlog.repair import repair_log
from tconnectsync.events import BasalDelivered, CarbsEntered, WindowFetched
from tconnectsync.projection.invalidation import check_fingerprint, invalidate_new
from tconnectsync.queries.status import status_of
from tests.support.engine.fakes import FakeReceiver, State, StretchFold
from tests.support.engine.harness import BEGIN, SUMMER, EngineHarness, FakePumpSource

DAYS = 4


@attrs.define
class NewsOnlySource(FakePumpSource):
    """Reports with every poll what has come since the last one, and older days only on request."""

    told: datetime = BEGIN
    asked: list[tuple[date, date]] = attrs.field(factory=list)
    backfill_trouble: Exception | None = None

    def poll(self, history: History) -> Iterator[Batch]:
        first, *_ = super().poll(history)
        yield first
        now = self.clock.now().replace(second=0, microsecond=0)
        yield Batch(events=self.between(self.told, now))
        self.told = now

    def backfill(self, history: History, first: date, last: date) -> Iterator[Batch]:
        self.asked.append((first, last))
        if self.backfill_trouble is not None:
            raise self.backfill_trouble
        midnights = [datetime(day.year, day.month, day.day, tzinfo=BEGIN.tzinfo) - SUMMER for day in (first, last)]
        window = WindowFetched(first_day=f"{first}", last_day=f"{last}")
        events = self.between(midnights[0], min(midnights[1] + timedelta(days=1), self.clock.now()))
        yield Batch(events=[*events, self.fact("window.fetched", f"window:{first}:{self.clock.now()}", window)])

    def between(self, begin: datetime, end: datetime) -> list[Event]:
        found = []
        for minute in range(0, int((end - BEGIN).total_seconds() // 60), self.every_min):
            at = BEGIN + timedelta(minutes=minute)
            if at >= begin:
                found.append(
                    self.event(10 + minute, "basal.delivered", at, BasalDelivered(rate_u_per_h=float(minute // 60 % 3)))
                )
                if minute % 600 == 0:
                    found.append(self.event(11 + minute, "carbs.entered", at, CarbsEntered(carbs_g=20.0)))
        return found


class CarbsFold:
    """Every entry is a document."""

    name = "carbs"
    version = 1
    kinds = frozenset({"carbs.entered"})
    state_type = State

    def initial(self) -> State:
        return State()

    def step(self, state: State, event: Event) -> tuple[State, Sequence[Document]]:
        assert event.at is not None
        content = {"carbs": event.body.carbs_g}
        return state, [Document(id=document_id("carbs", event.id), collection="things", at=event.at, content=content)]

    def running(self, state: State) -> Sequence[Document]:
        return ()


@pytest.fixture
def corrupt_harness(tmp_path: Path) -> Iterator[EngineHarness]:
    """Four days are delivered; then a byte of the second day's basal flips in a sealed segment."""
    harness = EngineHarness(tmp_path, folds={"stretches": StretchFold(), "carbs": CarbsFold()}, segment_bytes=40_000)
    harness.pump = NewsOnlySource(harness.clock)
    harness.reopen()
    for _ in range(DAYS):
        assert harness.ask("sync").status == 0
        harness.clock.sleep(86400)
    assert harness.ask("sync").status == 0
    harness.engine.close()
    flip(harness.folder, seq=10 + 1440 + 300)
    harness.open()
    yield harness
    harness.engine.close()


def flip(folder: Path, *, seq: int) -> None:
    mark = f'"id":"pump:1:0:{seq}"'.encode()
    for path in sorted((folder / "log").glob("[0-9]*"))[:-1]:
        text = path.read_bytes()
        data = bytearray(gzip.decompress(text) if path.suffix == ".gz" else text)
        if mark in data:
            data[data.index(mark) + len(mark) + 10] ^= 1
            path.unlink()
            path.with_name(path.name.removesuffix(".gz")).write_bytes(data)
            return
    pytest.fail("there is no sealed segment with it")


def read_status(harness: EngineHarness) -> dict[str, Any]:
    return status_of(
        harness.folder, sources={"pump": True}, sinks={"shelf": True}, zones=harness.zones, clock=harness.clock
    )  # fmt: skip


def repaired(harness: EngineHarness) -> None:
    harness.engine.close()
    [gap] = repair_log(harness.folder, clock=harness.clock).gaps
    assert gap.first_position == gap.last_position
    harness.open()


def forget_outbox(harness: EngineHarness) -> None:
    harness.engine.close()
    for path in (harness.folder / "outbox").iterdir():
        path.unlink()
    harness.open()


def test_corrupt_part_not_needed(corrupt_harness: EngineHarness) -> None:
    """New data continues while nothing needs the corrupt part."""
    corrupt_harness.clock.sleep(3600)
    assert corrupt_harness.ask("sync").status == 0
    assert corrupt_harness.starts()[-1] == BEGIN + timedelta(days=DAYS + 1)


def test_corrupt_part_stops_its_fold(corrupt_harness: EngineHarness) -> None:
    """Corruption stops the fold that needs the corrupt part and nothing else.

    With the outbox gone everything is folded again: basal cannot, carbs can, and the site keeps what it has.
    """
    there = dict(corrupt_harness.receiver.there)
    carbs = [known for known in there.values() if "carbs" in known.content]
    for known in carbs[:2]:
        del corrupt_harness.receiver.there[known.id]
    forget_outbox(corrupt_harness)
    result = corrupt_harness.ask("sync")
    assert result.status == 7
    assert "tconnectsync log repair" in " ".join(result.lines)
    assert corrupt_harness.receiver.there == there, "carbs came back, and no basal was taken from the site"
    assert corrupt_harness.runner.health.state == "damaged"
    found = read_status(corrupt_harness)
    assert found["sinks"]["shelf"]["state"] == "damaged"
    assert "log check" in found["sinks"]["shelf"]["remedy"]


@pytest.mark.parametrize("at", [9, -9])
def test_bit_flip_behind_the_cursor(tmp_path: Path, at: int) -> None:
    """A bit flips in a compressed segment while a sink is off; turned on again, it continues, and so does all else."""
    harness = EngineHarness(tmp_path, segment_bytes=20_000)
    harness.ask("sync")
    cursor = harness.runner.outbox.checkpoints.cursor
    runners, harness.engine.runners = harness.engine.runners, {}
    harness.clock.advance(days=3)
    harness.ask("sync")
    while harness.engine.events.maintain():
        pass
    harness.engine.runners = runners
    harness.engine.close()
    path = [path for path in sorted((tmp_path / "log").glob("*.gz")) if int(path.name[:12]) <= cursor][-1]
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    harness.open()
    assert harness.ask("sync").status == 0
    assert harness.starts()[-1] == BEGIN + timedelta(days=4, hours=-1)
    harness.engine.close()


def test_background_check_reports(corrupt_harness: EngineHarness) -> None:
    """The background check reports corruption before anything needs it."""
    for _ in range(50):
        corrupt_harness.engine.run_once(polling=False)
        corrupt_harness.clock.sleep(600)
    assert "line" in str(read_status(corrupt_harness)["log"]["damaged"])


def test_repair_fetches_gap_again(corrupt_harness: EngineHarness, caplog: pytest.LogCaptureFixture) -> None:
    """The gap of a repair is fetched again without a command, and nothing is withdrawn meanwhile."""
    there = dict(corrupt_harness.receiver.there)
    pump = corrupt_harness.pump
    assert isinstance(pump, NewsOnlySource)
    forget_outbox(corrupt_harness)
    assert corrupt_harness.ask("sync").status == 7
    repaired(corrupt_harness)
    pump.backfill_trouble = Retryable("the cloud is down")
    assert corrupt_harness.ask("sync").status == 3
    assert there.keys() <= corrupt_harness.receiver.there.keys(), "nothing in the gap is withdrawn"
    corrupt_harness.reopen()
    pump.backfill_trouble = None
    pump.asked.clear()
    corrupt_harness.clock.sleep(120)
    with caplog.at_level(logging.INFO):
        assert corrupt_harness.ask("sync").status == 0
    assert pump.asked == [(date(2026, 6, 1), date(2026, 6, 4))], "two days around it, not before the edge of history"
    assert "gap_fetched_again source=pump first=2026-06-01 last=2026-06-04" in caplog.text
    assert {name: known for name, known in corrupt_harness.receiver.there.items() if name in there} == there
    assert corrupt_harness.runner.health.state == "ok"
    corrupt_harness.reopen()
    assert corrupt_harness.ask("sync").status == 0
    assert len(pump.asked) == 1, "once"


def test_gap_that_is_read_in_part(corrupt_harness: EngineHarness) -> None:
    """A gap with days that cannot be read is asked for once an hour, and does not make polls more frequent."""
    pump = corrupt_harness.pump
    assert isinstance(pump, NewsOnlySource)
    repaired(corrupt_harness)
    pump.backfill_trouble = Retryable("2 June 2026 could not be read", partial=True)
    before = pump.polls
    for minute in range(4 * 60):
        if minute % 10 == 0:  # as with a fleet, or `sync` from cron
            corrupt_harness.reopen()
        while corrupt_harness.engine.run_once():
            pass
        corrupt_harness.clock.sleep(60)
    assert 4 <= len(pump.asked) <= 5
    assert pump.polls - before <= 4 * 12 + 5
    pump.backfill_trouble = None
    corrupt_harness.clock.sleep(3600)
    corrupt_harness.ask("sync")
    assert corrupt_harness.engine.pollers["pump"].is_current(corrupt_harness.clock.now())


def test_repair_needs_no_poll(corrupt_harness: EngineHarness) -> None:
    """The daemon does not wait for the next poll to fetch the gap."""
    repaired(corrupt_harness)
    corrupt_harness.engine.run_once()
    assert corrupt_harness.engine.pollers["pump"].running


def test_repaired_sink_is_well(corrupt_harness: EngineHarness) -> None:
    """A sink is well again after a repair."""
    forget_outbox(corrupt_harness)
    assert corrupt_harness.ask("sync").status == 7
    repaired(corrupt_harness)
    corrupt_harness.ask("sync")
    assert corrupt_harness.runner.health.state == "ok"
    assert corrupt_harness.ask("sync").status == 0


def test_long_gap_in_parts(tmp_path: Path) -> None:
    """Long gaps are fetched in parts, which resume after a restart."""
    harness = EngineHarness(tmp_path, segment_bytes=64 << 20)
    pump = harness.pump = NewsOnlySource(harness.clock, every_min=30)
    harness.reopen()
    harness.clock.sleep(86400 * 70)
    harness.ask("sync")
    there = dict(harness.receiver.there)
    harness.engine.close()
    [path] = (tmp_path / "log").glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:20], *lines[-20:]]))
    for name in tmp_path.glob("index.sqlite*"):
        name.unlink()
    repair_log(tmp_path, clock=harness.clock)
    harness.open()
    while len(pump.asked) < 2:
        harness.engine.run_once()
    harness.reopen()
    while pump.asked[-1][1] < date(2026, 8, 10):
        harness.engine.run_once()
    parts = [
        (date(2026, 6, 1), date(2026, 6, 28)),
        (date(2026, 6, 29), date(2026, 7, 26)),
        (date(2026, 7, 27), date(2026, 8, 12)),
    ]
    assert pump.asked == [parts[0], parts[1], parts[1], parts[2]], "what was under way is asked for again"
    assert harness.ask("sync").status == 0
    assert {name: harness.receiver.there[name] for name in there} == there
    harness.engine.close()


def test_source_needs_corrupt_fact(tmp_path: Path) -> None:
    """A source that needs a corrupt fact waits and says so, without using the processor."""
    harness = EngineHarness(tmp_path, segment_bytes=2_000)

    class Reader(FakePumpSource):
        def poll(self, history: History) -> Iterator[Batch]:
            list(history.facts("window.fetched"))
            yield from super().poll(history)

    harness.pump = Reader(harness.clock)
    harness.reopen()
    harness.ask("sync")
    harness.engine.close()
    for path in sorted((tmp_path / "log").glob("*.jsonl")):
        data = bytearray(path.read_bytes())
        if b'"kind":"window.fetched"' in data:
            data[data.index(b'"kind":"window.fetched"') + 30] ^= 1
            path.write_bytes(data)
    harness.open()
    harness.clock.sleep(86400)
    assert harness.ask("sync").status == 7
    poller = harness.engine.pollers["pump"]
    assert poller.health.state == "damaged"
    due = poller.next_step(harness.clock.now())
    assert due is not None
    assert due > harness.clock.now()
    assert not harness.engine.run_once()
    harness.engine.close()


class Failing(CarbsFold):
    def step(self, state: State, event: Event) -> tuple[State, Sequence[Document]]:
        if event.seq == 11 + 1200:
            raise ZeroDivisionError
        return super().step(state, event)


def test_fold_raises_on_one_event(tmp_path: Path) -> None:
    """A fold that fails on one event stops alone and says where."""
    harness = EngineHarness(tmp_path, folds={"stretches": StretchFold(), "carbs": Failing()})
    harness.pump = NewsOnlySource(harness.clock)
    harness.reopen()
    harness.clock.sleep(86400)
    result = harness.ask("sync")
    assert result.status == 1
    assert "'carbs' fails at event pump:1:0:1211 (ZeroDivisionError)" in result.lines[0]
    assert harness.starts()[-1] == BEGIN + timedelta(days=2, hours=-1)
    harness.reopen(folds={"stretches": StretchFold(), "carbs": CarbsFold()})
    assert harness.ask("sync").status == 0
    assert sum("carbs" in known.content for known in harness.receiver.there.values()) == 5
    harness.engine.close()


def test_other_sink_continues(corrupt_harness: EngineHarness) -> None:
    """Another sink continues beside one that is stopped by corruption.

    Two receivers share one log: only the one that folds everything again needs the corrupt part.
    """
    other = EngineHarness(corrupt_harness.folder / "unused")
    other.engine.close()
    corrupt_harness.engine.close()
    receiver = FakeReceiver(address="shelf://one", batch_size=100)
    fresh = EngineHarness(
        corrupt_harness.folder,
        clock=corrupt_harness.clock,
        receiver=receiver,
        fingerprint="2",
        folds=corrupt_harness.folds,
    )
    assert fresh.ask("sync").status == 7
    fresh.reopen(fingerprint="1")
    fresh.engine.close()
    corrupt_harness.open()


def test_corrupt_upload_record(tmp_path: Path) -> None:
    """A corrupt upload record costs evidence for the clock and stops no sink."""
    harness = EngineHarness(tmp_path)
    harness.ask("sync")
    harness.clock.sleep(3600)
    harness.ask("sync")
    before = len(harness.receiver.there)
    harness.engine.close()
    [path] = (tmp_path / "log").glob("*.jsonl")
    data = bytearray(path.read_bytes())
    data[data.index(b'"kind":"upload.seen"') + 40] ^= 1
    path.write_bytes(data)
    harness.open()
    harness.clock.sleep(3600)
    assert harness.ask("sync").status == 7, "the source, whose rhythm is in these records, says so"
    assert len(harness.receiver.there) == before + 1
    harness.engine.close()


def test_replay_without_timeline(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay while the timeline cannot be resolved drops nothing that waits."""
    poller = harness.engine.pollers["pump"]
    poller.request_poll()
    while poller.busy:
        poller.step()
    assert harness.engine._refresh_timeline()
    with harness.runner.outbox.transaction():
        check_fingerprint(harness.runner.outbox, harness.runner.folding.fingerprint)
        invalidate_new(
            harness.runner.fold_runner, harness.runner.events, harness.engine.streams
        )  # the process died here: all is marked, nothing folded
    harness.reopen()

    def corrupt(*_: object) -> None:
        raise LogCorrupt("corrupt", path="x", line=1)

    with monkeypatch.context() as patch:
        patch.setattr(type(harness.engine.timelines), "resolve", corrupt)
        assert harness.ask("replay", sink="shelf").status == 7
    harness.reopen()
    assert harness.ask("sync").status == 0
    assert len(harness.receiver.there) == 24
