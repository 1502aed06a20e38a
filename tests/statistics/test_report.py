"""``tconnectsync report``: the terminal, JSON, CSV, the HTML file, and logs that have little or nothing."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import attrs
import msgspec
import pytest

from tconnectsync import Event, GlucoseUnits, Summary, events, units_word
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.report.terminal import day_cells
from tconnectsync.cli.root import run
from tconnectsync.config.load import load_config
from tconnectsync.eventlog import EventLog
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.stored_values import RECEIVER_MEMORY
from tconnectsync.plugin.manager import Plugins, load_plugins
from tconnectsync.runtime.open_engine import open_sources
from tests.statistics.conftest import SampleLog
from tests.statistics.simulated_log import true_days, upload_seen, write_log
from tests.support.clocks import FakeClock

UTC = timezone.utc
NOW = datetime(2025, 11, 18, 13, 12, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[2]


@cache
def plugins() -> Plugins:
    """The product's plugins, loaded once for all tests here."""
    return load_plugins()


@attrs.define
class ReportOutput:
    status: int
    out: str
    err: str


@attrs.define
class Terminal:
    """Runs ``report`` on a data folder, by default the sample's."""

    folder: Path
    capture: pytest.CaptureFixture[str]
    data_dir: Path

    def report(self, *arguments: str, more: str = "") -> ReportOutput:
        path = self.folder / "config.toml"
        path.touch(mode=0o600)
        path.write_text(
            f'timezone = "Europe/Berlin"\ndata_dir = "{self.data_dir}"\n{more}\n'
            '[sources.tandem]\nemail = "secret-address@example.org"\npassword = "pump-password"\nregion = "EU"\n'
            '[nightscout]\nurl = "https://site.example"\napi_secret = "0123456789abcdef"\n'
        )
        invocation = Invocation(
            environ={"HOME": str(self.folder), "TCONNECTSYNC_CONFIG": str(path)},
            clock=FakeClock(NOW),
            system_file=self.folder / "none",
            plugins=plugins(),
        )
        status = run(("report", *arguments), invocation)
        captured = self.capture.readouterr()
        return ReportOutput(status, captured.out, captured.err)


