"""The content of the overview: the newest values with their ages, and the present day."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from tconnectsync import Bolus, Event, GlucosePoint, Summary, Therapy, events, summarise_day
from tconnectsync.events.pump_state import PumpState, Reported
from tconnectsync_web.languages import msg
from tconnectsync_web.pages.chart_content import MARK_KINDS, ChartContent, chart_content, shown_boluses
from tconnectsync_web.pages.day import lacks_basal
from tconnectsync_web.pages.reader import PageReader
from tconnectsync_web.pages.value_words import MINUTE, zone_of

HOURS = (3, 6, 12, 24)
"""The lengths of the chart that a reader can choose."""
USUAL_HOURS = 6
LOOK_BACK = timedelta(hours=30)
"""A mode that runs now began at most this long ago."""
TREND_OVER = timedelta(minutes=16)
STALE_AFTER = {
    "glucose": timedelta(minutes=15),
    "iob": timedelta(minutes=65),
    "basal": timedelta(minutes=30),
    "mode": timedelta(hours=2),
    "reservoir": timedelta(hours=2),
    "battery": timedelta(hours=2),
}
"""A value that is older than this may be wrong by now, and is grey."""
SITE, SENSOR = frozenset({"cannula.filled"}), frozenset({"sensor.started", "sensor.joined", "sensor.stopped"})
CONTROL, MODE = frozenset({"control.changed"}), frozenset({"mode.changed"})
MODE_WORDS = {
    "normal": msg("Normal"),
    "sleep": msg("Sleep"),
    "exercise": msg("Exercise"),
    "eating_soon": msg("Eating soon"),
}
CONTROL_WORDS = {
    "closed_loop": msg("Control-IQ is on"),
    "pining": msg("Control-IQ waits for the sensor"),
    "open_loop": msg("Control-IQ is off"),
    "no_control": msg("Control-IQ is off"),
}


@attrs.frozen(kw_only=True)
class Value:
    """A value, when the pump reported it, and whether it is too old to rely on."""

    value: float
    at: datetime
    stale: bool


@attrs.frozen(kw_only=True)
class CurrentGlucose:
    """The newest reading, and how it changed over the last quarter of an hour."""

    point: GlucosePoint
    stale: bool
    mg_dl_per_min: float | None = None
    change_mg_dl: float | None = None
    """Since the reading that was ``change_over`` earlier."""
    change_over: timedelta = timedelta(0)


@attrs.frozen(kw_only=True)
class Overview:
    """What the overview shows. None: unknown."""

    now: datetime
    newest: datetime | None
    glucose: CurrentGlucose | None
    iob_u: Value | None
    basal_u_per_h: Value | None
    reservoir_u: Value | None
    battery_percent: Value | None
    mode: str | None
    suspended: bool
    control: str | None
    last_bolus: Bolus | None
    site_at: datetime | None
    sensor_at: datetime | None
    chart: ChartContent
    today: Summary | None

    @property
    def is_old(self) -> bool:
        """Whether even the newest data is too old to know the pump's mode."""
        return self.newest is None or self.now - self.newest > STALE_AFTER["mode"]

    def age_known(self, since: datetime) -> timedelta:
        """How old an infusion site or sensor is; if the data is old, how old it was then: it may have been changed since."""
        return (self.newest if self.is_old and self.newest is not None else self.now) - since

    @property
    def lacks_basal(self) -> bool:
        """Whether insulin of today is missing in the log, so that the sums since midnight are too low."""
        return self.today is not None and lacks_basal(self.today, is_over=False)

    @property
    def is_late(self) -> bool:
        """Whether newer data than the newest should be there, if the phone uploaded all the time."""
        return self.newest is None or self.now - self.newest > STALE_AFTER["glucose"]

    @property
    def calm_words(self) -> str:
        """What is said in English if nothing is known to be wrong."""
        return msg("No problem is known.") if self.is_late else msg("All data is arriving.")

    @property
    def glucose_zone(self) -> str:
        """The zone of the newest reading; empty if it is old or missing."""
        return "" if self.glucose is None or self.glucose.stale else zone_of(self.glucose.point.glucose_mg_dl)

    @property
    def last_zone(self) -> str:
        """The zone of the newest reading, however old; empty if there is none."""
        return "" if self.glucose is None else zone_of(self.glucose.point.glucose_mg_dl)

    @property
    def mode_words(self) -> str:
        """The English name of the mode; a dash if it is unknown."""
        return "–" if self.mode is None else MODE_WORDS.get(self.mode, self.mode)

    @property
    def control_words(self) -> str:
        """The English words for the control loop's state; empty if it is unknown."""
        return CONTROL_WORDS.get(self.control or "", "")


