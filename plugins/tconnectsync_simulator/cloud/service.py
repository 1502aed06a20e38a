"""Shared by the simulated clouds: the server, the received requests, and the faults."""

from __future__ import annotations

import threading
from datetime import datetime
from types import TracebackType
from typing import Protocol, TypeVar

import attrs
import msgspec

from tconnectsync_simulator.cloud.faults import CloudFault
from tconnectsync_simulator.cloud.server import CloudAnswer, CloudRequest, CloudServer
from tconnectsync_simulator.fault_queue import FaultQueue
from tconnectsync_simulator.loopback_server import ConnectionBreaks

Itself = TypeVar("Itself", bound="SimulatedService")


class HasNow(Protocol):
    """A clock: a :class:`tconnectsync.Clock`, or a simpler one of a test."""

    def now(self) -> datetime:
        """The current time, aware, UTC."""
        ...


class SimulatedService:
    """A running server; close it, or use it as a context manager. Thread-safe.

    Subclasses define the kind of a request (:meth:`kind_of`) and the response (:meth:`answer`).
    """

    def __init__(self, clock: HasNow) -> None:
        self.faults: FaultQueue[CloudFault] = FaultQueue()
        self.requests: list[CloudRequest] = []
        self.clock = clock
        self._guard = threading.RLock()
        self._closing = threading.Event()
        self._server = CloudServer(self._serve, clock.now)

    def __enter__(self: Itself) -> Itself:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving."""
        self._closing.set()
        self._server.close()

    @property
    def url(self) -> str:
        """The address, without a slash at the end."""
        return self._server.url

    def fail(self, *faults: CloudFault) -> None:
        """Add faults."""
        with self._guard:
            self.faults.add(*faults)

    def revoke_tokens(self) -> None:
        """Revoke all access tokens and sessions."""
        with self._guard:
            self.forget_tokens()

    def count(self, kind: str) -> int:
        """How many requests of a kind were received."""
        with self._guard:
            return sum(request.kind == kind for request in self.requests)

    # --- defined by subclasses ---

    def kind_of(self, request: CloudRequest) -> str:
        """The kind of a request, for :meth:`count`."""
        raise NotImplementedError

    def answer(self, request: CloudRequest) -> CloudAnswer:
        """The response to a request, whose ``kind`` is set."""
        raise NotImplementedError

    def forget_tokens(self) -> None:
        """Revoke all access tokens and sessions."""
        raise NotImplementedError

    # --- serving ---

    def _serve(self, request: CloudRequest) -> CloudAnswer:
        with self._guard:
            request = attrs.evolve(request, kind=self.kind_of(request))
            self.requests.append(request)
            fault = self.faults.take(request.method, request.path)
        if fault is None:
            with self._guard:
                return self.answer(request)
        if fault.wait_s:
            self._closing.wait(fault.wait_s)
        if fault.reset == "before":
            raise ConnectionBreaks
        if fault.status is not None:
            return CloudAnswer(
                status=fault.status,
                body=fault.body.encode(),
                content_type=fault.content_type,
                headers=tuple(fault.headers.items()),
            )
        with self._guard:
            if fault.revoke:
                self.forget_tokens()
            answer = self.answer(request)
        if fault.reset == "after":
            raise ConnectionBreaks
        if fault.changes_json:
            answer = attrs.evolve(answer, body=msgspec.json.encode(fault.change(msgspec.json.decode(answer.body))))
        half = answer.body[: len(answer.body) // 2]
        if fault.short:
            return attrs.evolve(answer, body=half, promised=len(answer.body))
        return attrs.evolve(answer, body=half) if fault.cut else answer
