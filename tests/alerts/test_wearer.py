"""The wearer's alerts: what is reported of the pump's records, with time and age, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest

from tconnectsync.alerts.pump_records import battery, left, open_alarms, read_pump, site_of
from tconnectsync.alerts.wearer import PumpAlarm, PumpReading, due_alerts
from tconnectsync.clock import SystemClock
from tconnectsync.config.alert_options import AlertOptions
from tconnectsync.events import (
    AlarmCleared,
    AlarmRaised,
    BatteryMeasured,
    CannulaFilled,
    CartridgeFilled,
    Event,
    MalfunctionRaised,
)
from tconnectsync.events.pump_state import Reported
from tconnectsync.timeline.zones import Zones
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.installation import ZONE, Installation, recent_pump
from tests.statistics.simulated_log import write_log
from tests.support.clocks import FakeClock, ShiftedClock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout

NOW = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
OPTIONS = AlertOptions(
    pump_alarms=("occlusion", "malfunction"), low_reservoir_u=20.0, low_battery_percent=15.0, site_older_than_days=3.0
)


@attrs.define
class ToldWearer:
    seen: Mapping[str, str] = attrs.field(factory=dict)

    def at(self, now: datetime, **reading: Any) -> list[str]:
        self.seen, due = due_alerts(PumpReading(**reading), self.seen, OPTIONS, now)
        return [alert.title(now, timezone.utc) for alert in due]


def occlusion(at: datetime, id_: str = "1") -> PumpAlarm:
    return PumpAlarm(id=id_, name="occlusion", at=at)


def test_alarm_notification() -> None:
    """It has the alarm's time and age, and is sent once."""
    told, alarm = ToldWearer(), occlusion(NOW - 43 * MINUTE)
    [title] = told.at(NOW, alarms=(alarm,))
    assert "Occlusion alarm" in title
    assert "11:17 (43 min ago)" in title
    assert told.at(NOW + MINUTE, alarms=(alarm,)) == []


def test_old_and_other_alarms_are_not_told() -> None:
    other = PumpAlarm(id="2", name="battery_shutdown", at=NOW)
    assert ToldWearer().at(NOW, alarms=(occlusion(NOW - 4 * HOUR), other)) == []


def test_repeated_alarm() -> None:
    """It is sent every half hour at most."""
    told, titles = ToldWearer(), []
    for minute in range(0, 120, 2):
        at = NOW + minute * MINUTE
        titles += told.at(at, alarms=(occlusion(at, str(minute)),))
    assert len(titles) == 4


def test_second_alarm_after_a_clear() -> None:
    """It rang soon after the first one, and is still open half an hour later."""
    told, second = ToldWearer(), occlusion(NOW + 23 * MINUTE, "2")
    assert len(told.at(NOW + 2 * MINUTE, alarms=(occlusion(NOW),))) == 1
    assert told.at(NOW + 10 * MINUTE, alarms=()) == []
    assert told.at(NOW + 30 * MINUTE, alarms=(second,)) == []
    assert len(told.at(NOW + 32 * MINUTE, alarms=(second,))) == 1
    assert told.at(NOW + 90 * MINUTE, alarms=(second,)) == []


def test_late_repeated_alarm() -> None:
    """Of an alarm that repeats, each upload brings records of an hour ago: still one notification in half an hour."""
    told, titles = ToldWearer(), []
    for minute in range(0, 120, 5):
        titles += told.at(NOW + minute * MINUTE, alarms=(occlusion(NOW + (minute - 60) * MINUTE, str(minute)),))
    assert len(titles) == 4


def test_new_alarm_after_a_late_one() -> None:
    """The first one came 50 minutes late. The next one rang much later, so it does not wait."""
    told = ToldWearer()
    assert len(told.at(NOW + 50 * MINUTE, alarms=(occlusion(NOW),))) == 1
    assert len(told.at(NOW + 55 * MINUTE, alarms=(occlusion(NOW + 54 * MINUTE, "2"),))) == 1


def test_several_malfunctions_are_told_once() -> None:
    alarms = [PumpAlarm(id=str(number), name="malfunction_motor", at=NOW + number * MINUTE) for number in range(5)]
    told = ToldWearer()
    titles = [title for minute in range(5, 180, 5) for title in told.at(NOW + minute * MINUTE, alarms=tuple(alarms))]
    assert len(titles) == 1
    assert "12:04" in titles[0]


def test_a_malfunction_is_chosen_by_its_group() -> None:
    alarm = PumpAlarm(id="3", name="malfunction_motor", at=NOW)
    assert len(ToldWearer().at(NOW, alarms=(alarm,))) == 1


def test_an_alarm_is_chosen_by_its_number() -> None:
    """As in `announce` of Nightscout."""
    [alarm] = open_alarms([event(AlarmRaised(alarm_id=12, name="battery_shutdown"), 0)])
    for chosen, count in (("12", 1), ("battery", 1), ("1", 0)):
        options = AlertOptions(pump_alarms=(chosen,))
        assert len(due_alerts(PumpReading(alarms=(alarm,)), {}, options, NOW)[1]) == count, chosen


