"""The whole engine on a disk that crashes or fails: in the end the same is delivered as without.

The process dies before each lasting step in turn: a call to the log's disk, a commit of the outbox, a delivery, or its
answer. Or each of these fails once, and the same process continues.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from tconnectsync import Delivery, Document, Outcome, Retryable
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.stored_values import StoredValue, StoredValues
from tests.support.clocks import FakeClock
from tests.support.crashing_files import CallFaults, Crash, CrashingFiles, Image
from tests.support.engine.fakes import FakeReceiver
from tests.support.engine.harness import BEGIN, EngineHarness
from tests.support.memory_folder import memory_folder

FIRST, LATER, END = (BEGIN + timedelta(hours=hours) for hours in (3, 5, 12))
SEGMENT_BYTES = 12_000
"""So that one poll fills more than one segment."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory, if the machine has one."""
    with tempfile.TemporaryDirectory(dir=memory_folder()) as name:
        yield Path(name)


@attrs.define
class UnreliableReceiver(FakeReceiver):
    """A receiver that may be out of reach, and whose answer may be lost."""

    faults: CallFaults = attrs.field(factory=CallFaults)

    def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        if self.faults.next("deliver"):
            raise Retryable("not reached", in_doubt=False)
        outcomes = super().deliver(batch)
        if self.faults.next("answer"):
            raise Retryable("no answer came", in_doubt=True)
        return outcomes


@pytest.fixture
def turns_of_outboxes(monkeypatch: pytest.MonkeyPatch) -> dict[str, CallFaults]:
    """Every commit of an outbox is a turn, counted under the key "now"."""
    now: dict[str, CallFaults] = {"now": CallFaults()}
    transaction, put = Outbox.transaction, StoredValues.put

    def fail_if_due(call: str) -> None:
        if now["now"].next(call):
            raise sqlite3.OperationalError("database or disk is full")

    @contextlib.contextmanager
    def transaction_with_fault(outbox: Outbox, *, durable: bool = True) -> Iterator[None]:
        with transaction(outbox, durable=durable):
            yield
            fail_if_due("commit")

    def put_with_fault(facts: StoredValues, fact: StoredValue[Any], value: Any) -> None:
        if not facts._db.in_transaction:
            fail_if_due("commit")
        put(facts, fact, value)

    monkeypatch.setattr(Outbox, "transaction", transaction_with_fault)
    monkeypatch.setattr(StoredValues, "put", put_with_fault)
    return now


# --- the scenarios ------------------------------------------------------------------------------------------------------


def sync(harness: EngineHarness) -> None:
    harness.ask("sync")


def replay(harness: EngineHarness) -> None:
    harness.ask("replay", sink="shelf")


def no_one(harness: EngineHarness) -> None:
    del harness


def synced(harness: EngineHarness) -> None:
    assert harness.ask("sync").status == 0
    harness.clock.time = LATER


def lost_at_the_site(harness: EngineHarness) -> None:
    synced(harness)
    assert harness.ask("sync").status == 0
    harness.receiver.there.clear()


@attrs.frozen
class EngineScenario:
    """``begin`` while nothing fails, then ``work``."""

    begin: Callable[[EngineHarness], None]
    work: Callable[[EngineHarness], None]


SCENARIOS = {
    "the first sync": EngineScenario(no_one, sync),
    "catching up": EngineScenario(synced, sync),
    "a replay": EngineScenario(lost_at_the_site, replay),
}


def started(
    folder: Path, image: Image, there: Mapping[str, Document], at: FakeClock, faults: CallFaults
) -> EngineHarness:
    receiver = UnreliableReceiver(batch_size=3, there=dict(there), faults=faults)
    clock = FakeClock(at.time)
    return EngineHarness(
        folder, clock=clock, receiver=receiver, files=CrashingFiles(image, faults), segment_bytes=SEGMENT_BYTES
    )


def moved(image: Image, old: Path, new: Path) -> Image:
    return {new / path.relative_to(old): text for path, text in image.items()}


def prepared_engine(name: str, folder: Path) -> EngineHarness:
    """The engine in which the scenario's work begins; closed."""
    folder.mkdir(parents=True)
    harness = started(folder, {}, {}, FakeClock(FIRST), CallFaults())
    SCENARIOS[name].begin(harness)
    harness.engine.close()
    return harness


