"""Several people on one page: each has a card, and one person's problem does not affect the others."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from flask import Flask, render_template
from werkzeug.test import Client, TestResponse

from tconnectsync import CheckResult, GlucosePoint, GlucoseUnits, PumpLog, Secret, TconnectsyncError, Therapy, Zones
from tconnectsync.clock import SystemClock
from tconnectsync_simulator.cloud.tandem import TandemCloud
from tconnectsync_web.access.path_prefix import PathPrefix
from tconnectsync_web.application import WebApplication, open_application
from tconnectsync_web.blueprint import frame_blueprint
from tconnectsync_web.languages import Languages
from tconnectsync_web.options import WebOptions
from tconnectsync_web.pages import value_words
from tconnectsync_web.pages.person_card import PersonCard, person_card
from tconnectsync_web.people import NotSetUp, may_have_secret, names_of, people_of, settings_of
from tests.e2e.installation import ZONE, Installation, recent_pump
from tests.support.clocks import ShiftedClock
from tests.web.fake_reader import FakeReader, at, good_status, iso
from tests.web.test_web_whole import listening

HTML = {"Accept": "text/html"}
GOOD = {"version": "4", "sources": {}, "sinks": {"nightscout-iob": {"state": "ok", "message": ""}}}


@attrs.define
class FakeConfig:
    data_dir: Path
    sections: Mapping[str, Any]
    zones: Zones = attrs.field(factory=lambda: Zones(timezone="Europe/Berlin"))

    def problem_of(self, part: str) -> str | None:
        return None if part in self.sections else f"{part} is wrong"


@attrs.define
class FakeEngine:
    """The engine of one configuration. ``broken``: why it cannot be read."""

    folder: Path
    web: WebOptions | None = attrs.field(factory=WebOptions)
    broken: Exception | None = None
    fails: Exception | None = None
    loads: int = 0
    logs: list[PumpLog] = attrs.field(factory=list)
    others: dict[Path, FakeEngine] = attrs.field(factory=dict)

    def with_config(self, path: Path) -> FakeEngine:
        return self.others[path]

    def config(self) -> FakeConfig:
        self.loads += 1
        if self.broken is not None:
            raise self.broken
        return FakeConfig(self.folder, {} if self.web is None else {"web": self.web})

    def request(self, command: str) -> tuple[int, tuple[str, ...]]:
        return 0, (command,)

    def read_status(self) -> dict[str, Any]:
        if self.fails is not None:
            raise self.fails
        return {**GOOD, "who": self.folder.name}

    def dead_letters(self) -> list[dict[str, Any]]:
        return []

    def glucose_units(self) -> GlucoseUnits:
        return GlucoseUnits.MG_DL

    def open_log(self) -> PumpLog:
        self.logs.append(PumpLog.open(self.folder, Zones(timezone="Europe/Berlin"), clock=SystemClock()))
        return self.logs[-1]

    def findings(self) -> Iterator[CheckResult]:
        yield CheckResult(good=True, what=f"{self.folder.name} marked-secret")

    def redact(self, text: str) -> str:
        return text.replace("marked-secret", "…")

    def serve(self) -> None:
        raise AssertionError


@pytest.fixture
def engines(tmp_path: Path) -> dict[str, FakeEngine]:
    """Three people."""
    return {name: FakeEngine(tmp_path / name) for name in ("anna", "ben", "cleo")}


OPENED = ExitStack()
"""Closes the applications of a test."""


@pytest.fixture(autouse=True)
def _closed_at_the_end() -> Iterator[None]:
    with OPENED:
        yield


def application_of(engines: Mapping[str, FakeEngine], secret: bytes | None = None) -> WebApplication:
    files = [engine.folder / f"{name}.toml" for name, engine in engines.items()]
    front = FakeEngine(Path("unused"), others=dict(zip(files, engines.values(), strict=True)))
    people = people_of(front, files)
    return open_application(people, settings_of(people).data_dir, secret)


def asker(engines: dict[str, FakeEngine], base_path: str = "", secret: bytes | None = None) -> Any:
    opened = application_of(engines, secret)
    OPENED.callback(opened.close)
    application: Any = PathPrefix(app=opened.app, base_path=base_path, trusts_proxy=False)
    browser = Client(application)

    def ask(path: str, headers: Mapping[str, str] = HTML, method: str = "GET", **more: Any) -> TestResponse:
        return browser.open(path, method=method, headers=dict(headers), base_url="http://127.0.0.1:8080", **more)

    return ask


def test_each_person_has_a_card_and_pages(engines: dict[str, FakeEngine]) -> None:
    ask = asker(engines)
    front = ask("/").text
    for name in engines:
        assert f'href="/p/{name}/"' in front
        assert ask(f"/p/{name}/", {}).json["sinks"]["nightscout-iob"]["state"] == "ok"
        assert name in ask(f"/p/{name}/check_login", {}).text
    assert set(ask("/", {}).json) == set(engines)


@pytest.mark.parametrize(
    "error", [TconnectsyncError("timezone: missing marked-secret"), PermissionError(13, "no marked-secret", "b.toml")]
)  # fmt: skip
def test_a_broken_configuration_shows_on_its_card_only(engines: dict[str, FakeEngine], error: Exception) -> None:
    engines["ben"].broken = error
    ask = asker(engines)
    front = ask("/")
    assert front.status_code == 200
    assert 'href="/p/anna/"' in front.text
    assert 'href="/p/ben/"' not in front.text
    assert str(error).partition("marked")[0].partition(":")[0] in front.text
    broken = ask("/p/ben/days/2026-11-27")
    assert broken.status_code == 503
    assert ask("/p/cleo/", {}).status_code == 200
    assert ask("/", {}).json["ben"] == {"problem": True}
    assert "marked-secret" not in front.text + broken.text


@pytest.mark.parametrize("many", [1, 3])
def test_closing_the_application_closes_every_log(
    engines: dict[str, FakeEngine], many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[PumpLog] = []
    really_close = PumpLog.close

    def close(log: PumpLog) -> None:
        closed.append(log)
        really_close(log)

    monkeypatch.setattr(PumpLog, "close", close)
    shown = dict(list(engines.items())[:many])
    application = application_of(shown)
    assert Client(cast(Any, application.app)).get("/", headers=HTML).status_code == 200
    application.close()
    opened = [log for engine in shown.values() for log in engine.logs]
    assert len(opened) == many
    assert closed == opened


def test_a_corrected_configuration_is_noticed(engines: dict[str, FakeEngine]) -> None:
    engines["ben"].broken = TconnectsyncError("timezone: missing")
    ask = asker(engines)
    assert ask("/p/ben/", {}).status_code == 503
    engines["ben"].broken = None
    assert ask("/p/ben/", {}).status_code == 200
    assert 'href="/p/ben/"' in ask("/").text


def test_a_status_that_cannot_be_read_hides_nobody_else(engines: dict[str, FakeEngine]) -> None:
    engines["anna"].fails = ValueError("marked-secret is odd")
    front = asker(engines)("/")
    assert front.status_code == 200
    assert "is odd" in front.text
    assert "if you look at the glucose on the pump" in front.text
    assert "marked-secret" not in front.text
    assert 'href="/p/ben/"' in front.text


def test_two_configurations_one_data_folder(engines: dict[str, FakeEngine]) -> None:
    """They are refused, not mixed."""
    engines["ben"].folder = engines["anna"].folder
    files = [Path("anna.toml"), Path("ben.toml")]
    people = people_of(FakeEngine(Path("x"), others=dict(zip(files, engines.values(), strict=False))), files)
    assert people[0].problem() is None
    problem = people[1].problem()
    assert problem is not None
    assert "data_dir" in problem
    assert "anna.toml" in problem


def test_one_secret_is_for_everybody(engines: dict[str, FakeEngine]) -> None:
    ask = asker(engines, base_path="/family", secret=b"xyz")
    for path in ("/", "/p/anna/", "/p/ben/days", "/p/nobody/"):
        form = ask(f"/family{path}")
        assert form.status_code == 401, path
        assert 'action="/family/sign-in"' in form.text
        assert f'name="target" value="{path}"' in form.text
    own = {**HTML, "Sec-Fetch-Site": "same-origin"}
    signed = ask("/family/sign-in", own, "POST", data={"secret": "xyz", "target": "/p/ben/"})
    assert signed.headers["Location"] == "/family/p/ben/"
    assert "Path=/family/" in signed.headers["Set-Cookie"]
    assert ask("/family/").status_code == 200
    assert 'href="/family/p/anna/"' in ask("/family/").text
    assert ask("/family/p/anna/nothing").status_code == 404


@pytest.mark.parametrize(
    "path", ["/p/nobody/", "/p/%2e%2e/", "/p//", "/p/anna%2f..%2fben/", "/p/" + "x" * 3000 + "/", "/p/anna", "/p/"]
)
def test_a_strange_name_finds_nobody(engines: dict[str, FakeEngine], path: str) -> None:
    answer = asker(engines)(path)
    assert answer.status_code in (308, 404)
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["anna.toml", "x/ben.toml"], ["anna", "ben"]),
        (["/h/anna/config.toml", "/h/ben/config.toml"], ["anna", "ben"]),
        (["/a/x/config.toml", "/b/x/config.toml", "/c/x/config.toml"], ["x", "x-2", "x-3"]),
        (["Zoë & co.toml", "....toml"], ["Zo-co", "person"]),
    ],
)
def test_names_come_from_files_or_folders(files: list[str], names: list[str]) -> None:
    assert names_of([Path(each) for each in files]) == names


def test_cards_show_glucose_and_follow_everybodys_news(engines: dict[str, FakeEngine]) -> None:
    ask = asker(engines)
    front = ask("/").text
    assert 'data-live="/live?since=' in front
    assert front.count("No reading in the last day") == len(engines)
    assert 'href="/"' in ask("/p/anna/").text, "the way back"


@pytest.mark.parametrize("units", GlucoseUnits)
def test_a_card_says_unit_time_and_trust(units: GlucoseUnits) -> None:
    """A number without its unit is wrong by a factor of eighteen for readers who think of the other unit."""
    texts = Languages().choose(["en-US"])
    reader = FakeReader(whole=Therapy(glucose=[GlucosePoint(at=at(3), glucose_mg_dl=180.0)], until=at(3)), units=units)
    card = person_card("anna", reader, 3, texts)
    assert (card.reading, card.units) == {"mg/dL": ("180", "mg/dL"), "mmol/L": ("10.0", "mmol/L")}[units.label]
    assert card.age.replace("\u202f", " ") == "3 min ago (5:57 PM)"
    page = front_of(card)
    assert f'<span class="unit">{units.label}</span>' in page
    assert "All data is arriving." in page
    reader.present = at(-60)
    assert "do not rely on it" in front_of(person_card("anna", reader, 3, texts))


def test_a_card_with_old_data_does_not_call_it_new() -> None:
    """The phone uploads about once an hour: nothing is known to be wrong yet, and the newest data is old."""
    status = good_status()
    status["sources"]["tandem"] |= {"last_upload": iso(170), "newest_event": iso(172)}
    old = Therapy(glucose=[GlucosePoint(at=at(172), glucose_mg_dl=95.0)], until=at(172))
    page = front_of(person_card("anna", FakeReader(whole=old, found_status=status), 3, Languages().choose(["en-US"])))
    assert "All data is arriving." not in page
    assert "No problem is known." in page


def front_of(card: PersonCard) -> str:
    """The page with this card alone."""
    app, frame = Flask("cards"), frame_blueprint()
    frame.add_url_rule("/", "overview", lambda: "")
    app.register_blueprint(frame)
    app.add_url_rule("/p/<name>/", "person", lambda name: name)
    with app.test_request_context("/"):
        app.preprocess_request()
        return render_template("people.html", cards=[card], navigation=[], trend=value_words.trend)


# --- whose [web] counts -------------------------------------------------------------------------------------------------


def people(engines: dict[str, FakeEngine], folder: Path) -> Any:
    files = [folder / f"{name}.toml" for name in engines]
    return people_of(FakeEngine(Path("x"), others=dict(zip(files, engines.values(), strict=True))), files)


def test_the_first_secret_counts_for_everybody(engines: dict[str, FakeEngine], tmp_path: Path) -> None:
    engines["ben"].web = WebOptions(secret=Secret("s"), port=1)
    engines["cleo"].web = WebOptions(secret=Secret("t"), port=2)
    found = settings_of(people(engines, tmp_path))
    assert (found.options.port, found.data_dir) == (1, engines["ben"].folder)
    engines["ben"].broken = TconnectsyncError("x")
    assert settings_of(people(engines, tmp_path)).options.port == 2
    engines["cleo"].broken = TconnectsyncError("x")
    assert settings_of(people(engines, tmp_path)).data_dir == engines["anna"].folder


@pytest.mark.parametrize(
    "text", ["[web]\nsecret_file = 'x'\n[broken", "[ web ]\nport = 1\nsecret='x'", "web.secret = 'x'", "web = { secret = 'x' }"]
)  # fmt: skip
def test_broken_file_with_secret(engines: dict[str, FakeEngine], tmp_path: Path, text: str) -> None:
    """The page is not open because of it."""
    engines["anna"].broken = TconnectsyncError("x")
    (tmp_path / "anna.toml").write_text(text)
    with pytest.raises(NotSetUp, match=r"anna\.toml"):
        settings_of(people(engines, tmp_path))
    engines["ben"].web = WebOptions(secret=Secret("s"))
    assert settings_of(people(engines, tmp_path)).options.secret is not None


def test_the_page_is_not_open_because_its_table_is_broken(engines: dict[str, FakeEngine], tmp_path: Path) -> None:
    """A table that cannot be used may have had the only secret. Another person's secret protects the page too."""
    engines["ben"].web = None
    with pytest.raises(NotSetUp, match="web is wrong") as caught:
        settings_of(people(engines, tmp_path))
    assert caught.value.exit_code == 2
    engines["cleo"].web = WebOptions(secret=Secret("s"), port=3)
    assert settings_of(people(engines, tmp_path)).options.port == 3


