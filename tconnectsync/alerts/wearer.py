"""Alerts for the wearer from the pump's own records: chosen alarms, reservoir, battery, the age of the infusion site.

They come with the uploads, often an hour late, so each says when it happened and how long ago that is. One that waits to be
sent is dropped when it is over. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo

import attrs

from tconnectsync.config.alert_options import AlertOptions
from tconnectsync.errors import LogCorrupt
from tconnectsync.events.alarms import names_match
from tconnectsync.events.pump_state import Reported
from tconnectsync.text.durations import parse_time, when_words

ALARM_FOR = timedelta(hours=3)
"""An older alarm is not news any more."""
ALARM_AGAIN = timedelta(minutes=30)
"""The same alarm is reported at most this often."""
_TOLD = "alarm told "
FRESH = timedelta(hours=6)
"""A reservoir or battery value that is older says nothing about now."""
REARM = 1.2
"""A low value is reported again only after one that was this much higher than the limit: a new cartridge, a charge."""


@attrs.frozen(kw_only=True)
class PumpAlarm:
    """An alarm or malfunction that is not cleared. ``id`` is the event's. ``pump_alarms`` has its ``name`` or ``number``."""

    id: str
    name: str
    at: datetime
    number: int | None = None


@attrs.frozen(kw_only=True)
class PumpReading:
    """What the log says of the active pump. None: not known. ``site_at``: when the cannula was last filled."""

    alarms: tuple[PumpAlarm, ...] | None = None
    reservoir_u: Reported | None = None
    battery_percent: Reported | None = None
    site_at: datetime | None = None
    error: LogCorrupt | None = None
    """Why some of it could not be read."""


@attrs.frozen(kw_only=True)
class WearerAlert:
    """One notification for the wearer. ``key`` says what it is about, such as ``reservoir`` or ``alarm 4711``.

    The time ``at`` follows the ``words``, with its age at the moment of sending.
    """

    key: str
    at: datetime
    words: str

    def title(self, now: datetime, zone: tzinfo) -> str:
        """What is sent now."""
        return f"{self.words} {when_words(self.at, now, zone)}"


_KINDS = {
    "alarm": ("pump_alarms", "alarms"),
    "reservoir": ("low_reservoir_u", "reservoir_u"),
    "battery": ("low_battery_percent", "battery_percent"),
    "site": ("site_older_than_days", "site_at"),
}
"""The option and the value in the reading of each kind of alert."""


def is_wanted(options: AlertOptions) -> bool:
    """Whether any of these alerts is on."""
    limits = (options.low_reservoir_u, options.low_battery_percent, options.site_older_than_days)
    return bool(options.pump_alarms) or any(limit is not None for limit in limits)


def true_alerts(reading: PumpReading, options: AlertOptions, now: datetime) -> dict[str, WearerAlert]:
    """Return all that is true now, by key, also what was reported before."""
    found = [
        *(_alarm_alert(alarm) for alarm in _news(reading, options, now)),
        *_low("reservoir", "U left", reading.reservoir_u, options.low_reservoir_u),
        *_low("battery", "%", reading.battery_percent, options.low_battery_percent),
        *_site(reading.site_at, options.site_older_than_days, now),
    ]
    return {alert.key: alert for alert in found}


def due_alerts(
    reading: PumpReading, seen: Mapping[str, str], options: AlertOptions, now: datetime
) -> tuple[dict[str, str], list[WearerAlert]]:
    """Return what is remembered from now on, and the alerts that are due. ``seen`` maps a name to a time."""
    fresh = dict(seen)
    alerts = true_alerts(reading, options, now)
    due = list(_due_alarms(_news(reading, options, now), fresh, now))
    for key, value, limit in (
        ("reservoir", reading.reservoir_u, options.low_reservoir_u),
        ("battery", reading.battery_percent, options.low_battery_percent),
    ):
        if value is None or limit is None:
            continue
        if key not in alerts:
            fresh.pop(key, None)
        elif value.value <= limit and key not in fresh and now - value.at <= FRESH:
            fresh[key] = value.at.isoformat()
            due.append(alerts[key])
    site = alerts.get("site")
    if site is not None and fresh.get("site") != site.at.isoformat():
        fresh["site"] = site.at.isoformat()
        due.append(site)
    return fresh, due


