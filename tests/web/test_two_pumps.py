"""The page of a person with two pumps: only the worn one counts."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import attrs

from tconnectsync import Zones, newest_data
from tconnectsync.cli.status_lines import status_lines, verdict
from tconnectsync.queries.status import status_of
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump
from tconnectsync_web.languages import Languages
from tconnectsync_web.metrics import families
from tconnectsync_web.pages.chain import Level, chain
from tconnectsync_web.pages.overview import overview
from tests.simulator.two_pumps import hand_over
from tests.statistics.simulated_log import write_log
from tests.support.clocks import FakeClock
from tests.web.simulated_pages import reader_of

UTC = timezone.utc
ZONE = "Europe/Berlin"
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


def until(pump: SimulatedPump, end: datetime) -> SimulatedPump:
    """The pump, with its records up to ``end``, all uploaded by then."""
    records = tuple(record for record in pump.log if record.at_s <= end.timestamp())
    return attrs.evolve(
        pump, log=tuple(record._replace(uploaded_s=min(record.uploaded_s, end.timestamp())) for record in records)
    )


def test_a_silent_worn_pump_is_seen(tmp_path: Path) -> None:
    """The pump in the drawer still uploads: page, `status` and metric give the age of the worn pump's data."""
    plan = SimulationPlan(seed=8, zone=ZONE, start=date(2026, 6, 3), days=5, drawer_rate="profile")
    silent = datetime(2026, 6, 6, 14, tzinfo=UTC)
    now = silent + 5 * HOUR
    drawer, worn = hand_over(plan, datetime(2026, 6, 5, 7, 30, tzinfo=UTC))
    write_log(tmp_path, until(drawer, now - MINUTE), until(worn, silent))
    status = status_of(tmp_path, sources={"tandem": True}, sinks={}, zones=Zones(timezone=ZONE), clock=FakeClock(now))
    status["sources"]["tandem"] |= {"state": "ok", "message": "", "last_fetch": now.isoformat()}
    status["daemon"] |= {"state": "ok", "message": ""}
    newest = newest_data(status)
    assert newest is not None
    assert silent - 10 * MINUTE < newest <= silent

    lines = status_lines(status, now, ZoneInfo(ZONE))
    assert "(5 h " in verdict(lines, status, now, ZoneInfo(ZONE)).lines[0]
    shown = {name: numbers for name, _, _, numbers in families(status, 0.1)}
    assert shown["source_newest_event_timestamp_seconds"] == [(["tandem"], newest.timestamp())]
    assert chain(status, Languages().choose(["en"]), now)[0].level is Level.BAD
    reader = reader_of(tmp_path, ZONE, now)
    page = overview(reader, 6)
    reader.close()
    assert page.newest == newest
    assert page.is_old