@pytest.mark.parametrize(("key", "limit"), [("reservoir_u", 20.0), ("battery_percent", 15.0)])
def test_a_low_value_is_told_once_until_it_was_high_again(key: str, limit: float) -> None:
    told = ToldWearer()

    def value(number: float, at: datetime = NOW) -> list[str]:
        return told.at(NOW, **{key: Reported(value=number, at=at)})

    assert value(limit - 1, NOW - 7 * HOUR) == [], "too old"
    assert value(limit + 1) == []
    [title] = value(limit - 1, NOW - 35 * MINUTE)
    assert "11:25 (35 min ago)" in title
    assert value(limit - 3) == []
    assert value(limit + 1) == []
    assert value(limit - 1) == [], "it only wavers"
    assert value(limit * 2) == []
    assert len(value(limit - 1)) == 1


def test_an_old_site_is_told_once() -> None:
    told, site = ToldWearer(), NOW - 3.2 * DAY
    assert told.at(NOW - DAY, site_at=site) == []
    [title] = told.at(NOW, site_at=site)
    assert "site is old" in title
    assert "3 d" in title
    assert told.at(NOW + DAY, site_at=site) == []
    assert len(told.at(NOW + 4 * DAY, site_at=NOW + HOUR)) == 1


def event(body: Any, minutes: float, id_: str = "") -> Event:
    at = NOW + minutes * MINUTE
    return Event(id=id_ or str(minutes), pump="1", kind="x", group=1, seq=1, source="tandem", body=body, pump_time=at.replace(tzinfo=None), at=at, received_at=at)  # fmt: skip


def test_records_become_open_alarms_and_values() -> None:
    found = [
        event(AlarmRaised(alarm_id=2, name="occlusion"), 0),
        event(AlarmRaised(alarm_id=8, name="empty_cartridge"), 1),
        event(AlarmRaised(alarm_id=18, name="resume_pump"), 2),
        event(AlarmCleared(alarm_id=2, name="occlusion"), 3),
        event(MalfunctionRaised(malfunction_id=9, name="motor"), 4),
    ]
    assert [alarm.name for alarm in open_alarms(found)] == ["empty_cartridge", "malfunction_motor"]
    assert left([event(CartridgeFilled(volume_u=180.0), 0)]) == Reported(value=180.0, at=NOW)
    assert left([]) is None
    assert battery([event(BatteryMeasured(battery_percent=40.0), 0), event(BatteryMeasured(), 1)]) == Reported(value=40.0, at=NOW)  # fmt: skip


@pytest.mark.parametrize("status", ["user_aborted", "stopped_by_alarm"])
def test_broken_off_fill_is_no_new_site(status: str) -> None:
    """The older site counts on: its age is reported, and a fill without a status counts as completed."""
    fills = [event(CannulaFilled(prime_u=0.3), 0), event(CannulaFilled(prime_u=0.1, status=status), 60)]
    assert site_of(fills) == NOW
    assert site_of([*fills, event(CannulaFilled(status="completed"), 90)]) == NOW + 90 * MINUTE


@pytest.mark.parametrize("ahead_min", [0, 8, 20])
def test_alarm_of_a_clock_that_is_ahead(tmp_path: Path, ahead_min: int) -> None:
    """It counts as soon as it is uploaded, and is never later than now."""
    pump = simulate(SimulationPlan(seed=6, zone=ZONE, start=date(2026, 6, 1), days=4))
    rang = next(alarm.started_at for alarm in pump.truth.alarms if alarm.name == "2")
    now = rang + MINUTE
    records = [
        record._replace(uploaded_s=min(record.uploaded_s, now.timestamp()))
        for record in pump.log
        if record.at_s <= now.timestamp()
    ]

    def fast(event: Event) -> Event:
        return msgspec.structs.replace(event, pump_time=event.pump_time + ahead_min * MINUTE)

    write_log(tmp_path, attrs.evolve(pump, log=tuple(records)), change=fast)
    reading = read_pump(tmp_path, Zones(timezone=ZONE), OPTIONS, clock=FakeClock(now))
    [alarm] = reading.alarms or ()
    assert alarm.name == "occlusion"
    assert now - 2 * MINUTE <= alarm.at <= now + MINUTE / 60


def test_a_real_log_is_read_beside_its_owner(tmp_path: Path) -> None:
    """A simulated pump's week: reservoir, battery and site are known, and their times are in the past."""
    with FaultyTandemCloud([recent_pump(7)], ShiftedClock()) as cloud, SimulatedNightscout() as site:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=7)
        home.run("sync")
    options = attrs.evolve(OPTIONS, pump_alarms=("occlusion",))
    now = SystemClock().now()
    reading = read_pump(home.folder / "data", Zones(timezone=ZONE), options, clock=SystemClock())
    assert reading.site_at is not None
    assert reading.battery_percent is not None
    assert reading.reservoir_u is not None
    assert now - 5 * DAY < reading.site_at < now
    assert now - DAY < reading.battery_percent.at < now
    assert now - HOUR < reading.reservoir_u.at < now
    assert 0 <= reading.reservoir_u.value <= 300
