"""Words for values: ages, amounts, glucose, modes, alarms, states."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from tconnectsync import Bolus, GlucosePoint, GlucoseUnits, Zones
from tconnectsync_web.languages import Texts, msg
from tconnectsync_web.pages.chart_content import Band, ChartMark

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
CLEAR_FOR = timedelta(hours=12)
"""A time within the last hours (this many) is shown without its day, also after midnight."""
TARGET_FROM, TARGET_TO = 70, 180
"""The target range in mg/dL, by the international consensus."""
VERY_LOW, VERY_HIGH = 54, 250
"""Below and above these (mg/dL) glucose is very low and very high, by the same consensus."""
ZONES = ("very-low", "low", "in-range", "high", "very-high")

BAND_WORDS: Mapping[str, str] = {
    "sleep": msg("Sleep"),
    "exercise": msg("Exercise"),
    "eating_soon": msg("Eating soon"),
    "suspended": msg("Insulin stopped"),
}
REASON_WORDS: Mapping[str, str] = {
    "user": msg("stopped by the wearer"),
    "alarm": msg("stopped by an alarm"),
    "malfunction": msg("stopped by a pump malfunction"),
    "plgs": msg("stopped because low glucose was predicted"),
}
SINK_WORDS: Mapping[str, str] = {
    "nightscout-treatments": msg("Nightscout (insulin and carbs)"),
    "nightscout-pump-events": msg("Nightscout (pump events)"),
    "nightscout-iob": msg("Nightscout (insulin on board)"),
    "nightscout-cgm": msg("Nightscout (glucose)"),
    "nightscout-device-status": msg("Nightscout (battery and reservoir)"),
    "nightscout-profiles": msg("Nightscout (profiles)"),
    "mqtt": msg("Home Assistant (MQTT)"),
    "influxdb": "InfluxDB",
    "file": msg("Files"),
}
"""What each sink of this program fills. A sink of another plugin is shown with its name."""
MARK_WORDS: Mapping[str, str] = {
    "site": msg("New site"),
    "cartridge": msg("New cartridge"),
    "sensor": msg("New sensor"),
    "alarm": msg("Alarm"),
}
ALARM_WORDS: Mapping[str, str] = {
    "occlusion": msg("Occlusion"),
    "occlusion_2": msg("Occlusion"),
    "empty_cartridge": msg("Cartridge empty"),
    "battery_shutdown": msg("Battery empty"),
    "cartridge_removed": msg("Cartridge removed"),
    "auto_off": msg("Auto-off"),
    "temperature_out_of_range": msg("Temperature"),
}
TRENDS = (
    (3.0, "⇈", msg("rising very fast")),
    (2.0, "↑", msg("rising fast")),
    (1.0, "↗", msg("rising")),
    (-1.0, "→", msg("steady")),
    (-2.0, "↘", msg("falling")),
    (-3.0, "↓", msg("falling fast")),
)
"""From this change in mg/dL per minute on: arrow and words."""
FASTEST_FALL = ("⇊", msg("falling very fast"))


def trend(mg_dl_per_min: float) -> tuple[str, str]:
    """Return the arrow and the English words for a change of glucose. Falls begin at -1, -2 and -3, as rises do at 1, 2, 3."""
    if mg_dl_per_min >= 1.0:
        return next((arrow, words) for least, arrow, words in TRENDS if mg_dl_per_min >= least)
    if mg_dl_per_min > -1.0:
        return TRENDS[3][1:]
    if mg_dl_per_min > -2.0:
        return TRENDS[4][1:]
    return TRENDS[5][1:] if mg_dl_per_min > -3.0 else FASTEST_FALL


def share(texts: Texts, percent: float | None) -> str:
    """Return a share: "<1 %" for less than half a percent that is not nothing; a dash if it is unknown."""
    if percent is None:
        return "–"
    return "<1 %" if 0 < percent < 0.5 else f"{texts.number(percent)} %"


def zone_of(mg_dl: float) -> str:
    """Return one of :data:`ZONES`."""
    if mg_dl < TARGET_FROM:
        return "very-low" if mg_dl < VERY_LOW else "low"
    if mg_dl > TARGET_TO:
        return "very-high" if mg_dl > VERY_HIGH else "high"
    return "in-range"


def duration(texts: Texts, length: timedelta) -> str:
    """A length with at most two units: ``8 min``, ``1 h 12 min``, ``2 days 4 h``."""
    minutes = max(0, int(length / MINUTE))
    if minutes < 60:
        return texts.gettext("%(minutes)s min") % {"minutes": minutes}
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        words = texts.gettext("%(hours)s h") % {"hours": hours}
        return words if not minutes else f"{words} " + texts.gettext("%(minutes)s min") % {"minutes": minutes}
    days, hours = divmod(hours, 24)
    words = texts.ngettext("%(days)s day", "%(days)s days", days) % {"days": days}
    return words if not hours or days > 9 else f"{words} " + texts.gettext("%(hours)s h") % {"hours": hours}


def ago(texts: Texts, at: datetime, now: datetime) -> str:
    """How long ago: ``8 min ago``; less than a minute is ``just now``."""
    length = now - at
    if length < MINUTE:
        return texts.gettext("just now")
    if length >= DAY:
        days, hours = length.days, length.seconds // 3600
        if not hours or days > 9:
            return texts.ngettext("%(days)s day ago", "%(days)s days ago", days) % {"days": days}
        words = texts.ngettext("%(days)s day %(hours)s h ago", "%(days)s days %(hours)s h ago", days)
        return words % {"days": days, "hours": hours}
    return texts.gettext("%(length)s ago") % {"length": duration(texts, length)}


def moment(texts: Texts, zones: Zones, at: datetime, now: datetime) -> str:
    """A time of the wearer's clock, with its day unless it is clear: ``9:37 PM``, ``Tue, Jun 16, 9:37 PM``."""
    local = zones.wall_of(at)
    if local.date() == zones.wall_of(now).date() or timedelta(0) <= now - at < CLEAR_FOR:
        return texts.time(local)
    return f"{texts.short_day(local.date())}, {texts.time(local)}"


