"""Operators' requests for one person on a real server: taken at once, begun only while somebody waits, and never run late."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import attrs
import pytest
from nacl.public import PrivateKey, SealedBox
from nats.aio.msg import Msg

from tconnectsync import Retryable
from tconnectsync_fleet import ask_worker, operator_requests
from tconnectsync_fleet.ask_worker import FIRST_ANSWER_S, SILENCE_S, Conversation, ask
from tconnectsync_fleet.lease import STOPPING, WorkerLease
from tconnectsync_fleet.operator_requests import ALIVE_S, SUBJECT, WAITS, Asker, answer_requests
from tconnectsync_fleet.people import Member
from tconnectsync_fleet.person_runner import FleetContext, PersonRunner
from tconnectsync_fleet.schedule import DueQueue, ScheduledPerson
from tconnectsync_fleet.servers import Servers
from tconnectsync_fleet.worker import Worker
from tests.e2e.installation import eventually
from tests.fleet.conftest import HeldLease

SECRET = "a secret of a person"
BEGUN_LATE = "a turn of this person is running"


@attrs.define
class AskedPerson:
    """A person of a worker, whose requests are noted. They fail with ``error``."""

    name: str
    servers: Servers
    scheduled: ScheduledPerson
    performed: list[str] = attrs.field(factory=list)
    error: Exception | None = None

    def context(self) -> AskedPerson:
        return self

    def read_status(self) -> dict[str, Any]:
        return {}

    def perform(self, command: str, _arguments: Any, show: Callable[[Any], None]) -> Any:
        self.performed.append(command)
        show(SimpleNamespace(message=f"asks {SECRET}"))
        if self.error is not None:
            raise self.error
        return SimpleNamespace(status=0, lines=(f"asked {SECRET}",))

    def ask(self) -> Iterator[dict[str, Any]]:
        return ask(self.servers, self.name, "sync", {})


class SecretEngine:
    """Knows one secret."""

    def redact(self, text: str) -> str:
        return text.replace(SECRET, "***")


@pytest.fixture(scope="module")
def worker(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Worker:
    """A worker that does not run, and answers requests."""
    found = Worker(
        name="w1", folder=tmp_path_factory.mktemp("worker"), servers=servers, box=SealedBox(PrivateKey.generate()),
        engine=cast(FleetContext, SecretEngine()),
    )  # fmt: skip
    found._lease = cast(WorkerLease, HeldLease())
    answer_requests(found)
    return found


@pytest.fixture
def person(
    worker: Worker, servers: Servers, new_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> AskedPerson:
    """Somebody whom the worker has. Everything is a hundred times as fast."""
    monkeypatch.setattr(operator_requests, "ALIVE_S", 0.05)
    name = new_name()
    runner = SimpleNamespace(is_owned=True, person=Member(name=name, sealed=b""))
    runner.held_under = worker.lease
    runner.is_held_under = lambda lease: runner.held_under is lease
    found = AskedPerson(name, servers, ScheduledPerson(cast(PersonRunner, runner), is_wanted=True))
    runner.context, runner.perform = found.context, found.perform
    worker.people[name] = found.scheduled
    return found


@pytest.mark.parametrize("error", [None, Retryable(f"refused {SECRET}", remedy=f"change {SECRET}")])
def test_steps_and_result_without_secrets(person: AskedPerson, error: Exception | None) -> None:
    """The worker says that it has the request, what it does, and how it ended. No secret is in any of it."""
    person.error = error
    first, begun, *progress, last = person.ask()
    assert first == {"progress": f"w1 has {person.name}"}
    assert "has begun" in begun["progress"]
    assert progress == [{"progress": "asks ***"}]
    assert last["lines"] == (["asked ***"] if error is None else ["refused ***", "change ***"])
    assert bool(last["status"]) == (error is not None)


@pytest.mark.parametrize(("command", "is_planned"), [("sync", True), ("status", False)])
def test_turn_after_a_request(person: AskedPerson, worker: Worker, command: str, is_planned: bool) -> None:
    """Work that a command has left is done at once, and not at the time that was planned before."""
    scheduled = person.scheduled
    scheduled.due = planned = time.monotonic() + 3600.0
    worker._turns_due = DueQueue()
    list(ask(person.servers, person.name, command, {}))
    with scheduled.lock:
        pass  # the request has ended
    if is_planned:
        eventually(lambda: scheduled in worker._turns_due.take(time.monotonic()), "a turn that is due")
    assert (scheduled.due == planned) != is_planned


def test_turn_that_takes_long(person: AskedPerson, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator learns at once that a turn is running, waits longer than for a silent worker, and gets a result."""
    waits: list[float] = []
    next_step = Conversation.next_step

    def noted(talk: Conversation, timeout_s: float) -> dict[str, Any] | None:
        waits.append(timeout_s)
        return next_step(talk, 60.0)

    monkeypatch.setattr(Conversation, "next_step", noted)
    steps: queue.Queue[dict[str, Any]] = queue.Queue()
    waiting = threading.Thread(target=lambda: [steps.put(step) for step in person.ask()], daemon=True)
    with person.scheduled.lock:
        waiting.start()
        assert steps.get(timeout=60)["progress"] == f"w1 has {person.name}"
        assert BEGUN_LATE in steps.get(timeout=60)["progress"]
        eventually(lambda: len(waits) > 10, "signs of life, each of which begins a new wait")
        assert waiting.is_alive()
        assert person.performed == []
    waiting.join(60)
    assert waits[0] == FIRST_ANSWER_S
    assert set(waits[1:]) == {SILENCE_S}
    assert 5 * ALIVE_S < SILENCE_S, "some signs of life may be lost"
    assert person.performed == ["sync"]
    assert list(steps.queue)[-1]["status"] == 0


