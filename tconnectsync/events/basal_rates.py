"""The limits of how long a recorded basal rate applies.

Three readers of basal records apply them: ``tconnectsync.statistics.basal`` for sums, and the folds ``basal`` of Nightscout and
InfluxDB for their documents. Each says in its module why it is not one of the others.
"""

from __future__ import annotations

from datetime import timedelta

from tconnectsync.events.insulin import BasalDelivered, BasalRateChanged

CONFIRMED_FOR = timedelta(minutes=15)
"""How long a rate from record 279 applies without another one; they come every five minutes."""
JOINT = timedelta(seconds=1)
"""Rows with their own length that are this close are one span: their lengths are whole seconds."""
RESUME_PAIR = timedelta(seconds=60)
"""A rate this close before record 12 is the one with which the pump resumed."""


def may_resume(body: BasalDelivered | BasalRateChanged) -> bool:
    """Return whether this rate, recorded during a suspension, is one of a pump that delivers, even if it is 0.

    The suspension itself is also recorded as a rate of 0. A record without a source or reason counts as part of it.
    """
    if isinstance(body, BasalDelivered):
        return body.rate_source not in ("suspended", "unknown", None)
    return bool(body.reasons) and "suspended" not in body.reasons
