"""``open_log`` as a Python program calls it, and the examples of its document."""

from __future__ import annotations

import re
import sys
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tconnectsync import TconnectsyncError, Zones, open_log
from tconnectsync.python_api.event_frame import event_row
from tests.statistics.conftest import ZONE, SampleLog

UTC = timezone.utc
DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "user" / "library.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
SINCE, UNTIL = datetime(2025, 11, 14, tzinfo=UTC), datetime(2025, 11, 15, tzinfo=UTC)


def test_events_are_typed_and_in_order(sample: SampleLog) -> None:
    """A range of time gives its events in order, each with its body class and its UTC time."""
    with open_log(sample.data_dir, timezone=ZONE) as log:
        readings = list(log.events(SINCE, UNTIL, {"glucose.reading"}))
        everything = list(log.events(SINCE, UNTIL))
        assert len(list(log.events())) > len(list(log.events(since=UNTIL))) > len(everything) > len(readings) > 200
    times = [event.at for event in everything]
    assert all(at is not None and SINCE <= at < UNTIL for at in times)
    assert times == sorted(times, key=lambda at: at or SINCE)
    assert all(event.body.mark in ("value", "high", "low", "hidden") for event in readings)
    assert [event for event in everything if event.kind == "glucose.reading"] == readings


def test_every_event_is_in_one_part(sample: SampleLog) -> None:
    """Ranges that follow each other give each event once."""
    with open_log(sample.data_dir, timezone=ZONE) as log:
        begin, end = SINCE - timedelta(days=1), UNTIL + timedelta(days=1)
        whole = [event.id for event in log.events(begin, end)]
        parts, at = list[str](), begin
        while at < end:
            parts += [event.id for event in log.events(at, at + timedelta(hours=5))]
            at += timedelta(hours=5)
        later = {event.id for event in log.events(end, end + timedelta(hours=5))}
    assert sorted(set(parts) - later) == sorted(whole)
    assert len(parts) == len(set(parts))


def test_therapy_of_a_part_is_the_part_of_the_therapy(sample: SampleLog) -> None:
    """A part of the therapy is what a longer read has in that time: rates, boluses and late readings included."""
    with open_log(sample.data_dir, timezone=ZONE) as log:
        whole = log.therapy(SINCE - timedelta(days=1), UNTIL + timedelta(days=2))
        for hours in (0, 5, 9.5, 14, 20):
            begin = SINCE + timedelta(hours=hours)
            end = begin + timedelta(hours=6)
            part, same = log.therapy(begin, end), whole.between(begin, end)
            assert part.glucose == same.glucose
            assert sum(each.insulin_u for each in part.basal) == pytest.approx(sum(b.insulin_u for b in same.basal))
            assert [each.rate_u_per_h for each in part.basal] == [each.rate_u_per_h for each in same.basal]
            assert part.boluses == same.boluses
            assert part.carbs == same.carbs
            assert part.modes == same.modes


