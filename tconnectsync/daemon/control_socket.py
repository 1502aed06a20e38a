"""The socket in the data folder through which commands reach the daemon: one JSON line in, JSON lines out.

A request is ``{"command": …, "args": {…}, "mark": …}`` (``mark`` identifies the configuration). Answers are ``{"notice": …}``,
``{"progress": …, "done": n, "total": n}`` and last ``{"status": n, "lines": […]}``. Only the owner of the data folder may open
the socket (mode 0600).
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from tconnectsync.exit_status import ExitStatus
from tconnectsync.jobs.dispatch import next_step
from tconnectsync.jobs.messages import Job, Notice, Progress, Request, Result, Step
from tconnectsync.json_converter import CONVERTER
from tconnectsync.text.plural import counted

ANSWER_WAIT_S = 600.0
LONGEST_REQUEST = 1 << 20
"""In bytes: enough for thousands of ids of dead letters."""
DEEPEST_REQUEST = 8
"""Maximum nesting of lists and objects; a request needs three."""
_STEPS: dict[str, type[Step]] = {"status": Result, "notice": Notice, "progress": Progress}
"""The kind of an answer by a key that it has."""
MOST_ASKERS = 32
"""Maximum number of connections. One more replaces the oldest connection that has sent no request."""


def read_request(line: bytes) -> Request:
    """Parse a request. Errors: ValueError with a message for the user."""
    if len(line) > LONGEST_REQUEST:
        raise ValueError(f"the request is longer than {counted(LONGEST_REQUEST, 'byte')}")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("the request could not be read") from None
    if not isinstance(found, dict) or not _is_shallow(found):
        raise ValueError("the request could not be read")
    command, args, config_id = found.get("command"), found.get("args") or {}, found.get("mark") or ""
    if not isinstance(command, str) or not isinstance(args, dict) or not isinstance(config_id, str):
        raise ValueError("the request could not be read")
    return Request(command=command, args=args, config_id=config_id)


def _is_shallow(value: Any) -> bool:
    """Whether the nesting is at most :data:`DEEPEST_REQUEST`: later code walks through it recursively."""
    level = [value]
    for _ in range(DEEPEST_REQUEST):
        within = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, (dict, list))]
        level = [each for some in within for each in some]
    return not level


@attrs.define
class _Conversation:
    channel: socket.socket
    received: bytes = b""
    job: Job | None = None
    is_disconnected: bool = False
    """The client is gone or does not read. Its job is finished nevertheless."""

    def send(self, step: Step) -> None:
        """Send a step, unless the client is gone."""
        if self.is_disconnected:
            return
        try:
            self.channel.sendall(CONVERTER.dumps(step).encode() + b"\n")
        except OSError:
            self.is_disconnected = True


@attrs.define
class ControlServer:
    """Accepts requests and runs their jobs one step at a time, between the daemon's other work."""

    path: Path
    begin: Callable[[Request], Job]
    _selector: selectors.BaseSelector = attrs.field(factory=selectors.DefaultSelector)
    _listener: socket.socket | None = None
    _open: list[_Conversation] = attrs.field(factory=list)

    def start(self, wake: socket.socket | None = None) -> None:
        """Start to listen. ``wake`` becomes readable when a signal arrives."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            with short_path(self.path) as address:
                listener.bind(address)
        except OSError as error:
            listener.close()
            error.filename = str(self.path)  # Python does not say it
            raise
        finally:
            os.umask(before)
        listener.listen(8)
        listener.setblocking(False)
        self._listener = listener
        self._selector.register(listener, selectors.EVENT_READ, None)
        if wake is not None:
            self._selector.register(wake, selectors.EVENT_READ, wake)

    @property
    def busy(self) -> bool:
        """Whether a job is running."""
        return any(conversation.job is not None for conversation in self._open)

    def wait(self, timeout_s: float) -> None:
        """Receive data; return when some arrived, or after ``timeout_s``."""
        for key, _ in self._selector.select(timeout_s):
            if key.data is None:
                self._accept()
            elif isinstance(key.data, _Conversation):
                self._receive(key.data)
            else:
                with contextlib.suppress(OSError):
                    key.data.recv(4096)

    def step(self) -> None:
        """Run one step of every job."""
        for conversation in list(self._open):
            if conversation.job is None:
                continue
            step = next_step(conversation.job)
            conversation.send(step)
            if isinstance(step, Result):
                self._end(conversation)

    def _accept(self) -> None:
        assert self._listener is not None  # noqa: S101 - it is what became readable
        try:
            channel, _ = self._listener.accept()
        except OSError:
            return
        channel.settimeout(1.0)
        conversation = _Conversation(channel)
        idle = next((each for each in self._open if each.job is None), None)
        if len(self._open) >= MOST_ASKERS and idle is not None:
            self._end(idle)
        elif len(self._open) >= MOST_ASKERS:
            busy = "The daemon is busy with other requests. Nothing was done. Run the command again in a minute."
            conversation.send(Result(status=ExitStatus.OWNED, lines=(busy,)))
            channel.close()
            return
        self._open.append(conversation)
        self._selector.register(channel, selectors.EVENT_READ, conversation)

    def _receive(self, conversation: _Conversation) -> None:
        try:
            chunk = conversation.channel.recv(65536)
        except OSError:
            chunk = b""
        if not chunk and conversation.job is None:
            self._end(conversation)
        elif not chunk:
            conversation.is_disconnected = True
            self._selector.unregister(conversation.channel)
        if not chunk or conversation.job is not None:  # ignore data after the request
            return
        conversation.received += chunk
        if b"\n" not in chunk and len(conversation.received) <= LONGEST_REQUEST:
            return
        try:
            request = read_request(conversation.received)
        except ValueError as error:
            conversation.send(Result(status=ExitStatus.USAGE, lines=(str(error),)))
            self._end(conversation)
            return
        conversation.received = b""
        conversation.job = self.begin(request)

    def _end(self, conversation: _Conversation) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(conversation.channel)
        conversation.channel.close()
        self._open.remove(conversation)

    def close(self) -> None:
        """Stop listening, and answer the clients that still wait."""
        stopped = "The daemon stopped before this was done. Nothing is lost. Start it, then run the command again."
        for conversation in list(self._open):
            conversation.send(Result(status=ExitStatus.OWNED, lines=(stopped,)))
            self._end(conversation)
        if self._listener is not None:
            self._listener.close()
            with contextlib.suppress(OSError):
                self.path.unlink()
        self._selector.close()


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Return a short path of a socket: an address has at most 107 bytes, so a deep folder is named by its descriptor."""
    if len(os.fsencode(path)) < 100:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def ask(path: Path, request: Request) -> Iterator[Step]:
    """Send a request to the daemon and yield its steps, last the Result. Raises OSError if nobody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(ANSWER_WAIT_S)
        with short_path(path) as address:
            channel.connect(address)
        channel.sendall(CONVERTER.dumps(request).encode() + b"\n")
        with channel.makefile("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break  # the daemon ended in the middle of the line
                found = json.loads(line)
                step = CONVERTER.structure(found, next(kind for key, kind in _STEPS.items() if key in found))
                yield step
                if isinstance(step, Result):
                    return
    closed = (
        "The daemon closed the connection before it answered. Nothing is lost. See `journalctl -u tconnectsync -n 50`."
    )
    yield Result(status=ExitStatus.OWNED, lines=(closed,))
