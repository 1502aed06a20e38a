"""The pump's clock: it has no zone and no daylight saving, and is right only if the wearer sets it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import attrs

from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.records import PUMP_EPOCH_S, Properties

DAY_S = 86_400
RTC_WRAP_MS = 2**32


def day_text(day: int) -> str:
    """The date of a day number since 1970."""
    return (datetime(1970, 1, 1) + timedelta(days=day)).date().isoformat()


@attrs.define
class SimulatedClock:
    """Converts true time to the pump's wall clock (both in Unix seconds; the pump's are naive)."""

    offset_s: int
    set_at_s: int
    drift_s_per_day: float = 0.0
    rtc_zero_s: int = 0
    _days: dict[int, str] = attrs.field(factory=dict, repr=False)

    def local_s(self, at_s: int) -> int:
        """The pump's time at a true time."""
        if not self.drift_s_per_day:
            return at_s + self.offset_s
        return at_s + self.offset_s + int(self.drift_s_per_day * (at_s - self.set_at_s) / DAY_S)

    def text(self, local_s: int) -> str:
        """Format a pump time as the API does."""
        day, second = divmod(local_s, DAY_S)
        date = self._days.get(day)
        if date is None:
            date = self._days[day] = day_text(day)
        return f"{date}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"

    def egv_time_stamp(self, at_s: int) -> int:
        """Convert a true time to the seconds in sensor records."""
        return self.local_s(at_s) - PUMP_EPOCH_S

    def reset(self, at_s: int) -> None:
        """Reset the clock to its epoch, and the free-running counter to 0."""
        self.offset_s = PUMP_EPOCH_S - at_s
        self.set_at_s = at_s
        self.rtc_zero_s = at_s

    def set(
        self, at_s: int, offset_s: int, milliseconds: int, *, time_first: bool = False
    ) -> list[tuple[int, int, Properties]]:
        """Set the clock. Returns (event code, pump time, properties) of the two records that this logs.

        The date is set first, even if it stays the same: record 14 has the new date and the old time of day, record 13
        the new time, some milliseconds later. With ``time_first`` the order is reversed.
        """
        before_s = self.local_s(at_s)
        after_s = at_s + offset_s
        rtc_ms = [((at_s - self.rtc_zero_s) * 1000 + milliseconds + more) % RTC_WRAP_MS for more in (0, 2)]
        between_s = (
            before_s // DAY_S * DAY_S + after_s % DAY_S if time_first else after_s // DAY_S * DAY_S + before_s % DAY_S
        )
        date = {"datePrior": (before_s - PUMP_EPOCH_S) // DAY_S, "dateAfter": (after_s - PUMP_EPOCH_S) // DAY_S}
        time = {"timePrior": before_s % DAY_S * 1000 + milliseconds, "timeAfter": after_s % DAY_S * 1000}
        parts = [(13, time), (14, date)] if time_first else [(14, date), (13, time)]
        stamped = zip(parts, (between_s, after_s), rtc_ms, strict=True)
        self.offset_s = offset_s
        self.set_at_s = at_s
        return [(code, local_s, {**values, "rawRtcTime": rtc}) for (code, values), local_s, rtc in stamped]


@attrs.frozen
class SimulatedClockSetting:
    """A setting of the clock by the wearer: true time, and new offset from UTC."""

    at_s: int
    offset_s: int


def zone_offset_s(zone: str, at_s: float) -> int:
    """A zone's offset from UTC at a time."""
    offset = datetime.fromtimestamp(at_s, timezone.utc).astimezone(ZoneInfo(zone)).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0


def wearer_zones(plan: SimulationPlan) -> tuple[tuple[float, str], ...]:
    """Return (from Unix second, zone) of the wearer's places, in order."""
    return ((float("-inf"), plan.zone), *sorted((flight.lands_at.timestamp(), flight.zone) for flight in plan.flights))


def zone_at(zones: tuple[tuple[float, str], ...], at_s: float) -> str:
    """The wearer's zone at a time."""
    return next(zone for begin, zone in reversed(zones) if begin <= at_s)


def clock_settings(plan: SimulationPlan, begin_s: int, end_s: int) -> list[SimulatedClockSetting]:
    """Return every setting of the clock from ``begin_s`` on; the first is at ``begin_s``."""
    zones = wearer_zones(plan)
    ahead_s = plan.clock_ahead_min * 60
    settings = [SimulatedClockSetting(begin_s, zone_offset_s(plan.zone, begin_s) + ahead_s)]
    due: list[int] = []
    if plan.clock_set_delay_h is not None:
        previous = zone_offset_s(plan.zone, begin_s)
        for hour_s in range(begin_s, end_s, 3600):
            # both offsets are of this hour's zone: a flight is no change of daylight saving
            zone = zone_at(zones, hour_s)
            previous, current = zone_offset_s(zone, hour_s - 3600), zone_offset_s(zone, hour_s)
            if current != previous:
                due.append(int(hour_s + plan.clock_set_delay_h * 3600))
    due.extend(int(flight.lands_at.timestamp() + flight.set_after_h * 3600) for flight in plan.flights)
    settings.extend(
        SimulatedClockSetting(at_s, zone_offset_s(zone_at(zones, at_s), at_s) + ahead_s) for at_s in sorted(due)
    )
    if plan.reset_at is not None:
        at_s = int(plan.reset_at.timestamp() + plan.reset_set_after_min * 60)
        settings.append(SimulatedClockSetting(at_s, zone_offset_s(zone_at(zones, at_s), at_s) + ahead_s))
    return sorted((setting for setting in settings if begin_s <= setting.at_s < end_s), key=lambda each: each.at_s)
