"""Every page in a real browser: phone and desktop, both themes, both units, without data, with old data, with broken parts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs
import pytest

from tconnectsync import Bolus, GlucosePoint, LogCorrupt, Therapy
from tests.support.chromium import browser
from tests.web.browser_worlds import DAY, Closed, Worlds, serve_closed, serve_worlds
from tests.web.fake_reader import FakeReader, at

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["browser"]
pytest.importorskip("playwright", reason="playwright is not installed: pip install '.[test]'")
SCREENSHOTS = Path(__file__).resolve().parents[2] / ".cache" / "screenshots"
LONGEST_MS = 60_000
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    """All installations, served once."""
    with serve_worlds(tmp_path_factory.mktemp("worlds")) as served:
        yield served


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    """A page with a secret, below a path."""
    with serve_closed(tmp_path_factory.mktemp("closed")) as served:
        yield served


@attrs.define
class Visit:
    """An open page, and what went wrong in it."""

    page: Page
    worlds: Worlds
    problems: list[str] = attrs.field(factory=list)

    def open(self, path: str) -> None:
        """Go to a page; the browser must report no problem."""
        answer = self.page.goto(self.worlds.url + path)
        assert answer is not None
        assert "default-src 'none'" in (answer.header_value("content-security-policy") or "")

    def look(self, name: str) -> None:
        """Take a picture, and check what every page promises: nothing from elsewhere, nothing too wide, accessible."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
        too_wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert self.page.evaluate(too_wide) == 0
        assert self.problems == []
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page, options={"runOnly": RULES, "resultTypes": ["violations"]})
        assert found.violations_count == 0, found.generate_report()

    def text(self, selector: str) -> str:
        """The words of an element, with single blanks."""
        return re.sub(r"\s+", " ", self.page.locator(selector).first.inner_text())