def without_unsent(seen: Mapping[str, str], unsent: Sequence[WearerAlert]) -> Mapping[str, str]:
    """Return ``seen`` without the alarms that were over before anybody got them: the next one of their name may be reported at once."""
    words = {alert.words for alert in unsent}
    return {
        key: value
        for key, value in seen.items()
        if not key.startswith(_TOLD) or _alarm_words(key.removeprefix(_TOLD)) not in words
    }


def still_true(alert: WearerAlert, reading: PumpReading, options: AlertOptions, now: datetime) -> WearerAlert | None:
    """Return an alert that waits to be sent with its newest value; None if it is over, or nobody wants it any more.

    If the log did not say anything new about it, it is as it was.
    """
    kind = alert.key.partition(" ")[0]
    option, value = _KINDS[kind]
    if getattr(options, option) in (None, ()):
        return None
    if getattr(reading, value) is not None:
        return true_alerts(reading, options, now).get(alert.key)
    return None if kind == "alarm" and now - alert.at > ALARM_FOR else alert


def _news(reading: PumpReading, options: AlertOptions, now: datetime) -> list[PumpAlarm]:
    found = sorted(reading.alarms or (), key=lambda each: each.at)
    return [alarm for alarm in found if now - alarm.at <= ALARM_FOR and _is_chosen(alarm, options.pump_alarms)]


def _is_chosen(alarm: PumpAlarm, chosen: Sequence[str]) -> bool:
    return any(names_match(each, name) for each in chosen for name in (alarm.name, str(alarm.number)))


def _alarm_alert(alarm: PumpAlarm) -> WearerAlert:
    return WearerAlert(key=f"alarm {alarm.id}", at=alarm.at, words=_alarm_words(alarm.name))


def _alarm_words(name: str) -> str:
    words = name.replace("_", " ")
    return f"{words[:1].upper()}{words[1:]} alarm of the pump at"


def _due_alarms(alarms: Sequence[PumpAlarm], seen: dict[str, str], now: datetime) -> Iterator[WearerAlert]:
    """Of several alarms with one name, the newest stands for all."""
    for key in [key for key in seen if key.startswith("alarm ") and _age(seen[key], now) > 2 * ALARM_FOR]:
        del seen[key]
    newest = {alarm.name: alarm for alarm in alarms}
    for name, alarm in newest.items():
        recent, told = f"alarm {name}", f"{_TOLD}{name}"
        if f"alarm {alarm.id}" in seen or (_is_soon(seen.get(recent), alarm.at) and _is_soon(seen.get(told), now)):
            continue
        seen |= {f"alarm {each.id}": each.at.isoformat() for each in alarms if each.name == name}
        seen |= {recent: alarm.at.isoformat(), told: now.isoformat()}
        yield _alarm_alert(alarm)


def _is_soon(before: str | None, at: datetime) -> bool:
    return before is not None and abs(_age(before, at)) < ALARM_AGAIN


def _low(key: str, unit: str, value: Reported | None, limit: float | None) -> Iterator[WearerAlert]:
    if value is not None and limit is not None and value.value <= limit * REARM:
        yield WearerAlert(key=key, at=value.at, words=f"Low {key}: {value.value:.0f} {unit} at")


def _site(site_at: datetime | None, days: float | None, now: datetime) -> Iterator[WearerAlert]:
    if site_at is not None and days is not None and now - site_at >= timedelta(days=days):
        yield WearerAlert(key="site", at=site_at, words="The infusion site is old: changed")


def _age(text: str, now: datetime) -> timedelta:
    at = parse_time(text)
    return timedelta.max if at is None else now - at
