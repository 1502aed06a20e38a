"""The content of the pages without HTML: overview, steps, day, report."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import attrs
import pytest

from tconnectsync import BasalSpan, Bolus, CarbEntry, Event, GlucosePoint, Therapy, Zones, events
from tconnectsync.cli.report import figure_words
from tconnectsync.events.pump_state import PumpState, Reported
from tconnectsync_web.languages import Languages
from tconnectsync_web.pages import value_words
from tconnectsync_web.pages.chain import Level, chain, problems, worst
from tconnectsync_web.pages.chart_content import Band, ChartMark, chart_content
from tconnectsync_web.pages.day import day_page
from tconnectsync_web.pages.faults import Fault
from tconnectsync_web.pages.overview import overview
from tconnectsync_web.pages.report import report
from tests.web.fake_reader import NOW, FakeReader, at, event, good_status, iso

UTC = timezone.utc
ENGLISH = Languages().choose(["en"])


def readings(*values: float, newest_min: float = 4) -> list[GlucosePoint]:
    """Readings five minutes apart, the last one ``newest_min`` before now."""
    count = len(values)
    return [
        GlucosePoint(at=at(newest_min + 5 * (count - 1 - number)), glucose_mg_dl=value)
        for number, value in enumerate(values)
    ]


def test_trend_from_the_last_quarter_of_an_hour() -> None:
    """The change that is shown is the one that the arrow and the words come from."""
    found = overview(FakeReader(whole=Therapy(glucose=readings(100, 105, 112, 130), until=at(4))), 3)
    assert found.glucose is not None
    assert (found.glucose.change_mg_dl, found.glucose.change_over) == (30, timedelta(minutes=15))
    assert found.glucose.mg_dl_per_min == pytest.approx(2.0)
    assert value_words.trend(2.0) == ("↑", "rising fast")
    assert not found.glucose.stale


def test_the_trend_fits_the_numbers_beside_it() -> None:
    """If the sensor says "steady" while its readings fall, the readings count: they are what is shown."""
    points = [attrs.evolve(each, trend_mg_dl_per_min=0.0) for each in readings(175, 172, 167, 160)]
    found = overview(FakeReader(whole=Therapy(glucose=points, until=at(4))), 3)
    assert found.glucose is not None
    assert found.glucose.change_mg_dl == -15
    assert value_words.trend(found.glucose.mg_dl_per_min or 0.0)[1] == "falling"
    alone = overview(FakeReader(whole=Therapy(glucose=points[-1:], until=at(4))), 3).glucose
    assert alone is not None
    assert (alone.mg_dl_per_min, alone.change_mg_dl) == (0.0, None)


@pytest.mark.parametrize(("mg_dl", "mark"), [(39, "low"), (401, "high")])
def test_no_trend_outside_the_sensors_range(mg_dl: float, mark: str) -> None:
    """Below its range the sensor sends the trend 0 even if the glucose falls: "steady" would be dangerous."""
    before = [attrs.evolve(each, at=each.at - timedelta(minutes=5)) for each in readings(66, 57, 49, 42)]
    newest = GlucosePoint(at=at(4), glucose_mg_dl=mg_dl, mark=mark, trend_mg_dl_per_min=0.0)
    found = overview(FakeReader(whole=Therapy(glucose=[*before, newest], until=at(4))), 3).glucose
    assert found is not None
    assert (found.mg_dl_per_min, found.change_mg_dl) == (None, None)


@pytest.mark.parametrize(
    ("mg_dl", "zone"),
    [(53, "very-low"), (54, "low"), (69, "low"), (70, "in-range"), (180, "in-range"), (181, "high"), (250, "high"), (251, "very-high")],
)  # fmt: skip
def test_five_zones(mg_dl: float, zone: str) -> None:
    """Very low and very high are zones of their own, by the international consensus."""
    assert value_words.zone_of(mg_dl) == zone


@pytest.mark.parametrize(
    ("slope", "arrow"),
    [(3.5, "⇈"), (2, "↑"), (1, "↗"), (0.9, "→"), (0, "→"), (-0.9, "→"), (-1, "↘"), (-2, "↓"), (-3, "⇊")],
)
def test_arrows_rise_and_fall_alike(slope: float, arrow: str) -> None:
    """The bounds of a fall are those of a rise."""
    assert value_words.trend(slope)[0] == arrow


@pytest.mark.parametrize(("minutes", "stale"), [(14, False), (16, True)])
def test_old_glucose_is_stale(minutes: float, stale: bool) -> None:
    """After a quarter of an hour the reading is not the present glucose any more."""
    found = overview(FakeReader(whole=Therapy(glucose=readings(120, newest_min=minutes), until=at(minutes))), 3)
    assert found.glucose is not None
    assert found.glucose.stale is stale
    assert (found.glucose_zone == "") is stale


def test_every_value_has_its_own_age() -> None:
    """Insulin on board may be old while the basal rate is new."""
    pump = PumpState(at=at(1), iob_u=Reported(value=1.5, at=at(90)), rate_u_per_h=Reported(value=0.8, at=at(5)))
    found = overview(FakeReader(pump=pump), 3)
    assert found.iob_u is not None
    assert found.iob_u.stale
    assert found.basal_u_per_h is not None
    assert not found.basal_u_per_h.stale


STARTED = event("sensor.started", events.SensorStarted(sensor="libre_2"), 9 * 1440)
STOPPED = event("sensor.stopped", events.SensorStopped(sensor="libre_2"), 300)
JOINED = event("sensor.joined", events.SensorJoined(sensor="libre_2"), 30)


@pytest.mark.parametrize(
    ("records", "began_min"),
    [([STARTED], 9 * 1440), ([STARTED, STOPPED], None), ([STARTED, JOINED], 9 * 1440), ([STARTED, STOPPED, JOINED], None)],
    ids=["started", "stopped", "joined again", "joined after a stop"],
)  # fmt: skip
def test_age_of_a_sensor(records: list[Event], began_min: float | None) -> None:
    """A session that ended has no age, and a pump that joins one again does not begin it."""
    found = overview(FakeReader(whole=Therapy(until=at(5)), all_events=records), 3)
    assert found.sensor_at == (None if began_min is None else at(began_min))


@pytest.mark.parametrize("status", ["aborted", "stopped_by_alarm"])
def test_a_fill_that_was_broken_off_is_no_new_site(status: str) -> None:
    """The site before it still counts."""
    fills = [(3000, None), (2900, "completed"), (90, status), (60, status)]
    told = [event("cannula.filled", events.CannulaFilled(prime_u=0.3, status=each), ago) for ago, each in fills]
    assert overview(FakeReader(whole=Therapy(until=at(5)), all_events=told), 3).site_at == at(2900)


def test_site_and_sensor_ages_mode_and_control() -> None:
    """The site counts from its fill; the sensor from the begin of its session, not from when the pump joined it."""
    known = [
        event("cannula.filled", events.CannulaFilled(prime_u=0.3), 3000),
        event("sensor.joined", events.SensorJoined(sensor="dexcom_g7", session_age_s=7200.0), 600),
        event("control.changed", events.ControlChanged(control="closed_loop"), 500),
        event("mode.changed", events.ModeChanged(mode="exercise", previous="normal"), 60),
    ]
    found = overview(FakeReader(all_events=known), 3)
    assert found.site_at == at(3000)
    assert found.sensor_at == at(600 + 120)
    assert found.mode_words == "Exercise"
    assert "on" in found.control_words


def test_ages_stand_still_when_the_data_are_old() -> None:
    """A site that was four hours old at the newest data may have been changed since: it is not said to be older by now."""
    known = [event("cannula.filled", events.CannulaFilled(prime_u=0.3), 600)]
    fresh = overview(FakeReader(all_events=known, whole=Therapy(until=at(10))), 3)
    assert fresh.age_known(at(600)) == timedelta(hours=10)
    old = overview(FakeReader(all_events=known, whole=Therapy(until=at(360))), 3)
    assert old.age_known(at(600)) == timedelta(hours=4)


def test_an_empty_log_is_an_overview_without_values() -> None:
    """Nothing is known, and nothing is invented."""
    found = overview(FakeReader(), 6)
    assert (found.glucose, found.iob_u, found.last_bolus, found.newest) == (None, None, None, None)
    assert (found.mode, found.mode_words, found.control_words) == (None, "–", "")
    assert found.chart.is_empty


def test_a_chart_has_carbs_of_boluses_and_alone() -> None:
    """Carbs that were entered with a bolus and alone are marks alike; a bolus of the hours before is not in the chart."""
    therapy = Therapy(
        boluses=[
            Bolus(bolus_id=1, started_at=at(400), immediate_u=3.0, carbs_g=30.0, ended_at=at(399)),
            Bolus(bolus_id=2, started_at=at(100), immediate_u=2.0, carbs_g=20.0, ended_at=at(99)),
        ],
        carbs=[CarbEntry(at=at(50), carbs_g=15.0)],
    )
    found = chart_content(therapy, [], at(180), NOW)
    assert [(each.at, each.carbs_g) for each in found.carbs] == [(at(100), 20.0), (at(50), 15.0)]
    assert [bolus.bolus_id for bolus in found.boluses] == [2]


def test_suspensions_that_touch_are_one_band() -> None:
    """A suspension is one band with its reason, although its basal has several parts."""
    parts = [
        BasalSpan(begin=at(60), end=at(45), rate_u_per_h=0.0, suspended=True, reason="user"),
        BasalSpan(begin=at(45), end=at(30), rate_u_per_h=0.0, suspended=True, reason="user"),
        BasalSpan(begin=at(30), end=at(0), rate_u_per_h=0.7),
    ]
    found = chart_content(Therapy(basal=parts), [], at(180), NOW)
    assert list(found.bands) == [Band(kind="suspended", begin=at(60), end=at(30), reason="user")]


def test_marks_on_the_chart() -> None:
    """A fill that was not completed is no new site, and "resume pump" only repeats the suspension."""
    known = [
        event("cannula.filled", events.CannulaFilled(prime_u=0.3, status="aborted"), 90),
        event("cannula.filled", events.CannulaFilled(prime_u=0.3, status="completed"), 80),
        event("alarm.raised", events.AlarmRaised(alarm_id=18, name="resume_pump"), 70),
        event("alarm.raised", events.AlarmRaised(alarm_id=2, name="occlusion"), 60),
    ]
    found = chart_content(Therapy(), known, at(180), NOW)
    assert list(found.marks) == [
        ChartMark(kind="site", at=at(80), amount_u=0.3),
        ChartMark(kind="alarm", at=at(60), name="occlusion"),
    ]


def links(status: dict[str, object]) -> dict[str, tuple[Level, Fault | None]]:
    return {link.title: (link.level, link.fault) for link in chain(status, ENGLISH, NOW)}


def test_a_chain_that_works() -> None:
    """Every link of the chain is there, in the order of the data."""
    found = chain(good_status(), ENGLISH, NOW)
    assert [link.title for link in found] == [
        "Pump",
        "Phone upload",
        "Tandem",
        "Event log",
        "Nightscout (insulin and carbs)",
    ]
    assert worst(found) is Level.OK
    assert list(problems(found)) == []


def test_a_site_that_has_everything_needs_nothing() -> None:
    """A second installation sends nothing, and nothing is missing."""
    status = good_status()
    status["sinks"]["nightscout-treatments"] |= {"last_delivered": None, "had_everything": True}
    assert chain(status, ENGLISH, NOW)[-1].news == "nothing to send: everything is there already"


def test_a_phone_that_does_not_upload_is_named() -> None:
    """The pump is not blamed for a phone that is off."""
    status = good_status()
    status["sources"]["tandem"] |= {"last_upload": iso(600), "newest_event": iso(605)}
    found = links(status)
    assert found["Phone upload"] == (Level.BAD, Fault.PHONE_SILENT)
    assert found["Pump"] == (Level.UNKNOWN, None), "nobody can know how the pump is"


def test_a_phone_without_its_pump_is_named() -> None:
    """The phone uploads, but the pump's data in it are old."""
    status = good_status()
    status["sources"]["tandem"] |= {"last_upload": iso(5), "newest_event": iso(300)}
    found = links(status)
    assert found["Pump"] == (Level.BAD, Fault.PUMP_SILENT)
    assert found["Phone upload"] == (Level.OK, None)


