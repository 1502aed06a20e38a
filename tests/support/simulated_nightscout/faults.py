"""Faults of the simulated Nightscout, for tests."""

from __future__ import annotations

import attrs

from tests.support.fault_queue import QueuedFault


@attrs.frozen(kw_only=True)
class SiteFault(QueuedFault):
    """A fault of the site; ``body`` is sent with ``status``."""

    body: str = "<html>simulated trouble</html>"
    content_type: str = "text/html"
    lose: int | None = None
    """Do not store the document of this index, but respond as if it was stored."""

    double: int | None = None
    """Store the document of this index twice, as if two connections posted it at once."""

    stop_at: int | None = None
    """Respond with status 500 at the document of this index; those before it are stored."""


NONE = SiteFault()
