"""Addresses of the pages: answers to strange ones, and to scripts."""

from __future__ import annotations

import re
import threading
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tconnectsync import BasalSpan, Bolus, GlucosePoint, Therapy, Zones
from tconnectsync.events.pump_state import PumpState, Reported
from tconnectsync_web.access.admission import open_access
from tconnectsync_web.routes import web_app
from tconnectsync_web.sync_cycles import Cycles, Outcome
from tests.web.fake_reader import FakeReader, at, good_status

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
ONE_READING = Therapy(glucose=[GlucosePoint(at=at(3), glucose_mg_dl=112.0)], until=at(3))


@pytest.fixture
def reader() -> FakeReader:
    """One reading three minutes ago."""
    return FakeReader(whole=ONE_READING)


@pytest.fixture
def client(tmp_path: Path, reader: FakeReader) -> FlaskClient:
    """The application, open."""
    return web_app(
        access=open_access(tmp_path, None), cycles=Cycles(lambda: Outcome(status=0)), read_status=reader.status,
        read_findings=list, reader=reader,
    ).test_client()  # fmt: skip


@pytest.mark.parametrize("day", ["x", "2026-02-30", "9999-12-31", "0001-01-01", "2026-06-12", "2026-06-10/..", "-1"])
def test_days_that_there_are_not(client: FlaskClient, day: str) -> None:
    """They are not found, and the page says so."""
    answer = client.get(f"/days/{day}", headers=HTML)
    assert answer.status_code == 404


@pytest.mark.parametrize("path", ["/?hours=7", "/?hours=x", "/?hours=", "/report?days=15", "/report?days=-1"])
def test_strange_choices_are_the_usual_ones(client: FlaskClient, path: str) -> None:
    """A length that is not offered is no error and no long work."""
    answer = client.get(path, headers=HTML)
    assert answer.status_code == 200
    assert ("The last 6 hours" in answer.text) is ("hours" in path)


def test_a_log_of_one_reading(client: FlaskClient) -> None:
    """One point is enough for every page."""
    assert ">112<" in client.get("/", headers=HTML).text
    assert client.get("/days/2026-06-10", headers=HTML).status_code == 200
    assert "no data" in client.get("/report", headers=HTML).text


def test_days_that_lack_basal_are_marked(client: FlaskClient, reader: FakeReader) -> None:
    """Their insulin is too low: report and day say so. A day with all of it is not marked."""
    begin, hour = at(60 * 24).replace(hour=0, minute=0) - timedelta(days=2), timedelta(hours=1)
    half = BasalSpan(begin=begin, end=begin + 34 * hour, rate_u_per_h=1.0)
    rest = BasalSpan(begin=begin + 46 * hour, end=at(0), rate_u_per_h=1.0)
    reader.whole = Therapy(basal=[half, rest], glucose=ONE_READING.glucose, until=at(0))
    page = client.get("/report", headers=HTML).text
    assert page.count(" U*") == 4  # basal and total of two days
    assert "no basal rate" in page
    lacking, whole = (begin + 30 * hour).date(), (begin + 54 * hour).date()
    assert "no basal rate" in client.get(f"/days/{lacking}", headers=HTML).text
    assert "no basal rate" not in client.get(f"/days/{whole}", headers=HTML).text


def test_means_of_days_that_lack_basal_are_marked(client: FlaskClient, reader: FakeReader) -> None:
    """The figures per day, above all others, say that they are too low."""
    begin, hour = at(60 * 24).replace(hour=22, minute=0) - timedelta(days=2), timedelta(hours=1)  # midnight in Berlin
    basal = [BasalSpan(begin=begin, end=begin + 30 * hour, rate_u_per_h=1.0)]
    reader.whole = Therapy(basal=basal, glucose=[GlucosePoint(at=begin + hour, glucose_mg_dl=112.0)], until=at(0))
    for language, words in (("en", "Of 1 day a part is missing"), ("de", "Von 1 Tag fehlt ein Teil")):
        key = client.get("/report", headers={**HTML, "Accept-Language": language}).text.partition("</section>")[0]
        assert words in key
        assert len(re.findall(r"\d\*</span>", key)) == 2  # insulin and carbs
    reader.whole = Therapy(basal=[BasalSpan(begin=begin, end=at(0), rate_u_per_h=1.0)], until=at(0))
    assert "*" not in plain(client.get("/report", headers=HTML).text)


