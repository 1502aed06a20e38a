"""The base of simulated clouds: a server, and the lock under which it responds."""

from __future__ import annotations

import threading
from datetime import datetime
from typing import Protocol, TypeVar

from tconnectsync_simulator.cloud.server import CloudAnswer, CloudRequest, CloudServer

Itself = TypeVar("Itself", bound="SimulatedService")


class HasNow(Protocol):
    """A clock: a :class:`tconnectsync.Clock`, or a simpler one of a test."""

    def now(self) -> datetime:
        """The current time, aware, UTC."""
        ...


class SimulatedService:
    """A running server; close it, or use it as a context manager. Thread-safe. Subclasses define :meth:`answer`."""

    def __init__(self, clock: HasNow) -> None:
        self.clock = clock
        self._guard = threading.RLock()
        self._server = CloudServer(self.respond, clock.now)

    def __enter__(self: Itself) -> Itself:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving."""
        self._server.close()

    @property
    def url(self) -> str:
        """The address, without a slash at the end."""
        return self._server.url

    def respond(self, request: CloudRequest) -> CloudAnswer:
        """The response to a request, in any thread."""
        with self._guard:
            return self.answer(request)

    def answer(self, request: CloudRequest) -> CloudAnswer:
        """The response to a request, under the lock."""
        raise NotImplementedError