@pytest.fixture
def visit(browser: Browser, worlds: Worlds, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A new page; ``@pytest.mark.parametrize("visit", [...], indirect=True)`` gives the context's options."""
    options: dict[str, Any] = {"viewport": DESKTOP, "color_scheme": "light", "locale": "en-US"}
    context = browser.new_context(**{**options, **getattr(request, "param", {})})
    context.set_default_timeout(LONGEST_MS)
    page = context.new_page()
    found = Visit(page, worlds)
    page.on("console", lambda message: found.problems.append(message.text))
    page.on("pageerror", lambda error: found.problems.append(str(error)))
    page.on(
        "request",
        lambda asked: None if urlsplit(asked.url).hostname == "127.0.0.1" else found.problems.append(asked.url),
    )
    yield found
    context.close()


DARK_PHONE = {"viewport": PHONE, "color_scheme": "dark"}
LIGHT_PHONE = {**DARK_PHONE, "color_scheme": "light"}
DARK_DESKTOP = {"viewport": DESKTOP, "color_scheme": "dark"}
LIGHT_DESKTOP = {"viewport": DESKTOP, "color_scheme": "light"}
PAGES = {
    "overview": "good/?hours=12",
    "day": f"good/days/{DAY}",
    "report": "good/report?days=14",
    "log": "good/log",
    "problems": "broken/problems",
}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("visit", [DARK_PHONE, LIGHT_DESKTOP], indirect=True, ids=["phone-dark", "desktop-light"])
def test_every_page(visit: Visit, name: str, request: pytest.FixtureRequest) -> None:
    """Each page on a dark phone and a light desktop: one chart is seen, with boluses, carbs and basal."""
    visit.open(PAGES[name])
    if name in ("overview", "day"):
        shown = visit.page.locator("svg.chart:visible")
        assert shown.count() == 1
        assert shown.locator(".dose.bolus").count() > 0
        assert shown.locator(".dose.carbs").count() > 0
        assert shown.locator(".basal .area").count() == 1
        assert shown.locator(".dots").count() > 0
    elif name == "report":
        assert visit.page.locator("svg.chart:visible").count() == 2
    visit.look(f"{name}-{request.node.callspec.id.removesuffix(name)}".rstrip("-"))


@pytest.mark.parametrize("visit", [{**DARK_DESKTOP, "locale": "de-DE"}], indirect=True)
def test_mmol_in_german(visit: Visit) -> None:
    """Units, decimal comma and language are those of the wearer and the browser."""
    visit.open("mmol/")
    words = visit.text("main")
    assert "mmol/L" in words
    assert "Glukose" in words
    assert re.search(r"\d,\d", visit.text(".huge"))
    assert visit.page.locator("html").get_attribute("lang") == "de-DE"
    visit.look("overview-mmol-german")
    visit.page.get_by_role("link", name="English").click()
    visit.page.get_by_role("link", name="Days").click()
    assert "lang=en" in visit.page.url, "the chosen language stays"


@pytest.mark.parametrize("visit", [LIGHT_PHONE], indirect=True)
def test_what_a_parent_asks_at_night(visit: Visit) -> None:
    """The glucose and its age, the last bolus, and whether anything is wrong, in words."""
    visit.open("good/")
    assert re.fullmatch(r"\d+ ?.? ?mg/dL", visit.text(".huge"))
    assert re.search(r"\d+ min ago|just now", visit.text(".glucose-now .age"))
    assert "All data is arriving" in visit.text(".state")
    assert re.search(r"Now: 9:40.PM \(New York\)", visit.text(".glucose-now"))
    last = visit.page.locator(".value", has_text="Last bolus").inner_text()
    assert re.search(r"[\d.]+ U", last)
    assert re.search(r"\d+:\d\d.[AP]M, .*ago", last)


LONG_ROWS = Therapy(
    until=at(5),
    boluses=[
        Bolus(bolus_id=1, started_at=at(211), immediate_u=0.37, ended_at=at(210), automatic=True, status="completed"),
        Bolus(
            bolus_id=2, started_at=at(60), immediate_u=1.5, extended_u=0.5, extended=True, extended_from=at(60),
            extended_until=at(30), carbs_g=45.0, requested_u=4.0,
        ),
        Bolus(bolus_id=3, started_at=at(6), requested_u=14.12, carbs_g=133.0),
    ],
)  # fmt: skip


@pytest.mark.parametrize(
    "visit",
    [
        {"viewport": {"width": width, "height": 800}, "locale": locale}
        for width in (320, 360, 375, 1280) for locale in ("en-US", "de-DE")
    ],
    indirect=True, ids=lambda options: f"{options['viewport']['width']}-{options['locale'][:2]}",
)  # fmt: skip
def test_the_carbs_of_a_bolus_are_in_view(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a long note nor a narrow phone pushes carbs and kind out of the table, or a page out of the navigation."""
    monkeypatch.setattr(visit.worlds.live, "whole", LONG_ROWS)
    visit.open("live/")
    for selector in (".scroll:has(> .boluses)", ".top nav"):
        hidden = visit.page.locator(selector).evaluate("each => each.scrollWidth - each.clientWidth")
        assert hidden <= 0, selector
    last = visit.page.locator(".top li a").last.bounding_box()
    viewport = visit.page.viewport_size
    assert last is not None
    assert viewport is not None
    assert last["x"] + last["width"] <= viewport["width"]
    visit.look(f"overview-open-bolus-{viewport['width']}")


@pytest.mark.parametrize("visit", [LIGHT_PHONE], indirect=True)
def test_old_data_are_grey_and_say_their_age(visit: Visit) -> None:
    """Nobody takes a reading of five hours ago for the present glucose."""
    visit.open("stale/")
    assert re.search(r"5 h \d+ min ago \(9:\d\d.PM\)", visit.text(".glucose-now.stale .age"))
    assert "do not rely on it" in visit.text(".glucose-now")
    assert visit.page.locator(".arrow").count() == 0
    struck = visit.page.locator(".value", has_text="Insulin on board").locator(".number")
    assert "line-through" in struck.evaluate("each => getComputedStyle(each).textDecorationLine")
    assert visit.page.locator(".value.stale", has_text="Last known bolus").count() == 1
    assert "no data yet" in (visit.page.locator("svg.chart:visible").text_content() or "")
    for title in ("Reservoir", "Battery", "Mode", "Infusion set age", "Sensor age"):
        assert "as of 9:" in visit.text(f".value.stale:has-text('{title}')"), title
    state = visit.text(".state")
    for words in (
        "phone has uploaded nothing new",
        "Since 9:",
        "without the phone",
        "until morning",
        "t:connect",
    ):
        assert words in state, words
    levels = [visit.text(f".chain li >> nth={number} >> .level") for number in range(3)]
    assert levels == ["not known", "needs you", "works"]
    visit.look("overview-stale-phone")
    visit.open(f"stale/days/{DAY}")
    assert "not complete" in visit.text(".hint")
    visit.look("day-stale-phone")


@pytest.mark.parametrize("visit", [DARK_DESKTOP], indirect=True)
def test_broken_parts_say_what_to_do(visit: Visit) -> None:
    """The worst comes first, with its beginning and the next thing to do."""
    visit.open("broken/")
    problems = visit.page.locator(".state .problem").all_text_contents()
    assert "Tandem refuses the login" in problems[0]
    assert re.search(r"Since 9:\d\d.PM \(41 min\)", problems[0])
    assert problems[0].index("Sign in at Tandem with your browser") < problems[0].index("tconnectsync check")
    assert "For the computer that runs tconnectsync" in problems[0]
    assert len(problems) == 2
    assert "does not reach Nightscout" in problems[1]
    for words in ("Tandem refuses the user name", "Sign in at Tandem"):
        assert visit.text("body").count(words) == 1, words
    assert visit.page.locator(".glucose-now.stale").count() == 1
    visit.look("overview-broken-desktop")


@pytest.mark.parametrize("visit", [{**DARK_PHONE, "locale": "de-DE"}], indirect=True)
def test_the_last_value_before_a_fault_is_not_calm(visit: Visit) -> None:
    """The login failed four minutes ago: the value is still good, and the page says that nothing newer may come."""
    visit.open("justbroken/")
    assert "keine neueren Werte" in visit.text(".glucose-now.last")
    huge = visit.page.locator(".huge").evaluate("each => getComputedStyle(each).color")
    assert huge == visit.page.locator("body").evaluate("each => getComputedStyle(each).color")
    visit.look("overview-just-broken-german")


@pytest.mark.parametrize("visit", [DARK_PHONE], indirect=True)
def test_no_data_at_all(visit: Visit) -> None:
    """An empty log has clear words on every page."""
    for path, words in (
        ("empty/", "no data yet"),
        ("empty/days", "no data"),
        ("empty/report", "no data"),
        ("empty/log", "no events"),
    ):
        visit.open(path)
        assert words in visit.text("main")
    visit.open("empty/")
    visit.look("overview-empty-phone")


def test_a_corrupt_log_says_what_to_do(visit: Visit) -> None:
    """A page that cannot be shown names the command; the other pages work."""
    visit.open("corrupt/report")
    assert "tconnectsync log check" in visit.text(".problem.bad")
    visit.problems.clear()  # the browser mentions the status 503
    visit.look("report-corrupt")
    visit.open("corrupt/")
    assert visit.page.locator(".chain li").count() > 3


@pytest.mark.parametrize("visit", [{"java_script_enabled": False}], indirect=True)
def test_without_javascript(visit: Visit) -> None:
    """Numbers, chart, links and the sync button need no script."""
    visit.open("good/")
    visit.page.get_by_role("link", name="24 h").click()
    assert visit.page.locator("svg.chart:visible .dose.bolus").count() > 0
    visit.page.get_by_role("button", name="Sync now").click()
    assert visit.page.url.startswith(f"{visit.worlds.url}good/")
    assert visit.worlds.syncs
    visit.page.get_by_role("link", name="Days").click()
    visit.page.locator("a[rel=prev]").click()
    assert visit.page.url.endswith("2026-06-16")


def test_a_sync_that_another_site_asks_for_is_refused(visit: Visit) -> None:
    """Without the token of the page nothing starts."""
    before = len(visit.worlds.syncs)
    answer = visit.page.request.post(f"{visit.worlds.url}good/sync", form={"token": "wrong"})
    assert answer.status == 403
    assert len(visit.worlds.syncs) == before


def test_new_data_appear_without_a_reload(visit: Visit) -> None:
    """A server-sent event changes the numbers; an open table stays open."""
    live = visit.worlds.live
    live.whole = Therapy(glucose=[GlucosePoint(at=at(6), glucose_mg_dl=118.0)], until=at(6))
    visit.open("live/")
    visit.page.get_by_text("This chart as tables").click()
    visit.page.evaluate("window.stays = true")
    live.whole = Therapy(glucose=[GlucosePoint(at=at(1), glucose_mg_dl=133.0)], until=at(1))
    visit.worlds.news()
    visit.page.locator(".huge", has_text="133").wait_for()
    assert visit.page.evaluate("window.stays") is True
    assert visit.page.locator("details[open]").count() == 1


def test_a_table_stays_where_the_reader_is(visit: Visit) -> None:
    """New data leave a scrolled table and the keyboard's place in it as they are; without new data nothing is replaced."""
    live = visit.worlds.live
    past = [GlucosePoint(at=at(5 * number), glucose_mg_dl=100.0 + number) for number in range(60, 0, -1)]
    live.whole = Therapy(glucose=past, until=at(5))
    visit.open("live/")
    visit.page.get_by_text("This chart as tables").click()
    table = visit.page.get_by_role("region", name="Glucose", exact=True).last
    table.evaluate("table => { table.scrollTop = 300; table.focus(); window.table = table; }")
    visit.page.evaluate("refresh()")
    assert table.evaluate("table => table === window.table")
    live.whole = Therapy(glucose=[*past, GlucosePoint(at=at(1), glucose_mg_dl=147.0)], until=at(1))
    visit.worlds.news()
    visit.page.locator(".huge", has_text="147").wait_for()
    assert table.evaluate("table => [table.scrollTop, table === document.activeElement]") == [300, True]


def test_what_is_wrong_appears_without_a_reload(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that cannot be shown any more says why; the server was reached, so it does not speak of the connection."""
    visit.page.clock.install()
    visit.open("live/")

    def corrupt(*_: object) -> None:
        raise LogCorrupt("line 17 is corrupt", path=Path("3.jsonl"), line=17, remedy="Run `tconnectsync log check`.")

    monkeypatch.setattr(FakeReader, "therapy", corrupt)
    visit.page.evaluate("refresh()")
    visit.page.get_by_role("heading", name="This cannot be shown now").wait_for()
    for _ in range(4):
        visit.page.clock.run_for("01:00")
        visit.page.evaluate("refresh()")
    assert not visit.page.locator("#unconnected").is_visible()


SHOW_TAB = """state => {
    Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_many_tabs(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A browser opens six connections to one server: tabs that nobody sees leave them free, and catch up when shown."""
    tabs = [visit.page.context.new_page() for _ in range(7)]
    for tab in tabs:
        tab.goto(f"{visit.worlds.url}live/", wait_until="domcontentloaded", timeout=15_000)
        tab.evaluate(SHOW_TAB, "hidden")
    monkeypatch.setattr(
        visit.worlds.live, "whole", Therapy(glucose=[GlucosePoint(at=at(1), glucose_mg_dl=141.0)], until=at(1))
    )
    visit.worlds.news()
    tabs[0].evaluate(SHOW_TAB, "visible")
    tabs[0].locator(".huge", has_text="141").wait_for(timeout=15_000)


def test_a_page_that_lost_its_server_says_so(visit: Visit) -> None:
    """It must not look as if its values were current; when the server is back, it continues."""
    visit.page.clock.install()
    visit.open("live/")
    notice = visit.page.locator("#unconnected")
    assert not notice.is_visible()
    visit.page.route("**/live/", lambda route: route.abort())
    visit.page.clock.fast_forward("04:00")
    notice.wait_for(state="visible")
    visit.page.unroute("**/live/")
    visit.page.clock.fast_forward("02:00")
    notice.wait_for(state="hidden")


ANSWERS_WITHOUT_VALUES = {
    "breaks off": "fetch = async () => new Response(new ReadableStream({ pull: (body) => body.error(new Error()) }))",
    "page of the network": "fetch = async () => new Response('<p>Accept our terms first.</p>')",
    "clock set back": "{ const now = Date.now; Date.now = () => now() - 3600000; fetch = () => Promise.reject(); }",
}


@pytest.mark.parametrize("answer", ANSWERS_WITHOUT_VALUES)
def test_no_new_values_is_said(visit: Visit, answer: str) -> None:
    """An answer counts once its values are shown: not one that breaks off, and not the sign-in page of a hotel's network."""
    visit.page.clock.install()
    visit.open("live/")
    visit.page.evaluate(f"() => {{ {ANSWERS_WITHOUT_VALUES[answer]} }}")
    for _ in range(3):
        visit.page.clock.fast_forward("01:10")
        visit.page.wait_for_timeout(100)
    visit.page.locator("#unconnected").wait_for(state="visible", timeout=5_000)


def test_the_secret_opens_the_page_that_was_wanted(visit: Visit, closed: Closed) -> None:
    """A wrong one is explained; signing out closes it again."""
    page = visit.page
    page.goto(f"{closed.url}problems")
    page.get_by_label("The secret of this page").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    assert "not right" in visit.text("[role=alert]")
    page.wait_for_load_state()
    visit.problems.clear()  # the browser notes that it was refused
    visit.look("sign-in")
    page.get_by_label("The secret of this page").fill(closed.secret)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("heading", name="Problems", exact=True).wait_for()
    assert page.url == f"{closed.url}problems"
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("The secret of this page").wait_for()


def test_a_view_link_shows_until_it_is_revoked(visit: Visit, closed: Closed) -> None:
    """Its token is in no request's address; a page that is open asks for the secret when the link ends."""
    page, token, asked = visit.page, closed.access.view_link.create(), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{closed.url}view#{token}")
    page.get_by_role("heading", name="Path of the data").wait_for()
    assert page.url == closed.url
    assert page.get_by_role("button", name="Sync now").count() == 0
    assert not any(token in url for url in asked)
    closed.access.view_link.revoke()
    page.evaluate("void refresh()")  # not waited for: the page that would answer is replaced
    page.get_by_label("The secret of this page").wait_for()


def test_the_reading_under_the_pointer(visit: Visit) -> None:
    """Time and value of the nearest reading are shown while the pointer is over the chart."""
    visit.open("good/")
    chart = visit.page.locator("svg.chart:visible")
    chart.hover()
    assert re.search(r"\d+:\d\d.* · \d+ mg/dL", chart.locator(".cursor-label").text_content() or "")
    visit.page.mouse.move(0, 0)
    assert chart.locator(".cursor-label").count() == 0


def test_the_keyboard_reaches_everything(visit: Visit) -> None:
    """The first stop skips the menu; links, choices and buttons follow."""
    visit.open("good/")
    names = []
    for _ in range(24):
        visit.page.keyboard.press("Tab")
        names.append(str(visit.page.evaluate("document.activeElement.innerText")).strip())
    assert names[0] == "Skip to the content"
    assert {"Overview", "Days", "Report", "24 h", "This chart as tables", "Sync now"} <= set(names)