def overview(reader: PageReader, hours: int) -> Overview:
    """Return the overview with a chart of the last ``hours``."""
    now = reader.now()
    hour = now.replace(minute=0, second=0, microsecond=0)  # whole hours: the same question until something new comes
    today = reader.zones.wall_of(now).date()
    # a day that ends farther to the west has up to two days' hours
    span = min(hour - LOOK_BACK, reader.zones.day_start(today)), hour + timedelta(hours=2)
    therapy = reader.therapy(*span)
    state = reader.state() or PumpState()
    begin = now - timedelta(hours=hours)
    control = reader.newest(CONTROL)
    given = shown_boluses(therapy.boluses)
    return Overview(
        now=now,
        newest=_latest(therapy.until, state.at),
        glucose=current_glucose(therapy, now),
        iob_u=_value("iob", state.iob_u, now),
        basal_u_per_h=_value("basal", state.rate_u_per_h, now),
        reservoir_u=_value("reservoir", state.reservoir_u, now),
        battery_percent=_value("battery", state.battery_percent, now),
        mode=_mode(reader),
        suspended=bool(state.suspended),
        control=control.body.control if control is not None else None,
        last_bolus=given[-1] if given else None,
        site_at=_newest_site(reader),
        sensor_at=_sensor_start(reader),
        chart=chart_content(therapy, reader.events(*span, MARK_KINDS), begin, now, now),
        today=summarise_day(today, therapy, reader.zones, until=therapy.until),
    )


def current_glucose(therapy: Therapy, now: datetime) -> CurrentGlucose | None:
    """Return the newest reading with its trend over a quarter of an hour.

    Arrow and words come from the change that is shown beside them, so that they cannot contradict it. The sensor's own trend counts
    only if there is no earlier reading to compare with. Above and below the sensor's range there is no trend.
    """
    if not therapy.glucose:
        return None
    newest = therapy.glucose[-1]
    earlier = next((each for each in therapy.glucose[-5:-1] if newest.at - each.at <= TREND_OVER), None)
    change, over, slope = None, timedelta(0), newest.trend_mg_dl_per_min if newest.mark == "value" else None
    if earlier is not None and newest.mark == earlier.mark == "value":
        minutes = round((newest.at - earlier.at) / MINUTE)
        if minutes > 0:
            change, over = newest.glucose_mg_dl - earlier.glucose_mg_dl, minutes * MINUTE
            slope = change / minutes
    return CurrentGlucose(
        point=newest, stale=now - newest.at > STALE_AFTER["glucose"], mg_dl_per_min=slope,
        change_mg_dl=change, change_over=over,
    )  # fmt: skip


def _value(name: str, reported: Reported | None, now: datetime) -> Value | None:
    if reported is None:
        return None
    return Value(value=reported.value, at=reported.at, stale=now - reported.at > STALE_AFTER[name])


def _latest(*times: datetime | None) -> datetime | None:
    return max((at for at in times if at is not None), default=None)


def _mode(reader: PageReader) -> str | None:
    """The mode that the newest change gave; "stop all" ends any. None: no change was ever recorded."""
    event = reader.newest(MODE)
    if event is None or not isinstance(event.body, events.ModeChanged):
        return None
    return "normal" if event.body.action == "stop_all" else event.body.mode


def _newest_site(reader: PageReader) -> datetime | None:
    event = reader.newest(SITE, _is_site)
    return None if event is None else event.at


def _is_site(event: Event) -> bool:
    """A fill that was broken off is no new site."""
    return isinstance(event.body, events.CannulaFilled) and event.body.completed


def _sensor_start(reader: PageReader) -> datetime | None:
    """When the sensor's session began; the pump may have joined it later. None: it is unknown, or the session has ended."""
    event = reader.newest(SENSOR, _is_session)
    if event is None or event.at is None or not isinstance(event.body, events.SensorStarted | events.SensorJoined):
        return None
    return event.at - timedelta(seconds=event.body.session_age_s or 0.0)


def _is_session(event: Event) -> bool:
    """A pump that joins a session without saying how old it is mostly continues the one before."""
    return not isinstance(event.body, events.SensorJoined) or event.body.session_age_s is not None