@pytest.fixture
def terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sample: SampleLog, monkeypatch: pytest.MonkeyPatch
) -> Terminal:
    """A terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    return Terminal(tmp_path, capsys, sample.data_dir)


class Page(HTMLParser):
    """The elements, attributes and texts of a page; every element that is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_terminal_shows_the_last_complete_days(terminal: Terminal) -> None:
    """Figures, a chart and one line for each day, the newest first; today is not complete."""
    shown = terminal.report("--days", "5")
    assert (shown.status, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert lines[0].startswith("5 days, 2025-11-13 to 2025-11-17")
    days = [found[1] for line in lines if (found := re.match(r"\w{3} (2025-11-\d\d)", line))]
    assert days == ["2025-11-17", "2025-11-16", "2025-11-15", "2025-11-14", "2025-11-13"]
    assert all(word in shown.out for word in ("Mean glucose", "GMI", "in range", "Basal", "Carbs", "Median by time"))
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in shown.out


@pytest.mark.parametrize("width", [40, 60, 200])
def test_the_width_of_the_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Lines fit; a narrow terminal shows fewer columns, but always time in range."""
    monkeypatch.setenv("COLUMNS", str(width))
    lines = terminal.report("--days", "3").out.splitlines()
    assert max(len(line) for line in lines if not line.startswith("3 days")) <= width
    header = next(line for line in lines if line.startswith("day"))
    assert "in range" in header
    assert ("sensor" in header) == (width > 60)


def test_json_has_the_true_figures(terminal: Terminal, sample: SampleLog) -> None:
    """The sums of each day are the truth's."""
    found = json.loads(terminal.report("--json", "--days", "4").out)
    days = [date.fromisoformat(row["date"]) for row in found["by_day"]]
    truth = true_days(sample.pump.truth, "Europe/Berlin", days)
    assert (found["first_day"], found["last_day"], found["days"]) == ("2025-11-14", "2025-11-17", 4)
    for row, day in zip(found["by_day"], days, strict=True):
        assert row["total_u"] == pytest.approx(truth[day].basal_u + truth[day].bolus_u, abs=0.05)
        assert row["carbs_g"] == truth[day].carbs_g
        assert row["in_range_percent"] == pytest.approx(truth[day].share(70, 180), abs=0.1)
    mean = sum(row["total_u"] for row in found["by_day"]) / 4
    assert found["insulin"]["total_u_per_day"] == pytest.approx(mean, abs=0.02)
    assert len(found["glucose"]["by_hour"]) == 24
    assert [row["time"] for row in found["glucose"]["percentiles_mg_dl"]][:2] == ["00:00", "00:30"]


def test_csv_has_a_line_for_each_day(terminal: Terminal) -> None:
    """A header, then a line for each day, oldest first, with the same figures as JSON."""
    text = terminal.report("--csv", "--days", "3").out
    rows = list(csv.DictReader(io.StringIO(text)))
    found = json.loads(terminal.report("--json", "--days", "3").out)["by_day"]
    assert [list(row) for row in rows] == [list(row) for row in found]
    assert [row["total_u"] for row in rows] == [str(row["total_u"]) for row in found]
    assert "\r" not in text


def test_the_document_names_every_figure(terminal: Terminal) -> None:
    """docs/user/report.md explains each key of the JSON object, which are also the columns of the CSV."""
    text = (ROOT / "docs" / "user" / "report.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", text))
    found = json.loads(terminal.report("--json", "--days", "3").out)
    keys = {*found, *found["glucose"], *found["insulin"], *found["by_day"][0], *found["glucose"]["by_hour"][0]}
    keys |= set(found["glucose"]["percentiles_mg_dl"][0])
    assert keys - named == set()


def test_the_page_is_complete_in_itself(terminal: Terminal) -> None:
    """Nothing is loaded from anywhere, and neither serial number nor address is in it."""
    path = terminal.folder / "report.html"
    shown = terminal.report("--html", str(path), "--days", "5", "--name", "Alex & <b>Sam</b>")
    assert shown.status == 0
    assert str(path) in shown.out
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert {tag for tag, _ in page.found} & {"script", "link", "img", "iframe", "b"} == set()
    assert not any(name in ("src", "href") for _, attributes in page.found for name in attributes)
    assert re.findall(r"https?:|url\(|@import", text) == []
    assert "90556643" not in text
    assert "secret-address" not in text
    assert "Alex & <b>Sam</b>" in page.texts
    assert sum(tag == "polyline" for tag, _ in page.found) == 1
    assert "2025-11-17" in text


def test_a_name_from_a_terminal_in_latin_1(terminal: Terminal) -> None:
    """Its bytes are not UTF-8: the letter is a question mark, and the file is written."""
    path = terminal.folder / "report.html"
    assert terminal.report("--html", str(path), "--days", "2", "--name", "Zo\udceb").status == 0
    assert "Zo\ufffd" in path.read_text(encoding="utf-8")


def test_the_serial_number_is_there_when_asked_for(terminal: Terminal) -> None:
    """``--html -`` prints the page; ``--with-serial`` names the pump."""
    text = terminal.report("--html", "-", "--with-serial").out
    assert text.startswith("<!doctype html>")
    assert "90556643" in text


def test_units_of_the_configuration(terminal: Terminal) -> None:
    """mmol/L have one decimal in the terminal and on the page; JSON stays in mg/dL."""
    more = 'glucose_units = "mmol"'
    shown = terminal.report("--days", "2", more=more).out
    assert re.search(r"Mean glucose: \d+\.\d mmol/L", shown)
    assert "3.9 to 10.0" in shown
    assert "mg/dL" not in shown
    assert "mmol/L" in terminal.report("--html", "-", more=more).out
    assert json.loads(terminal.report("--json", more=more).out)["glucose"]["mean_mg_dl"] > 40


