"""Faults of simulated services: which requests they are for, and the queue of those still to come."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

import attrs


@attrs.frozen(kw_only=True)
class QueuedFault:
    """A fault for the next ``times`` requests of this ``method`` whose path contains ``path`` (empty: any)."""

    method: str = ""
    path: str = ""
    times: int = 1
    status: int | None = None
    """Respond with this status; the request is not processed."""

    headers: Mapping[str, str] = attrs.field(factory=dict)
    wait_s: float = 0.0
    """Wait before processing the request."""

    reset: str = attrs.field(default="", validator=attrs.validators.in_(("", "before", "after")))
    """Break the connection ``"before"`` or ``"after"`` the request is processed, without a response."""


AnyFault = TypeVar("AnyFault", bound=QueuedFault)


@attrs.define
class FaultQueue(Generic[AnyFault]):
    """The remaining faults, in order."""

    _coming: list[AnyFault] = attrs.field(factory=list)

    def __iter__(self) -> Iterator[AnyFault]:
        return iter(tuple(self._coming))

    def add(self, *faults: AnyFault) -> None:
        """Add faults at the end."""
        self._coming.extend(faults)

    def clear(self) -> None:
        """Remove the remaining faults."""
        self._coming.clear()

    def take(self, method: str, path: str) -> AnyFault | None:
        """Return the first fault that fits the request, and use it up by one."""
        for index, fault in enumerate(self._coming):
            if fault.method in {"", method} and fault.path in path:
                self._coming[index : index + 1] = [attrs.evolve(fault, times=fault.times - 1)] * (fault.times > 1)
                return fault
        return None
