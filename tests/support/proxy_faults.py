"""What a network and the servers behind it can do to a request, by name, and which request it happens to."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterable, Mapping

import attrs

STATUSES: Mapping[str, str] = {
    "400": "Bad Request",
    "401": "Unauthorized",
    "403": "Forbidden",
    "404": "Not Found",
    "408": "Request Timeout",
    "413": "Payload Too Large",
    "429": "Too Many Requests",
    "500": "Internal Server Error",
    "502": "Bad Gateway",
    "503": "Service Unavailable",
    "504": "Gateway Timeout",
}

UNSERVED: Mapping[str, str] = {
    "refused": "no connection comes about for a moment",
    "reset_before": "the connection breaks before the request is served",
    "html": "a web page with status 200",
    "null": "`null` with status 200",
    **{status: f"{status} {reason}" for status, reason in STATUSES.items()},
}
"""The server behind the proxy never sees the request."""

SERVED: Mapping[str, str] = {
    "reset_after": "the connection breaks after the request was served: done, but not acknowledged",
    "gateway": "504 after the request was served",
    "late": "the answer comes after the time-out",
    "half": "the connection ends in the middle of the answer",
    "truncated": "the first half of the answer, as if it were all",
    "reordered": "the JSON with its keys, and the items of its outer lists, in another order",
    "echoed": "every item of the JSON's outer lists twice",
    "twice": "the request is served twice",
    "loses_one": "one document of a POST's list is not passed on, and answered as if it were stored",
}
"""The server acts on the request; what comes back is not its answer."""

KINDS: Mapping[str, str] = {**UNSERVED, **SERVED}


def _known(_instance: object, _attribute: object, kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"no such fault: {kind!r}; there are {', '.join(KINDS)}")


@attrs.frozen
class ProxyFault:
    """``kind`` (one of :data:`KINDS`) happens to requests of this ``method`` (empty: any) whose path contains ``path``.

    The first ``skip`` of them pass, then it happens ``times`` times. ``retry_after`` is the header of an error status.
    """

    kind: str = attrs.field(validator=_known)
    method: str = attrs.field(default="", kw_only=True)
    path: str = attrs.field(default="", kw_only=True)
    skip: int = attrs.field(default=0, kw_only=True)
    times: int = attrs.field(default=1, kw_only=True)
    retry_after: str = attrs.field(default="", kw_only=True)


@attrs.define
class ProxyFaults:
    """The faults still to come: those of the script in order, and random ones for all other requests."""

    injected: Counter[str] = attrs.field(factory=Counter)
    """How many of each kind happened."""

    _script: list[ProxyFault] = attrs.field(factory=list)
    _dice: random.Random = attrs.field(factory=lambda: random.Random(0))
    _share: float = 0.0
    _kinds: tuple[str, ...] = ()
    _guard: threading.Lock = attrs.field(factory=threading.Lock, repr=False)

    def add(self, *faults: ProxyFault | str) -> None:
        """Add these after those that are there; a kind alone happens to the next request."""
        with self._guard:
            self._script += [ProxyFault(fault) if isinstance(fault, str) else fault for fault in faults]

    def at_random(self, share: float, *, seed: int, kinds: Iterable[str] = tuple(KINDS)) -> None:
        """From now on this share of the requests meets one of these kinds."""
        with self._guard:
            self._dice = random.Random(seed)
            self._share, self._kinds = share, tuple(ProxyFault(kind).kind for kind in kinds)

    def clear(self) -> None:
        """Remove all faults; the counts stay."""
        with self._guard:
            self._script.clear()
            self._share = 0.0

    def take(self, method: str, path: str, *, documents: int) -> ProxyFault | None:
        """What happens to this request, counted. ``documents``: how many a POST carries in a list."""
        with self._guard:
            fault = self._scripted(method, path, documents) or self._chance(documents)
            if fault is not None:
                self.injected[fault.kind] += 1
            return fault

    def _scripted(self, method: str, path: str, documents: int) -> ProxyFault | None:
        for index, fault in enumerate(self._script):
            if fault.method in {"", method} and fault.path in path and (documents or fault.kind != "loses_one"):
                if fault.skip:
                    self._script[index] = attrs.evolve(fault, skip=fault.skip - 1)
                    return None
                if fault.times > 1:
                    self._script[index] = attrs.evolve(fault, times=fault.times - 1)
                else:
                    del self._script[index]
                return fault
        return None

    def _chance(self, documents: int) -> ProxyFault | None:
        if not self._share or self._dice.random() >= self._share:
            return None
        kinds = [kind for kind in self._kinds if documents or kind != "loses_one"]
        return ProxyFault(self._dice.choice(kinds), retry_after="1") if kinds else None