def runs_with_fault(
    name: str, folder: Path, outboxes: dict[str, CallFaults], **how: Any
) -> Iterator[tuple[EngineHarness, CallFaults]]:
    """The scenario's beginning again and again, each time with the next step as the one that ``how`` affects."""
    before = prepared_engine(name, folder / "begun")
    [(which, _)] = [(key, value) for key, value in how.items() if value is None]
    for number in range(1, 1000):
        here = folder / "here"
        shutil.copytree(before.folder, here)
        faults = CallFaults(**{**how, which: number})
        image = moved(before.files.now(), before.folder, here)  # type: ignore[attr-defined]
        outboxes["now"] = CallFaults()
        harness = started(here, image, before.receiver.there, before.clock, CallFaults())
        harness.files.faults = harness.receiver.faults = outboxes["now"] = faults  # type: ignore[attr-defined]
        print(f"{which} {number}")  # shown when it fails
        yield harness, faults
        harness.engine.close()
        shutil.rmtree(here)
        if faults.count < number:
            assert number > 10
            return


# --- what must hold -----------------------------------------------------------------------------------------------------


def finished(harness: EngineHarness) -> dict[str, tuple[Any, ...]]:
    """Return what is there when everything has been read and delivered."""
    harness.clock.time = END
    for _ in range(20):
        if harness.ask("sync").status == 0:
            break
        harness.clock.sleep(7200)
    else:
        pytest.fail(f"it does not end: {harness.runner.health}, {harness.engine.pollers['pump'].health}")
    return {id_: (known.at, known.content) for id_, known in harness.receiver.there.items() if known.at < END}


def undisturbed(name: str, folder: Path) -> dict[str, tuple[Any, ...]]:
    harness = prepared_engine(name, folder)
    harness.open()
    SCENARIOS[name].work(harness)
    try:
        return finished(harness)
    finally:
        harness.engine.close()


def check_position(harness: EngineHarness) -> None:
    """The source says that it has read nothing that is not in the log."""
    poller = harness.engine.pollers["pump"]
    numbers = {event.seq for event in harness.engine.events.events() if event.seq is not None}
    windows = harness.engine.events.facts("window.fetched")
    for window in windows:
        minutes = int((window.received_at - BEGIN).total_seconds() // 60)
        assert numbers >= {10 + minute for minute in range(0, minutes, 5)}
    last = poller.state.last_fetch
    work = timedelta(seconds=1)  # the clock moves on between the last window and the end of the poll
    assert last is None or (windows and last <= windows[0].received_at + work)


@pytest.mark.parametrize("name", SCENARIOS)
def test_crash_at_any_call(name: str, folder: Path, turns_of_outboxes: dict[str, CallFaults]) -> None:
    """After a crash at any call, the same documents are delivered."""
    wanted = undisturbed(name, folder / "undisturbed")
    for harness, _ in runs_with_fault(name, folder, turns_of_outboxes, crash_at=None):
        ended = False
        with contextlib.suppress(Crash):
            SCENARIOS[name].work(harness)
            ended = True
        turns_of_outboxes["now"] = CallFaults()
        images = harness.files.after_crash()  # type: ignore[attr-defined]
        for image in {id(found): found for found in (images[0], images[len(images) // 2], images[-1])}.values():
            again = folder / "again"
            shutil.copytree(harness.folder, again)
            fresh = started(
                again, moved(image, harness.folder, again), harness.receiver.there, harness.clock, CallFaults()
            )
            check_position(fresh)
            if not ended:  # a command that was cut off is given again
                SCENARIOS[name].work(fresh)
            assert finished(fresh) == wanted
            check_position(fresh)
            fresh.engine.close()
            shutil.rmtree(again)


@pytest.mark.parametrize("name", SCENARIOS)
def test_failure_of_any_call(name: str, folder: Path, turns_of_outboxes: dict[str, CallFaults]) -> None:
    """After a failure of any call, the same process delivers the same documents."""
    wanted = undisturbed(name, folder / "undisturbed")
    for harness, _ in runs_with_fault(name, folder, turns_of_outboxes, fail_at=None):
        try:
            SCENARIOS[name].work(harness)
        except sqlite3.OperationalError:  # a command says so, and is given again
            SCENARIOS[name].work(harness)
        assert finished(harness) == wanted
        check_position(harness)