def place(texts: Texts, zones: Zones, now: datetime) -> str:
    """The city of the wearer's time zone, such as ``New York``."""
    return texts.city(zones.name_at(zones.wall_of(now).date()))


def glucose(texts: Texts, units: GlucoseUnits, mg_dl: float) -> str:
    """A glucose in these units without their name."""
    return texts.number(units.convert(mg_dl), 1 if units is GlucoseUnits.MMOL_L else 0)


def reading(texts: Texts, units: GlucoseUnits, point: GlucosePoint) -> str:
    """A reading; ``HIGH`` or ``LOW`` if it is beyond the sensor's range."""
    if point.mark == "high":
        return texts.gettext("HIGH")
    if point.mark == "low":
        return texts.gettext("LOW")
    return glucose(texts, units, point.glucose_mg_dl)


def insulin(texts: Texts, amount_u: float) -> str:
    """An amount of insulin with its unit."""
    return texts.gettext("%(amount)s U") % {"amount": texts.amount(amount_u, 2)}


def carbs(texts: Texts, carbs_g: float) -> str:
    """An amount of carbs with its unit."""
    return texts.gettext("%(amount)s g") % {"amount": texts.amount(carbs_g, 1)}


def bolus(texts: Texts, given: Bolus) -> str:
    """A bolus in words, such as ``4.2 U`` or ``1.5 U at once, 1 U over 2 h``; ``4.2 U requested`` if its end is not known."""
    if given.ended_at is not None:
        return _delivered(texts, given)
    known = (
        [texts.gettext("%(amount)s requested") % {"amount": insulin(texts, given.requested_u)}]
        if given.requested_u
        else []
    )
    if given.delivered_u:
        known.append(so_far(texts, _delivered(texts, given)))
    return ", ".join(known) or texts.gettext("amount not known")


def bolus_number(texts: Texts, given: Bolus) -> tuple[str, str]:
    """The amount without its unit; if its end is not known: what was requested, and words that say so."""
    if given.ended_at is not None:
        return texts.amount(given.delivered_u, 2), ""
    amount_u, kind = given.delivered_u, texts.gettext("so far")
    if given.requested_u:
        amount_u, kind = given.requested_u, texts.gettext("requested")
    return texts.amount(amount_u, 2) if amount_u else "–", f"{kind}: {bolus_end(texts, given)}"


def so_far(texts: Texts, amount: str) -> str:
    """An amount of a bolus that is running."""
    return texts.gettext("so far %(amount)s") % {"amount": amount}


def bolus_end(texts: Texts, given: Bolus) -> str:
    """What is unusual about how a bolus ended; empty if nothing is."""
    if given.ended_at is None:
        return texts.gettext("running, or its end is not known yet")
    if given.status not in (None, "completed", "ended"):
        return texts.gettext("stopped early")
    return ""


def _delivered(texts: Texts, given: Bolus) -> str:
    if not given.extended_u:
        return insulin(texts, given.immediate_u)
    begin, end = given.extended_from or given.started_at, given.extended_until or given.started_at
    values = {"amount": insulin(texts, given.extended_u), "length": duration(texts, end - begin)}
    later = texts.gettext("%(amount)s over %(length)s") % values
    if not given.immediate_u:
        return later
    return texts.gettext("%(now)s at once, %(later)s") % {"now": insulin(texts, given.immediate_u), "later": later}


def bolus_kind(texts: Texts, given: Bolus) -> str:
    """What kind of bolus it is."""
    if given.automatic:
        return texts.gettext("automatic correction")
    if given.extended or given.extended_u:
        return texts.gettext("extended bolus")
    return texts.gettext("bolus")


def band(texts: Texts, shown: Band) -> str:
    """A band in words."""
    words = texts.gettext(BAND_WORDS.get(shown.kind, shown.kind))
    reason = REASON_WORDS.get(shown.reason or "")
    return f"{words} ({texts.gettext(reason)})" if reason else words


def mark(texts: Texts, shown: ChartMark) -> str:
    """A mark in words."""
    words = texts.gettext(MARK_WORDS[shown.kind])
    if shown.kind != "alarm" or shown.name is None:
        return words
    known = ALARM_WORDS.get(shown.name)
    name = texts.gettext(known) if known else texts.name(shown.name)
    return f"{words}: {name}"
