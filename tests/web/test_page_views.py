"""Addresses of the pages: what strange ones get, and what scripts get."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tconnectsync import Bolus, GlucosePoint, GlucoseUnits, Therapy
from tconnectsync_web.access.admission import open_access
from tconnectsync_web.app import web_app
from tconnectsync_web.sync_cycles import Cycles, Outcome
from tests.web.fake_reader import FakeReader, at

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
    """They are not found, in words."""
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


def test_a_log_of_one_bolus(client: FlaskClient, reader: FakeReader) -> None:
    """Without any glucose the page shows the dose and says that there is no reading."""
    reader.whole = Therapy(
        boluses=[Bolus(bolus_id=1, started_at=at(40), immediate_u=3.25, ended_at=at(39))], until=at(39)
    )
    page = client.get("/", headers=HTML).text
    assert "3.25" in page
    assert "No reading in the last day." in page


def test_scripts_get_the_status(client: FlaskClient) -> None:
    """What asks for JSON, or for anything, is no browser."""
    for headers in ({}, {"Accept": "application/json"}, {"Accept": "*/*"}):
        assert client.get("/", headers=headers).get_json()["sources"]["tandem"]["state"] == "ok"


def test_today_is_the_wearers_day(client: FlaskClient, reader: FakeReader) -> None:
    """/days leads to the local day, and keeps the language."""
    reader.present = at(-6.5 * 60)  # 22:30 UTC is half past midnight in Berlin
    answer = client.get("/days?lang=de", headers=HTML)
    assert (answer.status_code, answer.location) == (302, "/days/2026-06-11?lang=de")


def test_the_csv_is_a_download(client: FlaskClient, reader: FakeReader) -> None:
    """With a name that says which days it has; the page's units."""
    reader.units = GlucoseUnits.MMOL_L
    answer = client.get("/report.csv?days=30", headers=HTML)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="tconnectsync-2026-05-11-2026-06-09.csv"'
    assert answer.text.startswith("date,readings,mean_mmol/L,")


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
