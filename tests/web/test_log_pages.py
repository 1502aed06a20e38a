"""The log and the problems: what they show, how they page, and what they do with strange input."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, get_args

import attrs
import msgspec
import pytest
from werkzeug.test import TestResponse

from tconnectsync import Event, GlucoseUnits, TconnectsyncError, Zones, events
from tconnectsync_web.access.admission import open_access
from tconnectsync_web.languages import Languages
from tconnectsync_web.pages.event_kinds import GROUPS, KIND_TITLES, kinds_of
from tconnectsync_web.pages.event_log import MOST_READ, ROWS, EventPage, EventSearch, describe_event, event_page
from tconnectsync_web.pages.problems import problems_of
from tconnectsync_web.routes import web_app
from tconnectsync_web.sync_cycles import Cycles, Outcome
from tests.web.fake_reader import NOW, FakeReader, at, event, good_status

ENGLISH = Languages().choose(["en"])
ZONES = Zones(timezone="Europe/Berlin")
DESCRIBE = partial(describe_event, texts=ENGLISH, units=GlucoseUnits.MG_DL, wall_of=ZONES.wall_of)
LETTER = {
    "sink": "nightscout-treatments", "id": "0123abcd", "at": "2026-06-10T10:00:00Z", "collection": "treatments",
    "reason": "the site refuses <b>this</b>", "content": {"eventType": "Correction Bolus"}, "attempts": 2,
}  # fmt: skip


def glucose(minutes_ago: float, mg_dl: float = 112) -> Event:
    reading = at(minutes_ago).replace(tzinfo=None)
    return event(
        "glucose.reading", events.GlucoseReading(mark="value", reading_time=reading, glucose_mg_dl=mg_dl), minutes_ago
    )


def alarm(minutes_ago: float, name: str = "occlusion") -> Event:
    return event("alarm.raised", events.AlarmRaised(alarm_id=2, name=name), minutes_ago)


@attrs.define
class FakeLog:
    """Reads like the log, and counts."""

    all_events: Sequence[Event]
    read: int = 0

    def __call__(self, begin: datetime | None, end: datetime, kinds: frozenset[str] | None) -> Iterable[Event]:
        for each in sorted(self.all_events, key=lambda each: each.at or NOW):
            if (
                each.at
                and (begin is None or begin <= each.at)
                and each.at < end
                and (kinds is None or each.kind in kinds)
            ):
                self.read += 1
                yield each


def whole(log: FakeLog, search: EventSearch) -> list[EventPage]:
    pages, before = [], NOW + timedelta(days=2)
    while True:
        pages.append(event_page(log, search, before, DESCRIBE))
        older = pages[-1].older
        if older is None:
            return pages
        assert older < before, "it goes on forever"
        before = older


# --- content ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("same_time", [1, 7, 150])
def test_pages_together_have_every_event_once_newest_first(same_time: int) -> None:
    """Also if many events have the same time."""
    log = FakeLog([glucose(5 * (number // same_time)) for number in range(450)])
    rows = [row for page in whole(log, EventSearch()) for row in page.rows]
    assert len(rows) == 450
    assert [row.at for row in rows] == sorted((row.at for row in rows), reverse=True)
    assert len(whole(log, EventSearch())[0].rows) >= ROWS


def test_a_long_pause_does_not_end_the_log() -> None:
    log = FakeLog([glucose(1), glucose(60 * 24 * 300), glucose(60 * 24 * 301)])
    assert sum(len(page.rows) for page in whole(log, EventSearch())) == 3


def test_a_search_reads_a_bounded_part_and_goes_on() -> None:
    log = FakeLog([*(glucose(number) for number in range(3 * MOST_READ)), alarm(3 * MOST_READ + 1)])
    first = event_page(log, EventSearch(words="occlusion"), NOW + timedelta(days=2), DESCRIBE)
    assert first.rows == []
    assert first.older is not None
    assert log.read < 2 * MOST_READ
    assert [row.title for page in whole(log, EventSearch(words="occlusion")) for row in page.rows] == ["Alarm"]


def test_kinds_and_words_choose() -> None:
    log = FakeLog([glucose(1), alarm(2), alarm(3, "empty_cartridge"), glucose(4, 55)])

    def titles(search: EventSearch) -> list[str]:
        return [row.details for row in event_page(log, search, NOW + timedelta(days=2), DESCRIBE).rows]

    assert titles(EventSearch(kinds=kinds_of("alarms"))) == ["occlusion", "empty cartridge"]
    assert titles(EventSearch(words="EMPTY Alarm")) == ["empty cartridge"]
    assert titles(EventSearch(words="glucose 55")) == ["glucose 55 mg/dL"]
    assert titles(EventSearch(words="nothing like it")) == []


def test_every_kind_of_a_pump_has_a_title_and_one_group() -> None:
    assert set(KIND_TITLES) == set(events.BODIES) - events.FACTS - {"wear.began", "wear.ended"}
    grouped = [kind for group in GROUPS for kind in group.kinds]
    assert sorted(grouped) == sorted(KIND_TITLES)
    assert kinds_of("glucose.reading") == {"glucose.reading"}
    assert kinds_of("no such kind") is None


def _without_none(declared: Any) -> Any:
    """The type of a field that may be None. The log's reader resolves the types of all fields, so they may be texts no more."""
    given = get_args(declared)
    return given[0] if type(None) in given else declared