def test_a_frame_without_pandas(sample: SampleLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the package that is missing."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with open_log(sample.data_dir, timezone=ZONE) as log, pytest.raises(ImportError, match="pip install pandas"):
        log.to_frame(SINCE, UNTIL)


def test_a_frame_has_a_row_for_each_event(sample: SampleLog) -> None:
    """Kind and the fields of the events are columns; the index is the UTC time."""
    pytest.importorskip("pandas")
    kinds = {"glucose.reading", "basal.delivered"}
    with open_log(sample.data_dir, timezone=ZONE) as log:
        frame = log.to_frame(SINCE, UNTIL, kinds)
        found = list(log.events(SINCE, UNTIL, kinds))
        glucose = log.to_frame(SINCE, UNTIL, {"glucose.reading"})["glucose_mg_dl"]
    assert frame.index.name == "at"
    assert list(frame.index) == [event.at for event in found]
    assert list(frame.columns[:3]) == ["kind", "pump", "seq"]
    assert {"glucose_mg_dl", "rate_u_per_h"} <= set(frame.columns)
    assert list(frame["kind"]) == [event_row(event)["kind"] for event in found]
    assert 40 < glucose.mean() < 400


def test_a_frame_without_events(tmp_path: Path) -> None:
    """The example of the document works on a day without data too: the columns and the UTC index are there."""
    pytest.importorskip("pandas")
    with open_log(tmp_path, timezone=ZONE) as log:
        frame = log.to_frame(SINCE, UNTIL, ["glucose.reading"])
        assert str(frame.index.tz) == "UTC"
        assert frame["glucose_mg_dl"].resample("1h").mean().empty
        assert log.to_frame(SINCE, UNTIL).empty


def test_wrong_questions(sample: SampleLog) -> None:
    """A time without a zone and a misspelt kind are errors at once, instead of an odd failure or an empty answer."""
    naive = SINCE.replace(tzinfo=None)
    with open_log(sample.data_dir, timezone=ZONE) as log:
        for ask in (
            lambda: log.events(naive),
            lambda: log.events(until=naive),
            lambda: log.to_frame(naive, UNTIL),
            lambda: log.therapy(SINCE, naive),
        ):
            with pytest.raises(ValueError, match=r"time zone.*timezone\.utc"):
                ask()
        for ask in (lambda: log.events(kinds=["bolus.complete"]), lambda: log.last(["bolus.complete"])):
            with pytest.raises(ValueError, match=r'"bolus\.complete"; did you mean "bolus\.completed"'):
                ask()


@pytest.mark.parametrize(
    ("where", "timezone", "named"),
    [("", None, "timezone="), ("", "GMT-5", "Europe/Berlin"), ("missing.toml", None, "missing.toml")],
)
def test_what_cannot_be_opened(sample: SampleLog, where: str, timezone: str | None, named: str) -> None:
    """A folder without a zone, a zone that is no place, a file that is not there: the error says what to give."""
    with pytest.raises(TconnectsyncError) as raised:
        open_log(sample.data_dir / where, timezone=timezone)
    assert named in f"{raised.value.message} {raised.value.remedy}"


def test_the_newest_event_that_fits(sample: SampleLog) -> None:
    """A condition is asked of older events too, until one fits or there are no more."""
    with open_log(sample.data_dir, timezone=ZONE) as log:
        readings = [event.id for event in log.events(kinds={"glucose.reading"})]
        newest, fits = (
            log.last({"glucose.reading"}),
            log.last({"glucose.reading"}, lambda event: event.id == readings[-9]),
        )
        assert newest is not None
        assert fits is not None
        assert [newest.id, fits.id] == [readings[-1], readings[-9]]
        assert log.last({"cannula.filled"}, lambda _: False) is None
        assert log.worn_pumps() == log.pumps()


def test_a_refused_event_hides_none_of_its_second(sample: SampleLog) -> None:
    """The last event that fits is found also if others of the same time do not fit."""
    kinds = {"basal.delivered", "basal.rate_changed", "glucose.reading"}
    with open_log(sample.data_dir, timezone=ZONE) as log:
        events = list(log.events(kinds=kinds))
        first, second = next(pair for pair in pairwise(reversed(events)) if pair[0].at == pair[1].at)
        assert log.last(kinds, lambda event: event.seq < first.seq) == second


def test_an_empty_folder(tmp_path: Path) -> None:
    """A folder without a log has no events, and opening it writes nothing."""
    with open_log(tmp_path, timezone=ZONE) as log:
        assert list(log.events()) == []
        assert log.newest() is None
        assert log.pumps() == ()
        assert log.zones == Zones(timezone=ZONE)
    assert list(tmp_path.iterdir()) == []


def test_the_examples_of_the_document(
    sample: SampleLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each example runs as it stands, one after the other."""
    path = tmp_path / "config.toml"
    path.touch(mode=0o600)
    path.write_text(
        f'timezone = "{ZONE}"\ndata_dir = "{sample.data_dir}"\n[sources.tandem]\nemail = "a@example.org"\n'
        'password = "x"\nregion = "EU"\n[nightscout]\nurl = "https://example.org"\napi_secret = "0123456789abcdef"\n'
    )
    for name in ("TCONNECT_EMAIL", "TCONNECT_PASSWORD", "TIMEZONE_NAME", "NS_URL", "NS_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TCONNECTSYNC_CONFIG", str(path))
    assert len(EXAMPLES) >= 4
    names: dict[str, Any] = {}
    for example in EXAMPLES:
        if "to_frame" in example and not _has_pandas():
            continue
        exec(example, names)  # noqa: S102 - the document's own code
    names["log"].close()
    assert "in range" in capsys.readouterr().out


def _has_pandas() -> bool:
    try:
        import pandas as pd  # noqa: F401
    except ImportError:
        return False
    return True
