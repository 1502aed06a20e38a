"""Requests of operators for one person: the worker that owns the person answers, step by step.

The steps: the worker has the request; it asks whether the operator still waits, and begins only if so; progress; the result. In between
it shows every few seconds that it works. So a request that nobody waits for any longer is never run.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from tconnectsync import Retryable, TconnectsyncError
from tconnectsync_fleet.fleet_words import for_person
from tconnectsync_fleet.log_person import log_person
from tconnectsync_fleet.person_runner import PersonRunner
from tconnectsync_fleet.request_keys import REQUESTS
from tconnectsync_fleet.schedule import ScheduledPerson
from tconnectsync_fleet.servers import Servers
from tconnectsync_fleet.worker import Worker

log = logging.getLogger("tconnectsync.fleet")
SUBJECT = "fleet.requests"
STATUS_COMMAND = "status"
ALIVE_S = 5.0
"""How often a worker shows that it still works at a request, or waits for a turn to end."""
CONFIRM_S = 5.0
WAITS = b"yes"
NOT_BEGUN = 8
"""The exit status of a request that was not begun: the person changes workers."""


def answer_requests(worker: Worker) -> None:
    """Answer requests for this worker's people from now on. Errors: Retryable."""

    async def received(message: Msg) -> None:
        threading.Thread(target=_answer, args=(worker, message), name="request", daemon=True).start()

    worker.servers.call(worker.servers.client.subscribe(f"{SUBJECT}.*", cb=received))


@attrs.define
class Asker:
    """The operator's command, which waits for steps. One of an older release cannot confirm that it waits."""

    servers: Servers
    inbox: str
    redact: Callable[[str], str]
    confirms: bool

    def send(self, step: Mapping[str, Any]) -> None:
        """Send a step without secrets. Errors: Retryable, NatsError."""
        self.servers.call(self.servers.client.publish(self.inbox, self._without_secrets(step)))

    def waits(self) -> bool:
        """Whether the operator still waits; the command knows from now on that its request begins."""
        if not self.confirms:
            return True
        try:
            answer = self.servers.call(self.servers.client.request(self.inbox, b'{"begins": true}', timeout=CONFIRM_S))
        except (Retryable, NatsError):
            return False
        return answer.data == WAITS

    @contextlib.contextmanager
    def kept_waiting(self) -> Iterator[None]:
        """Show every few seconds that somebody works."""
        ended = threading.Event()

        def show() -> None:
            while not ended.wait(ALIVE_S):
                with contextlib.suppress(Retryable, NatsError):
                    self.send({"alive": True})

        if self.confirms:
            threading.Thread(target=show, name="request-alive", daemon=True).start()
        try:
            yield
        finally:
            ended.set()

    def _without_secrets(self, step: Mapping[str, Any]) -> bytes:
        found = dict(step)
        if "progress" in found:
            found["progress"] = self.redact(str(found["progress"]))
        if "lines" in found:
            found["lines"] = [self.redact(str(line)) for line in found["lines"]]
        return json.dumps(found).encode()


def _answer(worker: Worker, message: Msg) -> None:
    name = message.subject.rpartition(".")[2]
    scheduled = worker.people.get(name)
    if scheduled is None or not scheduled.runner.is_owned:
        return  # another worker's
    with log_person(name):
        try:
            request = json.loads(message.data)
            asker = Asker(worker.servers, message.reply, worker.engine.redact, bool(request.get("confirms")))
            asker.send({"progress": f"{worker.name} has {name}"})
            _serve(worker, scheduled, request, asker)
        except (Retryable, NatsError) as error:
            log.warning('request_not_answered message="%s"', error)
        except Exception:
            log.exception("request_not_answered")  # the border between people


def _serve(worker: Worker, scheduled: ScheduledPerson, request: Mapping[str, Any], asker: Asker) -> None:
    """Run a request between two turns of the person, if the operator still waits then."""
    if not scheduled.lock.acquire(blocking=False):
        asker.send({"progress": "a turn of this person is running; the request begins when it has ended"})
        with asker.kept_waiting():
            scheduled.lock.acquire()
    began = False
    try:
        runner = scheduled.runner
        is_healthy = worker.is_healthy() and not worker.is_stopping
        only_looks = request.get("command") == STATUS_COMMAND
        is_held = runner.is_owned if only_looks else runner.is_held_under(worker.lease)
        if not (is_healthy and scheduled.is_wanted and is_held):
            if is_healthy:  # its last lease may have ended: the next turn takes the person under the present one
                worker.plan_now(scheduled)
            words = "was paused, or is being given to a worker. Nothing was done. Run the command again."
            asker.send({"status": NOT_BEGUN, "lines": [f"{runner.person.name} {words}"]})
        elif not asker.waits():
            log.warning("request_not_begun command=%s nobody waits for it any longer", request.get("command"))
        else:
            began = True
            with asker.kept_waiting():
                result = _result(runner, str(request["command"]), request.get("args", {}), asker.send)
            asker.send(result)
    finally:
        scheduled.lock.release()
        if began and request.get("command") != STATUS_COMMAND:
            worker.plan_now(scheduled)


def _result(
    runner: PersonRunner, command: str, args: Mapping[str, Any], send: Callable[[Mapping[str, Any]], None]
) -> dict[str, Any]:
    try:
        return _performed(runner, command, args, send)
    except TconnectsyncError as error:
        lines = [error.message, error.remedy or ""]
        return {"status": int(error.exit_status), "lines": [for_person(line, runner.person.name) for line in lines]}
    except Exception as error:
        log.exception("request_failed")  # the border between people
        return {"status": 1, "lines": [f"the request failed unexpectedly ({type(error).__name__})"]}


def _performed(
    runner: PersonRunner, command: str, args: Mapping[str, Any], send: Callable[[Mapping[str, Any]], None]
) -> dict[str, Any]:
    if command == STATUS_COMMAND:
        return {"status": 0, "lines": [json.dumps(runner.context().read_status(), default=str)]}
    if command not in REQUESTS:
        return {"status": 2, "lines": [f"there is no request {command!r}; these are possible: {', '.join(REQUESTS)}"]}
    said: list[str] = []

    def show(step: Any) -> None:
        words = getattr(step, "message", None) or getattr(step, "words", "")
        if words and said[-1:] != [words]:
            said[:] = [words]
            with contextlib.suppress(Retryable, NatsError):  # work continues without being watched
                send({"progress": words})

    result = runner.perform(command, args, show)
    lines = [for_person(line, runner.person.name) for line in result.lines]
    return {"status": int(result.status), "lines": lines}