def test_every_body_can_be_described() -> None:
    """With all of its fields, and with none."""
    samples: Mapping[Any, Any] = {
        float: 1.5, int: 3, bool: True, str: "some_words", datetime: datetime(2026, 6, 10, 8, 5),
        tuple[str, ...]: ("one", "two"), Mapping[str, Any]: {"a": 1},
    }  # fmt: skip
    for kind in KIND_TITLES:
        fields = msgspec.structs.fields(events.BODIES[kind])
        full = {field.name: samples[_without_none(field.type)] for field in fields}
        needed = {field.name: full[field.name] for field in fields if field.required}
        for values in (full, needed):
            row = DESCRIBE(event(kind, events.BODIES[kind](**values), 1))
            assert row.title != kind
            assert "None" not in row.details


@pytest.mark.parametrize(
    ("units", "words"), [(GlucoseUnits.MG_DL, "glucose 112 mg/dL"), (GlucoseUnits.MMOL_L, "glucose 6.2 mmol/L")]
)
def test_glucose_has_the_chosen_units(units: GlucoseUnits, words: str) -> None:
    assert describe_event(glucose(1), ENGLISH, units, ZONES.wall_of).details == words


@pytest.mark.parametrize(
    ("units", "words"), [(GlucoseUnits.MG_DL, "trend −0.9 mg/dL/min"), (GlucoseUnits.MMOL_L, "trend −0.05 mmol/L/min")]
)
def test_a_slow_change_is_not_zero(units: GlucoseUnits, words: str) -> None:
    told = event(
        "glucose.reading",
        events.GlucoseReading(
            mark="value", reading_time=NOW.replace(tzinfo=None), glucose_mg_dl=112.0, trend_mg_dl_per_min=-0.9
        ),
        1,
    )
    assert words in describe_event(told, ENGLISH, units, ZONES.wall_of).details


def test_times_are_the_wearers() -> None:
    row = DESCRIBE(glucose(0))
    assert row.local == datetime(2026, 6, 10, 18, 0), "Berlin's summer time"


# --- pages -----------------------------------------------------------------------------------------------------------------


@attrs.define
class BrowsingReader(FakeReader):
    """A reader whose log can be browsed, or fails."""

    error: Exception | None = None

    def browse(self, work: Callable[[Any], Any]) -> Any:
        if self.error is not None:
            raise self.error
        return work(FakeLog(self.all_events))


def asker(
    tmp_path: Path, reader: BrowsingReader, letters: Sequence[Mapping[str, Any]] = ()
) -> Callable[..., TestResponse]:
    app = web_app(
        access=open_access(tmp_path, None), cycles=Cycles(lambda: Outcome(status=0)), read_status=dict, read_findings=list,
        read_letters=lambda: letters, reader=reader, redact=lambda text: text.replace("marked-secret", "…"),
    )  # fmt: skip

    def ask(path: str, **headers: str) -> TestResponse:
        return app.test_client().get(path, base_url="http://127.0.0.1", headers={"Accept": "text/html", **headers})

    return ask


def test_the_log_page_filters_and_pages(tmp_path: Path) -> None:
    reader = BrowsingReader(all_events=[*(glucose(5 * number) for number in range(250)), alarm(2)])
    ask = asker(tmp_path, reader)
    first = ask("/log").text
    assert first.count("<tr><td><time") == ROWS
    assert "Occlusion" not in first
    assert "occlusion" in ask("/log?kind=alarms").text
    assert ask("/log?kind=alarms").text.count("<tr><td><time") == 1
    older = first.rpartition('<a class="button" href="')[2].partition('"')[0].replace("&amp;", "&")
    assert ask(older).text.count("<tr><td><time") == ROWS
    assert "Show the newest" in ask(older).text


def test_the_log_page_speaks_german(tmp_path: Path) -> None:
    page = asker(tmp_path, BrowsingReader(all_events=[alarm(2)]))("/log?lang=de").text
    assert "Boli und Kohlenhydrate" in page
    assert '<html lang="de"' in page


@pytest.mark.parametrize(
    "query",
    ["before=x", "before=0001-01-01T00:00:00Z", "before=9999-12-31T23:59:59%2B14:00", "before=2026-06-10", "kind=<script>", "q=" + "x" * 3000,
     "q=%00", "q=%ff", "before=" + "9" * 400, "kind=alarms&kind=x"],
)  # fmt: skip
def test_strange_questions_get_a_page(tmp_path: Path, query: str) -> None:
    answer = asker(tmp_path, BrowsingReader(all_events=[alarm(2)]))(f"/log?{query}")
    assert answer.status_code == 200
    assert "<script>" not in answer.text.replace('<script src="', "")