def test_links_before_a_refused_login_are_not_known() -> None:
    """Also in the first hour: the newest data may be the last ones that the phone uploaded."""
    status = good_status()
    status["sources"]["tandem"] |= {"state": "refused", "since": iso(40), "last_fetch": iso(41)}
    assert links(status)["Pump"] == links(status)["Phone upload"] == (Level.UNKNOWN, None)


@pytest.mark.parametrize("state", ["refused", "backing_off", "ok"])
def test_links_before_an_unread_source_are_not_known(state: str) -> None:
    """If nothing was read for hours, neither phone nor pump is known to work, and neither is blamed."""
    status = good_status()
    status["sources"]["tandem"] |= {
        "state": state,
        "last_fetch": iso(300),
        "last_upload": iso(310),
        "newest_event": iso(305),
    }
    found = links(status)
    assert found["Pump"] == found["Phone upload"] == (Level.UNKNOWN, None)
    assert found["Tandem"][1] is not None
    assert found["Nightscout (insulin and carbs)"][0] is Level.UNKNOWN
    assert found["Event log"][0] is Level.OK


def test_a_source_unread_for_hours_needs_the_reader() -> None:
    """Also beside a refused source that was read recently: neither shows how pump and phone are."""
    status = good_status()
    status["sources"]["tandem"]["last_fetch"] = iso(300)
    status["sources"]["tconnect"] = {
        **status["sources"]["tandem"],
        "state": "refused",
        "since": iso(5),
        "last_fetch": iso(6),
    }
    found = links(status)
    assert found["Tandem"] == (Level.BAD, Fault.NOT_READ)
    assert found["Pump"] == found["Phone upload"] == (Level.UNKNOWN, None)


