"""The time zone's question of ``setup``: what is offered, and what is said about the pump's clock."""

from __future__ import annotations

import io
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tconnectsync.cli.init.questions import AnswerFinder
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.setup.answer_check import Answers
from tconnectsync.cli.setup.interview import Given, Interview
from tconnectsync.timeline.zone_decision import Upload

AT = datetime(2026, 7, 15, 18, 5, tzinfo=timezone.utc)


def upload(hours_from_utc: float, *, late: timedelta = timedelta(minutes=5)) -> Upload:
    """An upload whose newest data is ``late`` old, by a clock this many hours ahead of UTC."""
    return Upload(at=AT, newest=AT.replace(tzinfo=None) + timedelta(hours=hours_from_utc) - late)


def zone(
    typed: str,
    seen: Upload | None,
    monkeypatch: pytest.MonkeyPatch,
    *,
    here: str | None = None,
    given: str | None = None,
) -> Answers | None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    finder = AnswerFinder({}, bool(typed), Path("config.toml"))
    return Interview(Invocation(environ={}), finder, Given(timezone=given), here)._zone(Answers(), seen)


def test_zones_offered_without_local_zone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """They are those that fit the pump's clock."""
    answers = zone("America/New_York\n", upload(-4), monkeypatch)
    assert answers is not None
    assert answers.timezone == "America/New_York"
    said = capsys.readouterr().out
    assert "clock shows the time of America/New_York" in said
    assert "fits America/New_York" in said


def test_local_zone_is_offered(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """If the pump's clock fits it."""
    answers = zone("\n", upload(2), monkeypatch, here="Europe/Vienna")
    assert answers is not None
    assert answers.timezone == "Europe/Vienna"


def test_zone_that_does_not_fit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The question is repeated, and the zone can be kept."""
    answers = zone("America/Los_Angeles\nEurope/Berlin\n", upload(2), monkeypatch, here="Europe/Berlin")
    assert answers is not None
    assert answers.timezone == "Europe/Berlin"
    kept = zone("America/Los_Angeles\nAmerica/Los_Angeles\n", upload(2), monkeypatch, here="Europe/Berlin")
    assert kept is not None
    assert kept.timezone == "America/Los_Angeles"
    assert "not set to that zone" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "chosen", "hours", "is_late"),
    [
        ("America/Denver\n\n", "America/Denver", -7, True),  # its standard time in July
        ("America/Denver\nAmerica/Phoenix\n", "America/Phoenix", -7, True),
        ("Australia/Sydney\n\n", "Australia/Sydney", 11, False),  # its daylight-saving time in July
    ],
)
def test_clock_fits_the_other_half_year(
    typed: str,
    chosen: str,
    hours: int,
    is_late: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The zone is not confirmed: the zones of that clock are named, and the question is repeated. Enter keeps the zone."""
    answers = zone(typed, upload(hours), monkeypatch)
    assert answers is not None
    assert answers.timezone == chosen
    said = capsys.readouterr().out
    first = typed.partition("\n")[0]
    assert f"fits {first} only if the pump's clock was not changed with daylight saving" in said
    assert ("the phone was late" in said) is is_late
    assert f"which fits {first}\n" not in said
    assert 'shows the time of "' in said


def test_old_data_is_no_proof_for_a_zone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    answers = zone("Europe/Berlin\n", upload(2, late=timedelta(days=4)), monkeypatch)
    assert answers is not None
    said = capsys.readouterr().out
    assert "fits" not in said
    assert "too old" in said
    assert "clock shows the time of" not in said


def test_a_script_with_an_impossible_zone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert zone("", upload(2), monkeypatch, given="America/Los_Angeles") is None
    assert zone("", None, monkeypatch, given="America/Los_Angeles") is not None
