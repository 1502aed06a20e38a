"""Check for ``check`` whether a pump's newest records can be read: two days are requested, nothing is stored."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from tconnectsync import CheckResult, counted
from tconnectsync_tandem.api.client import Client
from tconnectsync_tandem.api.pumps import Pump
from tconnectsync_tandem.api.responses import split_answer
from tconnectsync_tandem.decode.event_factory import make_event
from tconnectsync_tandem.polling.unreadable_days import UnreadableEvents, changed_records


def check_records(client: Client, pump: Pump, *, today: date, now: datetime) -> CheckResult:
    """Return a finding about the pump's last two days. Errors: those of the client."""
    last = today if pump.newest is None else pump.newest.date()
    found = UnreadableEvents((last - timedelta(days=1), last))
    for assignment in pump.assignments:
        answer = split_answer(client.pump_logs(assignment, *found.window), "the newest events")
        for place, raw in answer.entries():
            found.note(*make_event(raw, pump=pump.serial, received_at=now), place)
    found.end()
    if found.is_changed:
        error = changed_records(pump.serial, [found])
        return CheckResult(good=False, what=f"tandem: {error.message}", remedy=error.remedy)
    odd = found.kinds.total()
    but = f", but {odd:,}" if odd else ""
    records = counted(found.read, "record")
    return CheckResult(
        good=True, what=f"tandem: pump {pump.serial}, {records} from {last} and the day before can be read{but}"
    )