def test_a_broken_sink_says_since_when_and_what_next() -> None:
    """The message and the remedy are those of the status."""
    status = good_status()
    status["sinks"]["nightscout-treatments"] |= {
        "state": "refused", "since": iso(75), "message": "the API secret was refused", "remedy": "Change `api_secret`.",
    }  # fmt: skip
    [link] = problems(chain(status, ENGLISH, NOW))
    assert (link.level, link.fault, link.since) == (Level.BAD, Fault.NOT_ADMITTED, at(75))
    assert "refused" in link.report
    assert "api_secret" in link.command


@pytest.mark.parametrize(("minutes", "level"), [(75, Level.WAIT), (240, Level.BAD)])
def test_a_long_retry_needs_the_reader_as_in_the_status(minutes: int, level: Level) -> None:
    status = good_status()
    status["sinks"]["nightscout-treatments"] |= {"state": "backing_off", "since": iso(minutes), "message": "no answer"}
    [link] = problems(chain(status, ENGLISH, NOW))
    assert link.level is level


def test_set_aside_documents_need_the_reader() -> None:
    """A sink that set documents aside does not "work"."""
    status = good_status()
    status["sinks"]["nightscout-treatments"] |= {"dead": 1, "message": "1 document was set aside"}
    assert links(status)["Nightscout (insulin and carbs)"] == (Level.BAD, Fault.SET_ASIDE)


