"""Sends an operator's request to the worker that owns a person, and follows its steps."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from nats.aio.msg import Msg

from tconnectsync import Retryable
from tconnectsync_fleet.lease import live_workers, serving, worker_for
from tconnectsync_fleet.operator_requests import SUBJECT, WAITS
from tconnectsync_fleet.servers import Servers

FIRST_ANSWER_S = 10.0
SILENCE_S = 30.0
"""A worker that works shows it more often."""


@attrs.define
class Conversation:
    """One request: its steps, and whether it begins. It begins only if this side still waits for it."""

    steps: queue.SimpleQueue[dict[str, Any]] = attrs.field(factory=queue.SimpleQueue)
    has_begun: bool = False
    _gave_up: bool = False
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    async def received(self, message: Msg) -> None:
        """Take a step; confirm that somebody waits, if the worker asks."""
        step = json.loads(message.data)
        if step.get("begins"):
            if not self._may_begin():
                await message.respond(b"no")
                return
            await message.respond(WAITS)
            step = {"progress": "the command has begun; from here on the worker finishes it"}
        self.steps.put(step)

    def _may_begin(self) -> bool:
        """Whether this worker may begin: the first that asks, while somebody waits. While a person moves, two workers may ask."""
        with self._lock:
            may_begin = not (self._gave_up or self.has_begun)
            self.has_begun = self.has_begun or may_begin
            return may_begin

    def give_up(self) -> bool:
        """Wait no longer. False: the request has begun."""
        with self._lock:
            self._gave_up = not self.has_begun
            return self._gave_up

    def next_step(self, timeout_s: float) -> dict[str, Any] | None:
        """Return the next step; None if the worker is silent for so long."""
        try:
            return self.steps.get(timeout=timeout_s)
        except queue.Empty:
            return None


def ask(servers: Servers, name: str, command: str, args: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Send a request and yield its steps, ``progress`` each; the last has ``status`` and ``lines``.

    A caller that stops reading the steps before the request has begun cancels it. Errors: Retryable if no worker answers, or no longer.
    """
    talk = Conversation()

    async def begin() -> None:
        inbox = servers.client.new_inbox()
        await servers.client.subscribe(inbox, cb=talk.received)
        content = json.dumps({"command": command, "args": dict(args), "confirms": True}).encode()
        await servers.client.publish(f"{SUBJECT}.{name}", content, reply=inbox)

    wait_s = FIRST_ANSWER_S
    try:
        servers.call(begin())
        while True:
            step = talk.next_step(wait_s)
            if step is None:
                if talk.give_up():
                    raise _not_begun(servers, name, was_taken=wait_s != FIRST_ANSWER_S)
                step = talk.next_step(0.0 if wait_s == SILENCE_S else SILENCE_S)
                if step is None:
                    raise Retryable(
                        f"the worker of {name} no longer answers. The command had begun: it may be partly done or still running",
                        remedy=f"See what was done: `tconnectsync fleet show {name}`. Then run the command again.",
                    )
            wait_s = SILENCE_S
            if "progress" in step or "status" in step:
                yield step
            if "status" in step:
                return
    finally:
        talk.give_up()


def _not_begun(servers: Servers, name: str, *, was_taken: bool) -> Retryable:
    worker = worker_for(name, serving(live_workers(servers)))
    remedy = "See `tconnectsync fleet status`, then run it again. If a worker has ended, another one takes over its people within a minute."
    if was_taken:
        cause = f"the worker of {name} no longer answers, and had not begun"
    elif worker is None:
        cause, remedy = "there is no worker", "Start one: `tconnectsync fleet worker`."
    else:
        cause = f"no worker has {name} at the moment; {worker} should have this person"
    return Retryable(f"{cause}. Nothing was done, and the command will not run later", remedy=remedy)
