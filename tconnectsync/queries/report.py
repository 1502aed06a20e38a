"""`report`: the figures of a number of days, from the event log only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import attrs

from tconnectsync.clock import Clock
from tconnectsync.config.model import Config
from tconnectsync.errors import RequestRefused
from tconnectsync.plugin.manager import Plugins
from tconnectsync.python_api.open_log import open_pump_log
from tconnectsync.queries.receiver_units import receiver_units
from tconnectsync.statistics.summary import DAY, Summary, add_up
from tconnectsync.statistics.tables import day_row, period_json
from tconnectsync.text.glucose_units import GlucoseUnits


@attrs.frozen(kw_only=True)
class Report:
    """The figures of each day, and of all together. ``pumps``: serial numbers with data in the log."""

    days: Sequence[Summary]
    whole: Summary
    timezone: str
    units: GlucoseUnits
    newest: datetime
    made_at: datetime
    pumps: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return what ``report --json`` prints."""
        return {
            "timezone": self.timezone,
            "newest_event": self.newest.isoformat(timespec="seconds").replace("+00:00", "Z"),
            **period_json(self.whole),
            "by_day": [day_row(day) for day in self.days],
        }


def read_report(
    config: Config, plugins: Plugins, *, first: date | None = None, last: date | None = None, length: int, clock: Clock
) -> Report:
    """Return the report from ``first`` to ``last``, both included, or of ``length`` days up to ``last``, which is yesterday if None.

    Errors: RequestRefused if there is nothing to report, LogCorrupt.
    """
    if not (config.data_dir / "log").is_dir():
        raise RequestRefused(
            f"There is no event log in {config.data_dir} yet, so there is nothing to report.",
            remedy="Run `tconnectsync sync`. If a service runs, put `sudo` before the command.",
        )
    now = clock.now()
    yesterday = config.zones.wall_of(now).date() - DAY
    if first is not None and last is None and first > yesterday:
        raise RequestRefused(
            f"Only complete days are reported, until {yesterday}, and {first} is later.",
            remedy=f"Give an earlier day, or `--to {first}` too.",
        )
    last = last or yesterday
    first = first or last - timedelta(days=length - 1)
    with open_pump_log(config, plugins, clock=clock) as log:
        newest = log.newest()
        if newest is None:
            raise _nothing_known(log.pumps())
        days = log.days(first, last)
        if not any(day.days_with_data for day in days):
            raise _no_data(first, last, config.zones.wall_of(newest).date())
        return Report(
            days=days,
            whole=add_up(days),
            timezone=config.zone_of(last),
            units=config.chosen_units or receiver_units(config.data_dir) or config.glucose_units,
            newest=newest,
            made_at=now,
            pumps=log.pumps(),
        )


def _nothing_known(pumps: Sequence[str]) -> RequestRefused:
    if not pumps:
        return RequestRefused(
            "The event log has no data of a pump yet, so there is nothing to report.", remedy="Run `tconnectsync sync`."
        )
    return RequestRefused(
        "It is not known yet to which time zone the pump's clock is set, so no day can be reported.",
        remedy="`tconnectsync status` says what is missing.",
    )


def _no_data(first: date, last: date, newest: date) -> RequestRefused:
    others = f"Run `tconnectsync report --to {newest}`, or `tconnectsync"
    return RequestRefused(
        f"The event log has no glucose and no insulin from {first} to {last}. Its newest data is of {newest}.",
        remedy=f"{others} backfill --from {first} --to {last}`: it fetches these days, if the vendor still has them."
        if last < newest
        else f"{others} status` to see why nothing newer came.",
    )
