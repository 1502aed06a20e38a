"""What can go wrong at the simulated Nightscout, on request."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from tconnectsync_simulator.nightscout.server import SiteRequest


@attrs.frozen(kw_only=True)
class SiteFault:
    """What goes wrong with the next ``times`` requests of this ``method`` (empty: any) whose path contains ``path``."""

    status: int | None = None
    """Answer this status with ``body``, and do nothing."""

    body: str = "<html>simulated trouble</html>"
    content_type: str = "text/html"
    headers: Mapping[str, str] = attrs.field(factory=dict)
    reset: str = attrs.field(default="", validator=attrs.validators.in_(("", "before", "after")))
    """``"before"`` or ``"after"`` the request is served: break the connection instead of answering."""

    lose: int | None = None
    """Forget the array's document of this index, and answer as if it were stored."""

    double: int | None = None
    """Store the array's document of this index twice, as when two connections post it at the same moment."""

    stop_at: int | None = None
    """Answer 500 at the array's document of this index; those before it are stored."""

    wait_s: float = 0.0
    """Wait before serving."""

    method: str = ""
    path: str = ""
    times: int = 1


NONE = SiteFault()


@attrs.define
class Faults:
    """The faults still to come, in order."""

    _coming: list[SiteFault] = attrs.field(factory=list)

    def add(self, *faults: SiteFault) -> None:
        """Let them happen after those that are there."""
        self._coming.extend(faults)

    def clear(self) -> None:
        """Forget those that are left."""
        self._coming.clear()

    def take(self, request: SiteRequest) -> SiteFault:
        """The first one that fits this request, used up by one; one that does nothing where none fits."""
        for index, fault in enumerate(self._coming):
            if fault.method in {"", request.method} and fault.path in request.path:
                if fault.times > 1:
                    self._coming[index] = attrs.evolve(fault, times=fault.times - 1)
                else:
                    del self._coming[index]
                return fault
        return NONE
