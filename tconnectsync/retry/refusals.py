"""What a sink does when its receiver refuses the credentials: two refusals in a row count, later ones are tried now and then.

A source's login is another matter: it is never tried again by itself, because that may lock the account.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from tconnectsync.errors import CredentialsRefused

COUNTS_FROM = 2
"""One refusal alone may be a hiccup of a proxy."""
FIRST_WAIT_S = 90.0
"""After the first: longer than a receiver remembers a refusal without asking."""
REFUSED_WAIT_S, LONGEST_WAIT_S = 3600.0, 6 * 3600.0


def wait_s(refusals: int, rng: random.Random) -> float:
    """Seconds to wait after the ``refusals``-th refusal in a row."""
    if refusals < COUNTS_FROM:
        return FIRST_WAIT_S * rng.uniform(1.0, 1.1)
    return (REFUSED_WAIT_S if refusals == COUNTS_FROM else LONGEST_WAIT_S) * rng.uniform(0.95, 1.0)


def remedy(error: CredentialsRefused, name: str, now: datetime, wait: float) -> str:
    """What to do, and when the sink tries again by itself."""
    then = now + timedelta(seconds=wait)
    again = f"The next try is at {then:%Y-%m-%d %H:%M} UTC; `tconnectsync resume {name}` tries now."
    return f"{error.remedy or ''} {again}".lstrip()
