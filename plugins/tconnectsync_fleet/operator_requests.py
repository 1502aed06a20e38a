"""Requests of operators for one person: the worker that owns the person answers, step by step."""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from tconnectsync import Retryable, TconnectsyncError
from tconnectsync_fleet.person_runner import PersonRunner
from tconnectsync_fleet.servers import Servers
from tconnectsync_fleet.worker import Worker

log = logging.getLogger("tconnectsync.fleet")
SUBJECT = "fleet.requests"
COMMANDS = ("sync", "backfill", "replay", "resume", "verify", "dead_letters_retry", "dead_letters_drop")
STATUS_COMMAND = "status"
FIRST_ANSWER_S = 10.0
LATER_ANSWER_S = 120.0


def answer_requests(worker: Worker) -> None:
    """Answer requests for this worker's people from now on. Errors: Retryable."""

    async def received(message: Msg) -> None:
        threading.Thread(target=_answer, args=(worker, message), name="request", daemon=True).start()

    worker.servers.call(worker.servers.client.subscribe(f"{SUBJECT}.*", cb=received))


def _answer(worker: Worker, message: Msg) -> None:
    name = message.subject.rpartition(".")[2]

    def send(step: Mapping[str, Any]) -> None:
        answer = json.dumps(_without_secrets(step, worker.engine.redact)).encode()
        worker.servers.call(worker.servers.client.publish(message.reply, answer))

    def use(runner: PersonRunner) -> None:
        request = json.loads(message.data)
        send({"progress": f"{worker.name} has {name}"})
        try:
            send(_result(runner, request["command"], request.get("args", {}), send))
        except TconnectsyncError as error:
            send({"status": int(error.exit_status), "lines": [error.message, error.remedy or ""]})
        except Exception as error:
            log.exception("request_failed")  # the border between people
            send({"status": 1, "lines": [f"the request failed unexpectedly ({type(error).__name__})"]})

    try:
        worker.serve_request(name, use)
    except (Retryable, NatsError) as error:
        log.warning('request_not_answered message="%s"', error)


def _without_secrets(step: Mapping[str, Any], redact: Callable[[str], str]) -> dict[str, Any]:
    """Return a step of an answer as it may be sent: its ``progress`` and its ``lines`` go through ``redact``."""
    found = dict(step)
    if "progress" in found:
        found["progress"] = redact(str(found["progress"]))
    if "lines" in found:
        found["lines"] = [redact(str(line)) for line in found["lines"]]
    return found


def _result(
    runner: PersonRunner, command: str, args: Mapping[str, Any], send: Callable[[Mapping[str, Any]], None]
) -> dict[str, Any]:
    context = runner.context()
    if command == STATUS_COMMAND:
        return {"status": 0, "lines": [json.dumps(context.read_status(), default=str)]}
    if command not in COMMANDS:
        return {"status": 2, "lines": [f"there is no request {command!r}; these are possible: {', '.join(COMMANDS)}"]}
    said: list[str] = []

    def show(step: Any) -> None:
        words = getattr(step, "message", None) or getattr(step, "words", "")
        if words and said[-1:] != [words]:
            said[:] = [words]
            send({"progress": words})

    result = context.perform(command, args, show)
    return {"status": int(result.status), "lines": list(result.lines)}


def ask(servers: Servers, name: str, command: str, args: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Send a request and yield its steps; the last has ``status`` and ``lines``. Errors: Retryable if nobody answers."""
    steps: queue.Queue[dict[str, Any]] = queue.Queue()

    async def begin() -> None:
        client = servers.client
        inbox = client.new_inbox()

        async def received(message: Msg) -> None:
            steps.put(json.loads(message.data))

        await client.subscribe(inbox, cb=received)
        content = json.dumps({"command": command, "args": dict(args)}).encode()
        await client.publish(f"{SUBJECT}.{name}", content, reply=inbox)
        await asyncio.sleep(0)

    servers.call(begin())
    wait_s = FIRST_ANSWER_S
    while True:
        try:
            step = steps.get(timeout=wait_s)
        except queue.Empty:
            raise Retryable(
                f"no worker that owns {name} answers",
                remedy="See `tconnectsync fleet status`. If a worker has just ended, another one has its people within a minute.",
            ) from None
        wait_s = LATER_ANSWER_S
        yield step
        if "status" in step:
            return
