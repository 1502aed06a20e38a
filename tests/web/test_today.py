"""The figures of the present day, on the overview and on its own page."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from tconnectsync import BasalSpan, Bolus, GlucosePoint, Therapy, Zones
from tconnectsync_web.access.admission import open_access
from tconnectsync_web.pages.day import day_page
from tconnectsync_web.pages.overview import overview
from tconnectsync_web.routes import web_app
from tconnectsync_web.sync_cycles import Cycles, Outcome
from tests.web.fake_reader import FakeReader

UTC = timezone.utc
UTC = timezone.utc
HOUR = timedelta(hours=1)
MIDNIGHT = datetime(2026, 6, 9, 22, 0, tzinfo=UTC)
"""In Berlin."""
LACKS_BASAL = "no basal rate for a part of this day", "Teil dieses Tages fehlt die Basalrate"


@pytest.mark.parametrize("home", ["Pacific/Auckland", "Europe/Berlin"])
def test_today_of_a_long_travel_day(home: str) -> None:
    """A move to the west makes a day of up to 43 hours: its first hours count on the overview as on its own page."""
    zones = Zones(timezone=home, moves=((date(2026, 6, 5), "America/Los_Angeles"),))
    begin, end = zones.day_start(date(2026, 6, 4)), zones.day_start(date(2026, 6, 5))
    now = end - timedelta(minutes=20)
    assert now - begin > 31 * HOUR
    basal = [BasalSpan(begin=begin - 5 * HOUR, end=now, rate_u_per_h=1.0)]
    meal = Bolus(bolus_id=1, started_at=begin + HOUR, ended_at=begin + HOUR, immediate_u=5.0, carbs_g=50.0)
    reader = FakeReader(whole=Therapy(basal=basal, boluses=[meal], until=now), zones=zones, present=now)
    shown = overview(reader, 6).today
    assert shown is not None
    assert shown.total_u == pytest.approx((now - begin) / HOUR + 5.0)
    assert shown == day_page(reader, date(2026, 6, 4)).summary


def pages(folder: Path, now: datetime, gap: tuple[datetime, datetime] | None, newest: datetime) -> list[str]:
    """Overview and page of a day with 1 U/h up to ``newest``, in English and German; in the gap no record came."""
    lost = gap or (newest, newest)
    spans = ((MIDNIGHT - 5 * HOUR, lost[0]), (lost[1], newest))
    basal = [BasalSpan(begin=begin, end=end, rate_u_per_h=1.0) for begin, end in spans if begin < end]
    readings = [GlucosePoint(at=newest, glucose_mg_dl=120.0)]
    reader = FakeReader(whole=Therapy(basal=basal, glucose=readings, until=newest), present=now)
    client: FlaskClient = web_app(
        access=open_access(folder, None), cycles=Cycles(lambda: Outcome(status=0)), read_status=reader.status,
        read_findings=list, reader=reader,
    ).test_client()  # fmt: skip
    return [
        client.get(path, headers={"Accept": "text/html", "Accept-Language": language}).text
        for path in ("/", "/days/2026-06-10")
        for language in ("en", "de")
    ]


@pytest.mark.parametrize(
    ("hours", "gap_h", "said"),
    [
        (18, (8, 14), True),
        (18, None, False),
        (18, (8, 8.2), False),
        (18, (0, 5), True),
        (1.2, (0.5, 0.9), True),
        (1.2, (0.5, 0.6), False),
        (0.5, (-0.5, 0.25), False),
    ],
    ids=[
        "six hours",
        "all there",
        "minutes",
        "since midnight",
        "soon after midnight",
        "minutes of an hour",
        "at midnight",
    ],
)
def test_today_that_lacks_basal_says_so(
    tmp_path: Path, hours: float, gap_h: tuple[float, float] | None, said: bool
) -> None:
    """If records are missing in the middle, the sums are too low: overview and page of today say so, as of other days."""
    gap = None if gap_h is None else (MIDNIGHT + gap_h[0] * HOUR, MIDNIGHT + gap_h[1] * HOUR)
    now = MIDNIGHT + hours * HOUR
    for page in pages(tmp_path, now, gap, now - timedelta(minutes=5)):
        assert any(words in page for words in LACKS_BASAL) is said


def test_a_late_upload_is_no_missing_basal(tmp_path: Path) -> None:
    """What the phone has not uploaded yet is not missing in the log."""
    for page in pages(tmp_path, MIDNIGHT + 12 * HOUR, None, MIDNIGHT + 10.5 * HOUR):
        assert not any(words in page for words in LACKS_BASAL)