def test_corrupt_log_and_full_disk() -> None:
    """Both come with their remedy."""
    status = good_status()
    status["log"] |= {"damaged": "segment 3 line 4", "remedy": "Run `tconnectsync log check`"}
    assert links(status)["Event log"] == (Level.BAD, Fault.LOG_CORRUPT)
    assert [link.command for link in problems(chain(status, ENGLISH, NOW))] == ["Run `tconnectsync log check`"]
    status = good_status()
    status["disk"] |= {"state": "halted", "message": "the disk is full", "remedy": "Free some space."}
    assert links(status)["Event log"] == (Level.BAD, Fault.DISK)
    assert [link.command for link in problems(chain(status, ENGLISH, NOW))] == ["Free some space."]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [("America/New_York", date(2026, 3, 8), 23), ("Europe/Berlin", date(2026, 10, 25), 25), ("Asia/Kolkata", date(2026, 3, 8), 24)],
)  # fmt: skip
def test_a_day_is_as_long_as_it_was(zone: str, day: date, hours: int) -> None:
    """The page of a day of 23 or 25 hours has exactly its events."""
    zones = Zones(timezone=zone)
    begin = zones.day_start(day)
    end = begin + timedelta(hours=hours)
    points = [GlucosePoint(at=begin - timedelta(minutes=1), glucose_mg_dl=90.0)]
    points += [GlucosePoint(at=begin + timedelta(hours=hour), glucose_mg_dl=100.0 + hour) for hour in range(hours + 1)]
    reader = FakeReader(whole=Therapy(glucose=points, until=end), zones=zones, present=end + timedelta(days=3))
    found = day_page(reader, day)
    assert found.hours == hours
    assert [point.glucose_mg_dl for point in found.chart.glucose] == [100.0 + hour for hour in range(hours)]
    assert found.next == day + timedelta(days=1)