def test_a_terminal_without_unicode(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chart uses plain characters if the encoding has no blocks."""
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    monkeypatch.setattr("sys.stdout", shown)
    terminal.report("--days", "2")
    shown.flush()
    text = shown.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]  # a BytesIO
    chart = text.splitlines()[[line.startswith("Median") for line in text.splitlines()].index(True) + 1]
    assert len(chart) == 48
    assert set(chart) <= set("_.-:=+*#")


def test_no_log_yet(terminal: Terminal) -> None:
    """Without a log there is nothing to report; the message names the next command."""
    terminal.data_dir = terminal.folder / "nothing"
    shown = terminal.report()
    assert (shown.status, shown.out) == (2, "")
    assert "no event log" in shown.err
    assert "tconnectsync sync" in shown.err
    assert not terminal.data_dir.exists()


def test_an_empty_log(terminal: Terminal) -> None:
    """A log without a pump's events says so."""
    terminal.data_dir = terminal.folder / "data"
    write_events(terminal.data_dir)
    shown = terminal.report("--json")
    assert (shown.status, shown.out) == (2, "")
    assert "no data of a pump" in shown.err


def test_days_without_data(terminal: Terminal) -> None:
    """Days before the log began: the message names the newest day and the command that shows it."""
    shown = terminal.report("--from", "2024-01-01", "--to", "2024-01-07")
    assert (shown.status, shown.out) == (2, "")
    assert "tconnectsync report --to 2025-11-" in shown.err


def test_some_days_without_data(terminal: Terminal) -> None:
    """Days without data are named, and do not lower the means."""
    long, short = (json.loads(terminal.report("--json", "--days", days).out) for days in ("30", "5"))
    assert (long["days"], long["days_with_data"]) == (30, 6)
    assert long["insulin"]["total_u_per_day"] == pytest.approx(short["insulin"]["total_u_per_day"], rel=0.2)
    text = terminal.report("--days", "8").out
    assert "2 of them without data" in text
    assert re.search(r"2025-11-10\s+no data", text)


def test_one_event(terminal: Terminal) -> None:
    """A single reading is a report: its mean, and no figure that needs more."""
    terminal.data_dir = terminal.folder / "data"
    write_events(terminal.data_dir, reading(1, datetime(2025, 11, 17, 9), 120.0))
    shown = terminal.report()
    assert (shown.status, shown.err) == (0, "")
    assert "Mean glucose: 120 mg/dL" in shown.out
    found = json.loads(terminal.report("--json").out)
    assert found["glucose"]["variation_percent"] is None
    assert found["glucose"]["in_range_percent"] == 100
    assert found["insulin"]["basal_percent"] is None
    assert (found["insulin"]["basal_u_per_day"], found["insulin"]["total_u_per_day"]) == (None, None)
    assert "All insulin: –" in shown.out
    assert "Basal: –" in shown.out
    Page(terminal.report("--html", "-").out)


def test_one_bolus(terminal: Terminal) -> None:
    """Without any basal rate, basal and all insulin are unknown: neither 0 nor the bolus alone. Nor is a day without data 0."""
    terminal.data_dir = terminal.folder / "data"
    body = events.BolusCompleted(bolus_id=1, status="completed", delivered_u=2.0)
    write_events(
        terminal.data_dir,
        msgspec.structs.replace(reading(1, datetime(2025, 11, 17, 9), 1.0), kind="bolus.completed", body=body),
    )
    before, day = csv.DictReader(io.StringIO(terminal.report("--csv", "--days", "2").out))
    assert (day["bolus_u"], day["boluses"], day["basal_u"], day["total_u"]) == ("2.0", "1", "", "")
    unknown = ("basal_u", "bolus_u", "total_u", "boluses", "carbs_g", "suspended_minutes", "automatic_u", "corrections")
    assert [before[name] for name in unknown] == [""] * len(unknown)
    found = json.loads(terminal.report("--json", "--days", "2").out)
    assert found["insulin"]["boluses_per_day"] == 1
    assert found["by_day"][0]["total_u"] is found["by_day"][1]["basal_u"] is None
    assert found["insulin"]["basal_u_per_day"] is found["insulin"]["total_u_per_day"] is None
    assert found["insulin"]["basal_percent"] is None
    text = terminal.report("--days", "2").out
    assert "Boluses: 2.0 U" in text
    assert re.search(r"2025-11-17 .* 2\.0 U", text)


def test_a_corrupt_log(terminal: Terminal, sample: SampleLog) -> None:
    """A corrupt record is no missing insulin: the report is refused, and the message names the check."""
    terminal.data_dir = terminal.folder / "data"
    shutil.copytree(sample.data_dir, terminal.data_dir)
    path = max((terminal.data_dir / "log").iterdir())
    text = bytearray(path.read_bytes())
    text[len(text) // 2] ^= 1
    path.write_bytes(text)
    shown = terminal.report()
    assert shown.status == 7
    assert "tconnectsync log check" in shown.err


@pytest.mark.parametrize(
    "arguments",
    [("--json", "--csv"), ("--html", "x", "--json"), ("--from", "2025-11-01", "--days", "3"), ("--days", "0"),
     ("--from", "2025-11-03", "--to", "2025-11-01")],
)  # fmt: skip
def test_options_that_exclude_each_other(terminal: Terminal, arguments: tuple[str, ...]) -> None:
    """A usage error, and nothing is written."""
    shown = terminal.report(*arguments)
    assert (shown.status, shown.out) == (2, "")


def test_a_file_that_cannot_be_written(terminal: Terminal) -> None:
    """The message names the file and what to give instead."""
    shown = terminal.report("--html", str(terminal.folder / "missing" / "report.html"))
    assert shown.status == 1
    assert "cannot be written" in shown.err


def reading(seq: int, pump_time: datetime, value: float) -> Event:
    return Event(
        id=f"tandem:1:0:{seq}", kind="glucose.reading", pump="1", group=0, seq=seq, pump_time=pump_time, source="tandem",
        received_at=NOW, body=events.GlucoseReading(mark="value", reading_time=pump_time, glucose_mg_dl=value),
    )  # fmt: skip


def write_events(folder: Path, *wanted: Event) -> None:
    folder.mkdir()
    with EventLog.open(folder, clock=FakeClock(NOW), writable=True) as log:
        log.append([*wanted, upload_seen("1", NOW - timedelta(hours=1), datetime(2025, 11, 18, 13, 10))])


def test_records_that_an_older_release_could_not_decode(terminal: Terminal, sample: SampleLog) -> None:
    """They are decoded now: insulin that the first release did not know counts."""
    now = json.loads(terminal.report("--json", "--days", "3").out)
    terminal.data_dir = terminal.folder / "data"
    write_log(terminal.data_dir, sample.pump, change=_not_decoded)
    config = load_config(terminal.folder / "config.toml", {}, plugins())
    decoders = open_sources(config, plugins(), clock=FakeClock(NOW), data_dir=terminal.data_dir)
    EventLog.open(
        terminal.data_dir, clock=FakeClock(NOW), writable=True, decoders=decoders
    ).close()  # as the daemon does
    assert json.loads(terminal.report("--json", "--days", "3").out) == now


def _not_decoded(event: Event) -> Event:
    if not event.kind.startswith("bolus."):
        return event
    return msgspec.structs.replace(
        event, kind="unknown", body=events.Unknown(code="?", reason="no such code"), decoder=0
    )


def test_days_outside_the_log(terminal: Terminal) -> None:
    """Older days can be fetched, newer ones cannot, and days that are not complete are asked for by name."""
    older = terminal.report("--from", "2025-10-02", "--to", "2025-10-03")
    assert older.status == 2
    assert "`tconnectsync backfill --from 2025-10-02 --to 2025-10-03`" in older.err
    assert "nothing newer came" not in older.err
    newer = terminal.report("--from", "2025-12-01", "--to", "2025-12-02")
    assert "nothing newer came" in newer.err
    assert "backfill" not in newer.err
    future = terminal.report("--from", "2025-11-20")
    assert future.status == 2
    assert "complete days are reported, until 2025-11-17, and 2025-11-20 is later" in future.err


def test_units_of_the_site(terminal: Terminal, sample: SampleLog) -> None:
    """Without a choice in the configuration, the units are those that the site reported; the choice wins."""
    terminal.data_dir = terminal.folder / "data"
    shutil.copytree(sample.data_dir, terminal.data_dir)
    (terminal.data_dir / "outbox").mkdir()
    with closing(Outbox(terminal.data_dir / "outbox" / "nightscout-treatments.sqlite")) as outbox:
        outbox.values.put(RECEIVER_MEMORY, f"plain {units_word(GlucoseUnits.MMOL_L)}")
    (terminal.data_dir / "outbox" / "broken.sqlite").write_text("no database")
    assert "mmol/L" in terminal.report("--days", "1").out
    assert "mg/dL" in terminal.report("--days", "1", more='glucose_units = "mg/dl"').out


def test_a_day_with_missing_records(terminal: Terminal, sample: SampleLog) -> None:
    """Insulin that is not in the log is no insulin that was not given: the day is marked, and the mark is explained."""
    whole = terminal.report("--days", "3")
    assert "*" not in whole.out
    assert "*" not in terminal.report("--html", "-", "--days", "3").out.partition("<body>")[2]
    terminal.data_dir = terminal.folder / "data"
    write_log(terminal.data_dir, sample.pump, change=_lost_on_the_16th)
    shown = terminal.report("--days", "3").out
    marked = [line for line in shown.splitlines() if re.match(r"\w{3} 2025.*\*", line)]
    assert [line[4:14] for line in marked] == ["2025-11-16"]
    assert "no basal rate" in shown
    assert "no basal rate" in terminal.report("--html", "-", "--days", "3").out
    found = json.loads(terminal.report("--json", "--days", "3").out)["by_day"]
    assert [row["basal_known_percent"] < 95 for row in found] == [False, True, False]


def test_a_period_with_missing_records_is_marked(terminal: Terminal, sample: SampleLog) -> None:
    """Whoever reads only the figures per day sees that they are too low, in the terminal and in the file."""
    terminal.data_dir = terminal.folder / "data"
    write_log(terminal.data_dir, sample.pump, change=_lost_on_the_16th)
    per_day = terminal.report("--days", "3").out.partition("Per day")[2].partition("mean")[0]
    for name in ("All insulin", "Basal", "Boluses", "Carbs"):
        assert re.search(rf"{name}: \*\d", per_day), name
    assert "* Of 1 day a part is missing in the log" in per_day
    figures = terminal.report("--html", "-", "--days", "3").out.partition("Insulin and carbs per day")[2]
    assert "Of 1 day a part is missing" in figures.partition("</section>")[0]
    assert ">*" in figures.partition("</table>")[0]


@pytest.mark.parametrize(("hours", "words"), [(24, "2026-06-04"), (23, "(23 h)"), (33, "(33 h)"), (15.5, "(15.5 h)")])
def test_a_long_or_short_day_says_so(hours: float, words: str) -> None:
    """A travel day has more or less insulin than others because it is longer or shorter."""
    day = date(2026, 6, 4)
    length = hours * 3600
    told = Summary(first_day=day, last_day=day, length_s=length, days_with_data=1, length_with_data_s=length)
    assert day_cells(told, GlucoseUnits.MG_DL)[0].endswith(words)


def _lost_on_the_16th(event: Event) -> Event:
    if event.kind == "basal.delivered" and datetime(2025, 11, 16, 8) < event.pump_time < datetime(2025, 11, 16, 14):
        return msgspec.structs.replace(event, kind="unknown", body=events.Unknown(code="279", reason="lost"), raw=None)
    return event