@pytest.mark.parametrize(
    "text", ["", "[web]\nport = 1\n# secret = 'x'\n", "[nightscout]\napi_secret = 'x'\n[web]\nport=2\n", "\0"]
)
def test_a_file_without_a_secret_of_the_page(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.toml").write_text(text)
    assert not may_have_secret(tmp_path / "a.toml")
    assert not may_have_secret(tmp_path / "missing.toml")
    assert may_have_secret(tmp_path), "a folder cannot be read: nobody knows"


def test_if_all_are_broken_the_error_is_the_first_ones(engines: dict[str, FakeEngine], tmp_path: Path) -> None:
    for name, engine in engines.items():
        engine.broken = TconnectsyncError(name)
    with pytest.raises(TconnectsyncError, match="anna"):
        settings_of(people(engines, tmp_path))


# --- the real command -----------------------------------------------------------------------------------------------------


def test_two_people_and_a_broken_file_as_a_process(tmp_path: Path) -> None:
    """It serves both, sends news, and ends without waiting for an open page."""
    said: list[str] = []
    with TandemCloud([recent_pump(1)], ShiftedClock()) as cloud, ExitStack() as open_pages:
        homes = [
            Installation(tmp_path / name, cloud, "http://127.0.0.1:1/", "unused", ZONE, history_days=1)
            for name in ("anna", "ben")
        ]
        (tmp_path / "broken").mkdir()
        (tmp_path / "broken" / "config.toml").write_text("timezone = 3\n")
        files = [str(tmp_path / name / "config.toml") for name in ("anna", "broken", "ben")]
        command = [*homes[0].program, "web", "--port", "0", *(word for file in files for word in ("--config", file))]
        with listening(command, homes[0].environment, said) as url:
            cards = ask(url, "/")
            assert set(cards) == {"anna", "broken", "ben"}
            assert cards["broken"] == {"problem": True}
            assert cards["anna"]["sinks"]["nightscout-treatments"]["state"] == "waiting"
            assert ask(url, "/", {**HTML, "Host": "evil.example"}, status=421)
            line = open_pages.enter_context(closing(connection(url)))
            line.request("GET", "/p/ben/live")
            stream = open_pages.enter_context(closing(line.getresponse()))
            assert stream.readline().startswith(b"retry:")
            assert ask(url, "/p/ben/run", status=202)
            while not (told := stream.readline()).startswith(b"data:"):
                assert told, "the stream ended"
            assert (tmp_path / "ben" / "data" / "log").is_dir()
            assert not (tmp_path / "anna" / "data" / "log").exists()
    assert "thread" not in said[0], "the server waited for threads in vain"


def connection(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(url.removeprefix("http://"), timeout=120)


def ask(url: str, path: str, headers: Mapping[str, str] | None = None, status: int = 200) -> Any:
    with closing(connection(url)) as line:
        line.request("GET", path, headers=dict(headers or {}))
        answer = line.getresponse()
        assert answer.status == status
        return json.loads(answer.read())