def test_nobody_waits_any_longer(person: AskedPerson, caplog: pytest.LogCaptureFixture) -> None:
    """A request whose operator has gone while a turn was running is not run afterwards."""
    steps = person.ask()
    with person.scheduled.lock:
        assert next(steps)
        assert BEGUN_LATE in next(steps)["progress"]
        steps.close()
    eventually(lambda: "request_not_begun" in caplog.text, "the worker's decision")
    assert person.performed == []


@pytest.mark.parametrize("change", ["paused", "given back", "no lease", "a new lease", "stopping"])
def test_person_moves_while_a_request_waits(person: AskedPerson, worker: Worker, change: str) -> None:
    """The request is refused, and says that nothing was done."""
    steps = person.ask()
    lease = worker._lease
    with person.scheduled.lock:
        assert next(steps)
        assert BEGUN_LATE in next(steps)["progress"]
        if change == "paused":
            person.scheduled.is_wanted = False
        elif change == "given back":
            cast(Any, person.scheduled.runner).held_under = None
        elif change == "a new lease":
            worker._lease = cast(WorkerLease, HeldLease())
        elif change == "stopping":
            worker.stop()
        else:
            worker._lease = cast(WorkerLease, HeldLease(is_held=False))
    last = list(steps)[-1]
    worker._lease, worker.is_stopping = lease, False
    assert last["status"]
    assert "Nothing was done" in last["lines"][0]
    assert person.performed == []
    turns = list(worker._turns_due.take(time.monotonic()))
    assert (person.scheduled in turns) == (change in ("given back", "a new lease"))


def test_state_is_shown_under_an_older_lease(person: AskedPerson) -> None:
    """`fleet show` only reads this worker's disk: it works between a new lease and the person's next turn."""
    cast(Any, person.scheduled.runner).held_under = None
    last = list(ask(person.servers, person.name, "status", {}))[-1]
    assert last == {"status": 0, "lines": ["{}"]}


def test_worker_that_falls_silent(person: AskedPerson, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the request had begun is known, also if the worker dies."""
    monkeypatch.setattr(ask_worker, "SILENCE_S", 0.3)
    monkeypatch.setattr(operator_requests, "ALIVE_S", 60.0)
    with person.scheduled.lock, pytest.raises(Retryable, match="had not begun") as caught:
        list(person.ask())
    assert "will not run later" in str(caught.value)
    eventually(lambda: not person.scheduled.lock.locked(), "the end of the turn")
    assert person.performed == []
    monkeypatch.setattr(ask_worker, "SILENCE_S", 1.0)
    monkeypatch.setattr(Asker, "send", lambda *_: None)
    with pytest.raises(Retryable, match="had begun") as caught:
        list(person.ask())
    assert f"fleet show {person.name}" in (caught.value.remedy or "")
    eventually(lambda: person.performed == ["sync"], "what had begun")


def test_two_workers_ask_to_begin() -> None:
    """While a person moves, two workers may have the same request. Only the first of them begins it."""
    talk, answers = Conversation(), list[bytes]()

    async def respond(answer: bytes) -> None:
        answers.append(answer)

    asks = cast(Msg, SimpleNamespace(data=b'{"begins": true}', respond=respond))
    asyncio.run(talk.received(asks))
    asyncio.run(talk.received(asks))
    assert answers == [WAITS, b"no"]
    assert talk.next_step(0.0) is not None
    assert talk.next_step(0.0) is None
    assert not talk.give_up()


def test_nobody_has_the_person(servers: Servers, new_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker answers: nothing was done, and the message says so."""
    monkeypatch.setattr(ask_worker, "FIRST_ANSWER_S", 0.2)
    with pytest.raises(Retryable, match="Nothing was done") as caught:
        list(ask(servers, new_name(), "sync", {}))
    assert "tconnectsync fleet" in (caught.value.remedy or "")


def test_only_worker_stops(servers: Servers, new_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that gives its people back takes no command: the message says to start one."""
    monkeypatch.setattr(ask_worker, "FIRST_ANSWER_S", 0.2)
    monkeypatch.setattr(ask_worker, "live_workers", lambda _: {"w1": {"owner": "w1.1", STOPPING: True}})
    with pytest.raises(Retryable, match="there is no worker") as caught:
        list(ask(servers, new_name(), "sync", {}))
    assert "tconnectsync fleet worker" in (caught.value.remedy or "")


def test_command_of_an_older_release(person: AskedPerson) -> None:
    """It cannot confirm that it waits, and knows only progress and result."""
    got: queue.Queue[dict[str, Any]] = queue.Queue()
    servers = person.servers

    async def begin() -> None:
        inbox = servers.client.new_inbox()

        async def received(message: Any) -> None:
            got.put(json.loads(message.data))

        await servers.client.subscribe(inbox, cb=received)
        await servers.client.publish(f"{SUBJECT}.{person.name}", b'{"command": "sync"}', reply=inbox)

    servers.call(begin())
    steps = [got.get(timeout=60) for _ in range(3)]
    assert ["progress" in step or "status" in step for step in steps] == [True, True, True]
    assert steps[-1]["status"] == 0