def test_an_empty_log_says_so(tmp_path: Path) -> None:
    assert "first sync" in asker(tmp_path, BrowsingReader())("/log").text
    assert "No event matches" in asker(tmp_path, BrowsingReader())("/log?q=x").text


def test_what_a_pump_wrote_is_shown_as_text(tmp_path: Path) -> None:
    page = asker(tmp_path, BrowsingReader(all_events=[alarm(1, "<img src=x>")]))("/log").text
    assert "&lt;img src=x&gt;" in page


@pytest.mark.parametrize(
    "error", [TconnectsyncError("segment 7 marked-secret"), PermissionError(13, "segment 7 denied")]
)
def test_a_log_that_cannot_be_read_is_explained(tmp_path: Path, error: Exception) -> None:
    answer = asker(tmp_path, BrowsingReader(error=error))("/log")
    assert answer.status_code == 503
    assert "segment 7" in answer.text
    assert "marked-secret" not in answer.text
    words = html.unescape(answer.text)
    assert "if you look at the glucose on the pump or in the sensor's app" in words
    assert "This can wait." not in words  # the last glucose may be low


@pytest.mark.parametrize("path", ["/nothing", "/days/1999-01-01", "/days/x"])
def test_an_address_without_a_page(tmp_path: Path, path: str) -> None:
    """It says so with the menu and in the reader's language, whatever the address is."""
    answer = asker(tmp_path, BrowsingReader())(path, **{"Accept-Language": "de"})
    assert answer.status_code == 404
    assert "Diese Seite gibt es nicht" in answer.text


@pytest.mark.parametrize("kind", ["owner", "viewer"])
def test_only_the_owner_has_the_button_to_sync(tmp_path: Path, kind: str) -> None:
    access = open_access(tmp_path, b"secret")
    app = web_app(
        access=access, cycles=Cycles(lambda: Outcome(status=0)), read_status=dict, read_findings=list, reader=BrowsingReader()
    )  # fmt: skip
    browser, own = app.test_client(), {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
    if kind == "viewer":
        browser.post("/view", data={"token": access.view_link.create()}, headers=own)
    else:
        browser.post("/sign-in", data={"secret": "secret"}, headers=own)
    page = browser.get("/", headers=own)
    assert page.status_code == 200
    assert ('action="/sync"' in page.text) is (kind == "owner")
    assert 'action="/sign-out"' in page.text
    assert browser.post("/sync", headers=own).status_code == 403, "without the form's own token, or without the right"


# --- problems --------------------------------------------------------------------------------------------------------------


def test_without_problems_the_page_says_so(tmp_path: Path) -> None:
    assert "There are no problems" in asker(tmp_path, BrowsingReader())("/problems").text


def test_refused_entries_have_reason_and_commands(tmp_path: Path) -> None:
    page = asker(tmp_path, BrowsingReader(), [LETTER])("/problems").text
    assert "the site refuses &lt;b&gt;this&lt;/b&gt;" in page
    assert "tconnectsync dead-letters retry nightscout-treatments 0123abcd" in page
    assert "tconnectsync dead-letters drop nightscout-treatments 0123abcd" in page
    assert "tried 2 times" in page
    many = [{**LETTER, "id": f"{number:08x}"} for number in range(130)]
    assert "30 more are not shown" in asker(tmp_path, BrowsingReader(), many)("/problems").text


def test_pauses_and_corruption_have_the_next_command(tmp_path: Path) -> None:
    status = good_status()
    status["log"] |= {"damaged": "segment 7 line 3", "remedy": "Run `tconnectsync log check`."}
    braked = {
        "state": "braked",
        "since": "2026-06-10T10:00:00Z",
        "message": "612 documents would change",
        "remedy": "Run `tconnectsync resume x`.",
    }
    status["sinks"]["x"] = braked
    status["sinks"]["y"] = {"state": "off", "message": "never mind"}
    page = asker(tmp_path, BrowsingReader(found_status=status))("/problems").text
    for words in (
        "egment 7 line 3",
        "tconnectsync log check",
        "612 documents",
        "tconnectsync resume x",
        "paused",
        "(6 h)",
    ):
        assert words in page, words
    assert "never mind" not in page


def test_comparison_result_has_command() -> None:
    """The command that corrects it."""
    status = good_status()
    counts = {"good": 3, "missing": 2, "different": 0, "twice": 1, "waiting": 5, "foreign": 9}
    status["sinks"]["nightscout-treatments"] |= {"verified_at": "2026-06-10T10:00:00Z", "verified": counts}
    (found,) = problems_of(status, []).compared
    assert (found.good, found.wrong) == (3, [("missing", 2), ("twice", 1)])
    assert found.commands == [
        "tconnectsync verify nightscout-treatments --repair",
        "tconnectsync adopt nightscout-treatments",
    ]
    assert not problems_of(status, []).is_empty


@pytest.mark.parametrize(
    "status", [{}, {"sinks": {}}, {"log": None, "disk": None, "sources": None, "sinks": {"x": {}}}]
)
def test_a_status_with_little_in_it_is_enough(status: Mapping[str, Any]) -> None:
    assert problems_of(status, []).is_empty