def test_hours_of_a_travel_day_in_the_report(client: FlaskClient, reader: FakeReader) -> None:
    """Its sums are high because it is long."""
    reader.zones = Zones(timezone="Europe/Berlin", moves=((date(2026, 6, 5), "America/Los_Angeles"),))
    begin = reader.zones.day_start(date(2026, 6, 3))
    reader.whole = Therapy(basal=[BasalSpan(begin=begin, end=at(0), rate_u_per_h=1.0)], until=at(0))
    rows = plain(client.get("/report", headers=HTML).text)
    assert re.findall(r"\(([\d.]+) h\)", rows) == ["33"]


def plain(page: str) -> str:
    """The words of a page."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


@pytest.mark.parametrize(
    ("amounts", "tile", "row"),
    [
        ({"requested_u": 4.12}, "4.12 U requested: running, or its end is not known yet; 5:54", "4.12 U requested running, or"),
        ({"requested_u": 4.12, "immediate_u": 2.0}, "4.12 U requested: running", "4.12 U requested, so far 2 U running, or"),
        ({"immediate_u": 2.0}, "2 U so far: running", "so far 2 U running, or"),
        ({}, "– so far: running", "amount not known running, or"),
        ({"requested_u": 4.12, "immediate_u": 4.1, "ended_at": at(2)}, "4.1 U 5:54", "4.1 U"),
        ({"requested_u": 4.12, "ended_at": at(5)}, "0.37 U 2:29", "0.37 U"),
    ],
)  # fmt: skip
def test_a_bolus_without_end_is_the_last(
    client: FlaskClient, reader: FakeReader, amounts: dict[str, Any], tile: str, row: str
) -> None:
    """It has started: whoever sees an older one instead may dose a second time. One that gave nothing is no bolus."""
    older = Bolus(bolus_id=1, started_at=at(211), immediate_u=0.37, ended_at=at(210), status="completed")
    newer = Bolus(bolus_id=2, started_at=at(6), carbs_g=33.0, **amounts)
    reader.whole = Therapy(until=at(5), boluses=[older, newer], glucose=[GlucosePoint(at=at(5), glucose_mg_dl=145.0)])
    for address in ("/", "/days/2026-06-10"):
        page = plain(client.get(address, headers=HTML).text)
        table = page.partition(" Insulin Carbs Kind ")[2]
        assert re.search(rf"5:54\WPM {re.escape(row)}|2:29\WPM {re.escape(row)}", table)
        assert ("A question mark" in page) is ("ended_at" not in amounts)
    overview = plain(client.get("/", headers=HTML).text)
    assert f"Last bolus {tile}" in overview


def test_problems_are_in_the_readers_language(client: FlaskClient, reader: FakeReader) -> None:
    """The overview and the problems page translate what ``status`` reports."""
    reader.found_status = {
        **good_status(),
        "sources": {"tandem": {"state": "waiting", "message": "not read yet", "remedy": "Run `tconnectsync sync`."}},
    }
    for path in ("/?lang=de", "/problems?lang=de"):
        page = client.get(path, headers=HTML).text
        assert "Führe <code>tconnectsync sync</code> aus." in page
        assert "och nicht gelesen" in page


def test_a_log_of_one_bolus(client: FlaskClient, reader: FakeReader) -> None:
    """Without any glucose the page shows the dose and says that there is no reading."""
    reader.whole = Therapy(
        boluses=[Bolus(bolus_id=1, started_at=at(40), immediate_u=3.25, ended_at=at(39))], until=at(39)
    )
    page = client.get("/", headers=HTML).text
    assert "3.25" in page
    assert "No reading in the last day." in page


@pytest.mark.parametrize(("state", "known"), [("ok", False), ("refused", True)])
def test_values_before_a_fault_are_the_last_known_ones(
    client: FlaskClient, reader: FakeReader, state: str, known: bool
) -> None:
    """Insulin on board of ten minutes ago does not look present if no newer one will come."""
    bolus = Bolus(bolus_id=1, started_at=at(40), immediate_u=3.25, ended_at=at(39))
    reader.whole = Therapy(boluses=[bolus], glucose=ONE_READING.glucose, until=at(3))
    reader.pump = PumpState(at=at(3), iob_u=Reported(value=2.25, at=at(10)), rate_u_per_h=Reported(value=0.8, at=at(5)))
    reader.found_status["sources"]["tandem"] |= {"state": state}
    page = client.get("/", headers=HTML).text
    assert ("Last known bolus" in page) is known
    iob = page[page.index("Insulin on board") :][:200]
    assert ("as of" in iob) is known
    assert (page[: page.index("Insulin on board")].rsplit('class="value', 1)[1].startswith(" stale")) is known


def test_scripts_get_the_status(client: FlaskClient) -> None:
    """A client that asks for JSON, or for anything, is no browser."""
    for headers in ({}, {"Accept": "application/json"}, {"Accept": "*/*"}):
        assert client.get("/", headers=headers).get_json()["sources"]["tandem"]["state"] == "ok"


def test_today_is_the_wearers_day(client: FlaskClient, reader: FakeReader) -> None:
    """/days leads to the local day, and keeps the language."""
    reader.present = at(-6.5 * 60)  # 22:30 UTC is half past midnight in Berlin
    answer = client.get("/days?lang=de", headers=HTML)
    assert (answer.status_code, answer.location) == (302, "/days/2026-06-11?lang=de")


def test_the_csv_is_a_download(client: FlaskClient, reader: FakeReader) -> None:
    """With a name that says which days it has, and a line for each day with data: the table of ``tconnectsync report``."""
    given = [Bolus(bolus_id=1, started_at=at(60 * 24), immediate_u=2.5, carbs_g=31.5, ended_at=at(60 * 24))]
    reader.whole = Therapy(glucose=[GlucosePoint(at=at(60 * 24), glucose_mg_dl=120.0)], boluses=given, until=at(0))
    answer = client.get("/report.csv?days=30", headers=HTML)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="tconnectsync-2026-05-11-2026-06-09.csv"'
    header, line = answer.text.strip().split("\r\n")
    row = dict(zip(header.split(","), line.split(","), strict=True))
    assert (row["date"], row["mean_mg_dl"], row["in_range_percent"]) == ("2026-06-09", "120.0", "100.0")
    assert (row["bolus_u"], row["carbs_g"]) == ("2.5", "31.5")


def test_sync_now_says_that_it_runs_and_how_it_ended(tmp_path: Path, reader: FakeReader) -> None:
    """While a sync runs there is no second button; a failure is shown in its own words."""
    go = threading.Event()

    def work() -> Outcome:
        go.wait(60)
        return Outcome(status=3, lines=("Tandem does not answer.",))

    cycles = Cycles(work)
    client = web_app(
        access=open_access(tmp_path, None), cycles=cycles, read_status=reader.status, read_findings=list, reader=reader
    ).test_client()
    token = re.search(r'name="token" value="([^"]+)"', client.get("/", headers=HTML).text)
    assert token is not None
    own = {**HTML, "Origin": "http://localhost"}
    assert client.post("/sync", data={"token": "wrong"}, headers=own).status_code == 403
    assert client.post("/sync", data={"token": token[1]}, headers=own).status_code == 303
    running = client.get("/", headers=HTML).text
    assert "Syncing" in running
    assert "Sync now" not in running
    cycle, is_new = cycles.start()
    assert not is_new
    go.set()
    assert cycle.wait(60) is not None
    ended = client.get("/", headers=HTML).text
    assert "Sync now" in ended
    assert "Tandem does not answer." in ended


def test_a_language_that_there_is_not_and_markup_in_it(client: FlaskClient) -> None:
    """The page is in English, and the text of the address does not become markup."""
    answer = client.get('/?lang=<b>"', headers=HTML)
    assert answer.status_code == 200
    assert "<b>&#34;" not in answer.text
    assert '<b>"' not in answer.text
    assert 'lang="en' in answer.text


def test_static_files_are_served(client: FlaskClient) -> None:
    """Style, script and icon come from here."""
    for name, kind in (("page.css", "text/css"), ("page.js", "javascript"), ("icon.svg", "image/svg+xml")):
        with client.get(f"/static/{name}") as answer:
            assert answer.status_code == 200
            assert kind in (answer.content_type or "")
