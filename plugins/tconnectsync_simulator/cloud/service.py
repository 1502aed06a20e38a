"""What the simulated clouds share: a server on the loopback, the requests that came, and the faults to come."""

from __future__ import annotations

import threading
from datetime import datetime
from types import TracebackType
from typing import Protocol, TypeVar

import attrs
import msgspec

from tconnectsync_simulator.cloud.faults import CloudFault, CloudFaults
from tconnectsync_simulator.cloud.server import CloudAnswer, CloudRequest, CloudServer, CutOff

Itself = TypeVar("Itself", bound="SimulatedService")


class HasNow(Protocol):
    """A clock: what :class:`tconnectsync.Clock` is, and a test's own."""

    def now(self) -> datetime:
        """The current time, aware, UTC."""
        ...


class SimulatedService:
    """A running server; close it, or use it as a context manager. All methods may be called while requests are served.

    A service of its own says of what kind a request is (:meth:`kind_of`) and what it answers (:meth:`answer`).
    """

    def __init__(self, clock: HasNow) -> None:
        self.faults = CloudFaults()
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
        """Where it listens, without a last slash."""
        return self._server.url

    def fail(self, *faults: CloudFault) -> None:
        """Let these go wrong, in order."""
        with self._guard:
            self.faults.add(*faults)

    def revoke_tokens(self) -> None:
        """Every access token is over from now on."""
        with self._guard:
            self.forget_tokens()

    def count(self, kind: str) -> int:
        """How many requests of a kind came."""
        with self._guard:
            return sum(request.kind == kind for request in self.requests)

    # --- what a service of its own brings ---

    def kind_of(self, request: CloudRequest) -> str:
        """The word that :meth:`count` knows a request by."""
        raise NotImplementedError

    def answer(self, request: CloudRequest) -> CloudAnswer:
        """What goes back; ``kind`` is set."""
        raise NotImplementedError

    def forget_tokens(self) -> None:
        """Every access token is over from now on."""
        raise NotImplementedError

    # --- serving ---

    def _serve(self, request: CloudRequest) -> CloudAnswer:
        with self._guard:
            request = attrs.evolve(request, kind=self.kind_of(request))
            self.requests.append(request)
            fault = self.faults.take(request.path)
        if fault is None:
            with self._guard:
                return self.answer(request)
        if fault.wait_s:
            self._closing.wait(fault.wait_s)
        if fault.reset == "before":
            raise CutOff
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
            raise CutOff
        if fault.changes_json:
            answer = attrs.evolve(answer, body=msgspec.json.encode(fault.change(msgspec.json.decode(answer.body))))
        half = answer.body[: len(answer.body) // 2]
        if fault.short:
            return attrs.evolve(answer, body=half, promised=len(answer.body))
        return attrs.evolve(answer, body=half) if fault.cut else answer