def test_today_has_no_next_day() -> None:
    """There is no page of tomorrow."""
    assert day_page(FakeReader(), date(2026, 6, 10)).next is None
    assert day_page(FakeReader(), date(2026, 6, 9)).next == date(2026, 6, 10)


def test_a_day_that_lacks_hours_says_so() -> None:
    """A day that is over lacks what is newer than the newest data; today may lack the two hours until the next upload."""
    newest = Therapy(glucose=readings(120, newest_min=60), until=at(60))
    yesterday, today = date(2026, 6, 9), date(2026, 6, 10)
    assert day_page(FakeReader(whole=newest), today).missing_from is None
    assert day_page(FakeReader(whole=newest), yesterday).missing_from is None
    later = FakeReader(whole=newest, present=NOW + timedelta(hours=2))
    assert day_page(later, today).missing_from == at(60)
    later.present = NOW + timedelta(days=1)
    over = day_page(later, today)
    assert (over.missing_from, over.summary and over.summary.length_s) == (at(60), 24 * 3600)
    assert day_page(FakeReader(), today).missing_from is None


def test_extended_bolus_of_yesterday() -> None:
    """Its bar reaches into the day; the day's table does not have it."""
    begin = datetime(2026, 6, 8, 21, 0, tzinfo=UTC)  # 23:00 in Berlin
    given = Bolus(
        bolus_id=7, started_at=begin, immediate_u=1.0, extended_u=2.0, extended=True, extended_from=begin,
        extended_until=begin + timedelta(hours=3), ended_at=begin + timedelta(hours=3),
    )  # fmt: skip
    found = day_page(FakeReader(whole=Therapy(boluses=[given], until=at(0))), date(2026, 6, 9))
    assert [bolus.bolus_id for bolus in found.chart.boluses] == [7]
    assert found.boluses == []
    assert (found.chart.started, found.chart.bolus_u) == (
        [],
        pytest.approx(found.summary.insulin.bolus_u if found.summary else 0),
    )


def test_a_report_counts_whole_days_with_data() -> None:
    """Today is left out, and days without data are no rows."""
    points = [GlucosePoint(at=at(60 * 24 * day), glucose_mg_dl=120.0) for day in (3, 1, 0)]
    found = report(FakeReader(whole=Therapy(glucose=points, until=at(0))), 14)
    assert (found.first, found.last) == (date(2026, 5, 27), date(2026, 6, 9))
    assert [each.first_day for each in found.days] == [date(2026, 6, 7), date(2026, 6, 9)]
    assert found.whole is not None
    assert found.whole.glucose.readings == 2
    assert found.whole.coverage_percent == pytest.approx(100 * 2 / (14 * 24 * 12)), "of all days, as in `report`"
    assert report(FakeReader(), 14).whole is None


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (timedelta(seconds=20), "0 min"),
        (timedelta(minutes=59), "59 min"),
        (timedelta(hours=1), "1 h"),
        (timedelta(hours=3, minutes=5), "3 h 5 min"),
        (timedelta(days=1, hours=2), "1 day 2 h"),
        (timedelta(days=12, hours=2), "12 days"),
    ],
)
def test_lengths_in_words(length: timedelta, words: str) -> None:
    """Two units at most."""
    assert value_words.duration(ENGLISH, length) == words


@pytest.mark.parametrize(
    ("percent", "words"), [(None, "–"), (0, "0 %"), (0.4, "<1 %"), (0.6, "1 %"), (99.6, "100 %"), (100, "100 %")]
)
def test_few_lows_are_not_none(percent: float | None, words: str) -> None:
    """As `report` writes it: "0 %" means never."""
    assert value_words.share(ENGLISH, percent) == words == figure_words.percent(percent)


def test_boluses_in_words() -> None:
    """An extended bolus says how much came at once, and how much over which time."""
    plain = Bolus(bolus_id=1, started_at=at(60), immediate_u=4.25, ended_at=at(0))
    later = attrs.evolve(plain, immediate_u=0.0, extended_u=1.0, extended_from=at(60), extended_until=at(-60))
    both = attrs.evolve(later, immediate_u=1.5)
    assert [value_words.bolus(ENGLISH, each) for each in (plain, later, both)] == [
        "4.25 U", "1 U over 2 h", "1.5 U at once, 1 U over 2 h",
    ]  # fmt: skip
