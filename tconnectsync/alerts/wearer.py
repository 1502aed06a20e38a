"""Alerts for the wearer from the pump's own records: chosen alarms, reservoir, battery, the age of the infusion site.

They come with the uploads, often an hour late, so each says when it happened and how long ago that is. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo

import attrs

from tconnectsync.alerts.decisions import AlertReport, ReportKind
from tconnectsync.config.alert_options import AlertOptions
from tconnectsync.errors import LogCorrupt
from tconnectsync.events.alarms import names_match
from tconnectsync.events.pump_state import Reported
from tconnectsync.text.durations import parse_time, when_words

ALARM_FOR = timedelta(hours=3)
"""An older alarm is not news any more."""
ALARM_AGAIN = timedelta(minutes=30)
"""The same alarm is reported at most this often."""
FRESH = timedelta(hours=6)
"""A reservoir or battery value that is older says nothing about now."""
REARM = 1.2
"""A low value is reported again only after one that was this much higher than the limit: a new cartridge, a charge."""


@attrs.frozen(kw_only=True)
class PumpAlarm:
    """An alarm or malfunction that is not cleared. ``id`` is the event's. ``name`` is as in ``pump_alarms``."""

    id: str
    name: str
    at: datetime


@attrs.frozen(kw_only=True)
class PumpReading:
    """What the log says of the active pump. None: not known. ``site_at``: when the cannula was last filled."""

    alarms: tuple[PumpAlarm, ...] = ()
    reservoir_u: Reported | None = None
    battery_percent: Reported | None = None
    site_at: datetime | None = None
    error: LogCorrupt | None = None
    """Why some of it could not be read."""


def is_wanted(options: AlertOptions) -> bool:
    """Whether any of these alerts is on."""
    limits = (options.low_reservoir_u, options.low_battery_percent, options.site_older_than_days)
    return bool(options.pump_alarms) or any(limit is not None for limit in limits)


def wearer_reports(
    reading: PumpReading, seen: Mapping[str, str], options: AlertOptions, now: datetime, zone: tzinfo
) -> tuple[dict[str, str], list[AlertReport]]:
    """Return what is remembered from now on, and the reports that are due. ``seen`` maps a name to a time or value."""
    fresh = dict(seen)
    reports = [
        *_alarms(reading.alarms, fresh, options.pump_alarms, now, zone),
        *_low("reservoir", reading.reservoir_u, options.low_reservoir_u, fresh, now, zone),
        *_low("battery", reading.battery_percent, options.low_battery_percent, fresh, now, zone),
        *_site(reading.site_at, options.site_older_than_days, fresh, now, zone),
    ]
    return fresh, reports


def _report(title: str) -> AlertReport:
    return AlertReport(kind=ReportKind.BEGAN, key="wearer", title=title)


def _alarms(
    found: Sequence[PumpAlarm], seen: dict[str, str], wanted: Sequence[str], now: datetime, zone: tzinfo
) -> Iterator[AlertReport]:
    for key in [key for key in seen if key.startswith("alarm ") and _age(seen[key], now) > 2 * ALARM_FOR]:
        del seen[key]
    for alarm in sorted(found, key=lambda each: each.at):
        recent = f"alarm {alarm.name}"
        if now - alarm.at > ALARM_FOR or not any(names_match(name, alarm.name) for name in wanted):
            continue
        if f"alarm {alarm.id}" in seen:
            continue
        seen[f"alarm {alarm.id}"] = alarm.at.isoformat()
        again = recent in seen and abs(_age(seen[recent], alarm.at)) < ALARM_AGAIN
        if not again:
            seen[recent] = alarm.at.isoformat()
            words = alarm.name.replace("_", " ")
            yield _report(f"{words[:1].upper()}{words[1:]} alarm of the pump at {when_words(alarm.at, now, zone)}")


def _low(
    what: str, value: Reported | None, limit: float | None, seen: dict[str, str], now: datetime, zone: tzinfo
) -> Iterator[AlertReport]:
    if value is None or limit is None:
        return
    if value.value > limit * REARM:
        seen.pop(what, None)
    elif value.value <= limit and what not in seen and now - value.at <= FRESH:
        seen[what] = value.at.isoformat()
        amount = f"{value.value:.0f} U left" if what == "reservoir" else f"{value.value:.0f} %"
        yield _report(f"Low {what}: {amount} at {when_words(value.at, now, zone)}")


def _site(
    site_at: datetime | None, days: float | None, seen: dict[str, str], now: datetime, zone: tzinfo
) -> Iterator[AlertReport]:
    if (
        site_at is None
        or days is None
        or now - site_at < timedelta(days=days)
        or seen.get("site") == site_at.isoformat()
    ):
        return
    seen["site"] = site_at.isoformat()
    yield _report(f"The infusion site is old: changed {when_words(site_at, now, zone)}")


def _age(text: str, now: datetime) -> timedelta:
    at = parse_time(text)
    return timedelta.max if at is None else now - at
