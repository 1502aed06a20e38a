"""How a sink retries after its receiver refused the credentials: after an hour, then every six hours.

A source's login is never retried automatically, because that may lock the account.
"""

from __future__ import annotations

import random

from tconnectsync.errors import CredentialsRefused

COUNTS_FROM = 2
"""The number of refusals in a row that stop the sink. A single one may be a proxy's error."""
FIRST_WAIT_S = 90.0
"""After the first refusal: longer than a receiver caches it."""
REFUSED_WAIT_S, LONGEST_WAIT_S = 3600.0, 6 * 3600.0


def wait_s(refusals: int, rng: random.Random) -> float:
    """Return the seconds to wait after the ``refusals``-th refusal in a row."""
    if refusals < COUNTS_FROM:
        return FIRST_WAIT_S * rng.uniform(1.0, 1.1)
    return (REFUSED_WAIT_S if refusals == COUNTS_FROM else LONGEST_WAIT_S) * rng.uniform(0.95, 1.0)


def remedy(error: CredentialsRefused, name: str) -> str:
    """Return what to do. `status` adds the time of the next automatic retry."""
    return f"{error.remedy or ''} It is retried automatically; `tconnectsync resume {name}` tries now.".lstrip()
