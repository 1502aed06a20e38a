"""Changes of the infusion site, and suspensions: a separate list of the older service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from tconnectsync import events
from tconnectsync_tconnect.rows import timestamps as wall
from tconnectsync_tconnect.rows.row_event import RowEvent
from tconnectsync_tconnect.rows.timeline import named

SITE = "site and suspensions"
_SKIPPED = frozenset({"basal-profile", "previous"})
_REASONS = {"manual": "user", "alarm": "alarm", "site-cart": "user", "basal-iq": "plgs"}


@attrs.frozen(kw_only=True)
class SiteEvent:
    """One entry that is not skipped."""

    at: datetime
    reason: str
    row: Mapping[str, Any]

    @property
    def stops_delivery(self) -> bool:
        """Whether delivery was suspended; a temporary rate of 0 is a rate."""
        return self.reason in _REASONS


def site_event_of(row: Mapping[str, Any]) -> SiteEvent | None:
    """Read an entry; None for one to skip. Raises BadRow."""
    reason = str(row.get("SuspendReason") or "unknown")
    return None if reason in _SKIPPED else SiteEvent(at=wall.at_date(row), reason=reason, row=row)


def site_facts(row: Mapping[str, Any], around: Mapping[str, Any]) -> Sequence[RowEvent]:
    """``cannula.filled`` for a new infusion site; a suspension if basal ``confirmed`` it, else a note. Raises BadRow."""
    found = site_event_of(row)
    if found is None:
        return []
    facts = []
    if found.reason == "site-cart":
        facts.append(named("cannula.filled", found.at, events.CannulaFilled()))
    if around.get("confirmed") and found.stops_delivery:
        facts.append(named("pumping.suspended", found.at, events.PumpingSuspended(reason=_REASONS[found.reason])))
    elif not facts:
        body = events.PumpNoted(name="suspension", values={"reason": found.reason})
        facts.append(
            RowEvent(name=f"pump.noted:suspension:{found.at.isoformat()}", kind="pump.noted", at=found.at, body=body)
        )
    return facts
