"""The present values of the page, of a person with two pumps: only the worn one counts."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import attrs

from tconnectsync import Zones, newest_data
from tconnectsync.cli.status_lines import status_lines
from tconnectsync.queries.status import status_of
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump, simulate
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


def parts(pump: SimulatedPump, *spans: tuple[datetime, datetime]) -> SimulatedPump:
    """The pump, with its records of these times only."""
    records = [
        record for record in pump.log if any(one.timestamp() <= record.at_s < two.timestamp() for one, two in spans)
    ]
    return attrs.evolve(pump, log=tuple(records))


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
    assert [line.level for line in lines if line.name == f"pump {worn.plan.serial}"] == ["bad"]
    shown = {name: numbers for name, _, _, numbers in families(status, 0.1)}
    assert shown["source_newest_event_timestamp_seconds"] == [(["tandem"], newest.timestamp())]
    assert chain(status, Languages().choose(["en"]), now)[0].level is Level.BAD
    reader = reader_of(tmp_path, ZONE, now)
    page = overview(reader, 6)
    reader.close()
    assert page.newest == newest
    assert page.is_old


def test_the_reservoir_of_the_pump_that_was_taken_off(tmp_path: Path) -> None:
    """A pump is worn again after a day with another one, its old cartridge still in: the other pump's amount is not its own."""
    plan = SimulationPlan(seed=13, serial="1111122", zone=ZONE, start=date(2026, 6, 1), days=9)
    mine = simulate(plan)
    other = simulate(attrs.evolve(plan, seed=113, serial="90556643", first_sequence=900, first_bolus_id=1))
    off = next(fill.at for fill in other.truth.fills if fill.name == "cartridge" and fill.at.day == 4)
    on = off + 20 * HOUR
    now = on + 3 * HOUR
    first, last = datetime(2026, 5, 31, tzinfo=UTC), datetime(2026, 6, 30, tzinfo=UTC)
    assert not any(off < fill.at <= now for fill in mine.truth.fills)
    write_log(tmp_path, until(parts(mine, (first, off), (on, last)), now), until(parts(other, (off - MINUTE, on)), now))
    reader = reader_of(tmp_path, ZONE, now)
    page, log = overview(reader, 6), reader.open_log()
    filled = log.last({"cartridge.filled"})
    log.close()
    reader.close()
    assert page.glucose is not None
    assert not page.glucose.stale
    assert filled is not None
    assert filled.pump == mine.plan.serial
    assert page.reservoir_u is None, "a day of it is not known"


def test_a_long_stop_without_a_cartridge_in_the_log(tmp_path: Path) -> None:
    """Delivery stopped seven hours ago, and the log begins after the last fill: the page says that it is stopped."""
    pump = simulate(SimulationPlan(seed=4, zone=ZONE, start=date(2026, 6, 1), days=9))
    stop = next(each.started_at for each in pump.truth.suspensions if each.name == "user" and each.started_at.day > 3)
    meanwhile = (256, 399, 81, 5, 53)  # readings, battery, day
    records = tuple(
        record
        for record in pump.log
        if record.entry["eventCode"] != 33
        and (record.at_s <= stop.timestamp() + 2 or record.entry["eventCode"] in meanwhile)
    )
    write_log(tmp_path, until(attrs.evolve(pump, log=records), stop + 7 * HOUR))
    reader = reader_of(tmp_path, ZONE, stop + 7 * HOUR)
    page = overview(reader, 6)
    reader.close()
    assert page.suspended
