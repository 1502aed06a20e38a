"""Who may see and do what: secret, cookie, view link, and other web sites in the same browser."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any

import attrs
import pytest
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import Client, TestResponse

from tconnectsync_web.access.admission import Access, open_access
from tconnectsync_web.access.loopback import host_is_loopback, is_loopback
from tconnectsync_web.access.path_prefix import PathPrefix, clean_prefix
from tconnectsync_web.access.private_files import read_or_create, read_private
from tconnectsync_web.access.sessions import Role, Sessions
from tconnectsync_web.routes import web_app
from tconnectsync_web.secret_gate import SecretGate
from tconnectsync_web.sync_cycles import Cycles, Outcome

SECRET = "marked-secret-ü-31"
HTML = {"Accept": "text/html"}
OWN = {**HTML, "Sec-Fetch-Site": "same-origin"}


@attrs.define
class ServedApplication:
    """One application, its data folder, and browsers to reach it with."""

    folder: Path
    secret: str | None = SECRET
    base_path: str = ""
    behind_router: bool = False
    host: str = "127.0.0.1:8080"
    https: bool = False
    now: float = 0.0
    synced: list[int] = attrs.field(factory=list)
    access: Access = attrs.field(init=False)
    app: Flask = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        access = open_access(self.folder, None if self.secret is None else self.secret.encode())
        if access.gate is not None and self.secret is not None:
            access = attrs.evolve(access, gate=SecretGate(self.secret.encode(), lambda: self.now))
        self.access = access
        self.app = web_app(
            access=access, cycles=Cycles(self.cycle), read_status=lambda: {"version": "4"}, read_findings=list,
        )  # fmt: skip
        self.app.add_url_rule("/page", "shown", lambda: "<p>personal</p>")
        self.app.add_url_rule("/change", "change", self.change, methods=["POST"])

    def cycle(self) -> Outcome:
        return Outcome(status=0)

    def change(self) -> str:
        self.synced.append(1)
        return "changed"

    def browser(self) -> Client:
        """A browser with its own cookies."""
        site: Any = PathPrefix(app=self.app, base_path=self.base_path, trusts_proxy=self.behind_router)
        return Client(
            ProxyFix(site, x_for=1, x_proto=1, x_host=1) if self.behind_router else site, self.app.response_class
        )

    def ask(self, browser: Client, method: str, path: str, headers: dict[str, str], **more: Any) -> TestResponse:
        base = f"{'https' if self.https else 'http'}://{self.host}"
        return browser.open(path, method=method, headers=headers, base_url=base, **more)

    def get(self, browser: Client, path: str, headers: dict[str, str] = HTML) -> TestResponse:
        return self.ask(browser, "GET", path, headers)

    def post(self, browser: Client, path: str, headers: dict[str, str] = OWN, **form: str) -> TestResponse:
        return self.ask(browser, "POST", path, headers, data=form)

    def cookie(self, browser: Client) -> str:
        found = browser.get_cookie(self.access.sessions.cookie, domain="127.0.0.1")
        assert found is not None
        return found.value

    def with_cookie(self, value: str) -> Client:
        browser = self.browser()
        browser.set_cookie(self.access.sessions.cookie, value, domain="127.0.0.1")
        return browser

    def signed_in(self) -> Client:
        browser = self.browser()
        assert self.post(browser, f"{self.base_path}/sign-in", secret=SECRET).status_code == 303
        return browser


@pytest.fixture
def pages(tmp_path: Path) -> ServedApplication:
    """An application with a secret."""
    return ServedApplication(tmp_path / "data")


@pytest.fixture
def open_pages(tmp_path: Path) -> ServedApplication:
    """An application without a secret, on loopback."""
    return ServedApplication(tmp_path / "data", secret=None)


# --- the form and its cookie --------------------------------------------------------------------------------------------


def test_browser_without_cookie(pages: ServedApplication) -> None:
    """It gets the form and nothing else."""
    answer = pages.get(pages.browser(), "/page")
    assert answer.status_code == 401
    assert "personal" not in answer.text
    assert 'type="password"' in answer.text
    assert pages.get(pages.browser(), "/page/static/../page").status_code in (401, 404)


def test_form_signs_in(pages: ServedApplication) -> None:
    """It leads to the page that was requested."""
    browser = pages.browser()
    form = pages.get(browser, "/page?days=3").text
    target = re.search(r'name="target" value="([^"]*)"', form)
    assert target is not None
    answer = pages.post(browser, "/sign-in", secret=f" {SECRET} ", target=target[1])
    assert (answer.status_code, answer.headers["Location"]) == (303, "/page?days=3")
    assert pages.get(browser, "/page").text == "<p>personal</p>"


@pytest.mark.parametrize("https", [False, True])
def test_the_cookie_is_strict_and_hidden_from_scripts(pages: ServedApplication, https: bool) -> None:
    pages.https = https
    cookie = pages.post(pages.browser(), "/sign-in", secret=SECRET).headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert ("Secure" in cookie.split("; ")) is https
    assert SECRET not in cookie


def test_cookie_after_restart(pages: ServedApplication) -> None:
    """It survives, and ends with another secret."""
    cookie = pages.cookie(pages.signed_in())
    pages.restart()
    assert pages.get(pages.with_cookie(cookie), "/page").status_code == 200
    pages.secret = "another secret"
    pages.restart()
    assert pages.get(pages.with_cookie(cookie), "/page").status_code == 401


def test_the_key_of_cookies_is_private(pages: ServedApplication) -> None:
    path = pages.folder / "web" / "cookie.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (path.parent, pages.folder):
        assert stat.S_IMODE(folder.stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize("broken", ["", "x", "a.b.c", "W10.aaa.bbb", "ü", "." * 600, "[1].2.3", "null"])
def test_a_wrong_cookie_admits_nobody(pages: ServedApplication, broken: str) -> None:
    assert pages.get(pages.with_cookie(broken), "/page").status_code == 401


def test_a_cookie_with_another_key_or_role_admits_nobody() -> None:
    sessions = Sessions(b"key", b"secret")
    assert sessions.role_of(sessions.issue(Role.OWNER), None) is Role.OWNER
    assert sessions.role_of(Sessions(b"yek", b"secret").issue(Role.OWNER), None) is Role.NOBODY
    assert sessions.role_of(Sessions(b"key", b"terces").issue(Role.OWNER), None) is Role.NOBODY
    assert sessions.role_of(sessions._signer.dumps(["root", ""]), None) is Role.NOBODY
    assert sessions.role_of(sessions._signer.dumps("owner"), None) is Role.NOBODY
    assert sessions.role_of(sessions._signer.dumps([["owner"], 1]), None) is Role.NOBODY


def test_after_signing_out_the_cookie_is_gone(pages: ServedApplication) -> None:
    browser = pages.signed_in()
    assert pages.post(browser, "/sign-out").status_code == 303
    assert pages.get(browser, "/page").status_code == 401


def test_ten_thousand_wrong_secrets(pages: ServedApplication) -> None:
    """Only the sender of wrong secrets is shut out."""
    browser = pages.browser()
    statuses = [pages.post(browser, "/sign-in", secret=str(n)).status_code for n in range(20)]
    assert statuses == [403] * 4 + [429] * 16
    gate = pages.access.gate
    assert gate is not None
    for number in range(10_000):
        gate.admits(b"wrong", f"198.51.{number % 20}.{number % 250}")
    assert "try" in pages.post(browser, "/sign-in", secret=SECRET).text
    other = pages.browser()
    answer = pages.ask(
        other, "POST", "/sign-in", OWN, data={"secret": SECRET}, environ_base={"REMOTE_ADDR": "203.0.113.9"}
    )
    assert answer.status_code == 303


@pytest.mark.parametrize(
    "target", ["//evil.example", "/\\evil.example", "https://evil.example", "evil", "/a\r\nSet-Cookie: x", "", "/" * 9, "/\t/evil"]
)  # fmt: skip
def test_the_form_never_leads_to_another_site(pages: ServedApplication, target: str) -> None:
    answer = pages.post(pages.browser(), "/sign-in", secret=SECRET, target=target)
    assert answer.headers["Location"] == "/"


def test_pages_take_no_secret_from_the_address(pages: ServedApplication) -> None:
    for path in ("/page", "/", "/sign-in"):
        answer = pages.get(pages.browser(), f"{path}?secret={SECRET}")
        assert "personal" not in answer.text
        assert "version" not in answer.text
    assert pages.get(pages.browser(), f"/?secret={SECRET}", {}).json == {
        "version": "4", "log_damaged": False, "sources": {}, "sinks": {}, "cycle_running": False, "last_cycle_status": None,
    }  # fmt: skip


def test_a_script_may_read_pages_with_the_header(pages: ServedApplication) -> None:
    bearer = {"Authorization": f"Bearer {SECRET}".encode().decode("latin-1")}
    assert pages.get(pages.browser(), "/page", bearer).status_code == 200
    assert pages.get(pages.browser(), "/page", {"Authorization": "Bearer no"}).status_code == 403


def test_addresses_of_scripts_take_no_cookie(pages: ServedApplication) -> None:
    """They answer GET and change something."""
    browser = pages.signed_in()
    for path in ("/run", "/update", "/check_login", "/metrics"):
        assert pages.get(browser, path).status_code == 401, path


# --- the view link ------------------------------------------------------------------------------------------------------


def viewer(pages: ServedApplication) -> Client:
    browser = pages.browser()
    assert pages.post(browser, "/view", token=pages.access.view_link.create()).status_code == 303
    return browser


def test_a_view_link_shows_pages_and_changes_nothing(pages: ServedApplication) -> None:
    browser = viewer(pages)
    assert pages.get(browser, "/page").status_code == 200
    assert pages.post(browser, "/change").status_code == 403
    assert pages.get(browser, "/run").status_code == 401
    assert pages.synced == []
    assert pages.post(pages.signed_in(), "/change").text == "changed"


def test_a_revoked_view_link_ends_at_once(pages: ServedApplication) -> None:
    browser = viewer(pages)
    old = pages.access.view_link.token()
    cookie = pages.cookie(browser)
    assert old is not None
    assert pages.access.still_admits(cookie)
    assert pages.access.view_link.revoke()
    assert not pages.access.view_link.revoke()
    assert not pages.access.still_admits(cookie)
    assert pages.get(browser, "/page").status_code == 401
    assert pages.post(pages.browser(), "/view", token=old).status_code == 403
    assert pages.access.view_link.create() != old
    assert pages.get(browser, "/page").status_code == 401, "the new link is another one"


def test_a_whole_link_may_be_pasted_into_the_form(pages: ServedApplication) -> None:
    link = f"http://127.0.0.1:8080/view#{pages.access.view_link.create()}"
    assert pages.post(pages.browser(), "/view", token=link).status_code == 303


def test_guessing_view_links(pages: ServedApplication) -> None:
    """It has a limit, and an empty link is wrong."""
    browser = pages.browser()
    assert [pages.post(browser, "/view", token="").status_code for _ in range(6)] == [403] * 4 + [429] * 2
    pages.now += 100
    pages.access.view_link.create()
    assert pages.post(browser, "/view", token="").status_code == 403


def test_the_token_is_never_in_a_page(pages: ServedApplication) -> None:
    token = pages.access.view_link.create()
    browser = viewer(pages)
    for path in ("/view", "/page", "/", "/nothing"):
        answer = pages.get(browser, path)
        assert token not in answer.text + str(answer.headers)


# --- other web sites in the same browser --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9090"}, {"Origin": "http://127.0.0.1:8080.evil.example"}, {"Origin": "file:///"}, {"Origin": "http://["},
        {},
    ],
)  # fmt: skip
def test_another_site_changes_nothing(
    pages: ServedApplication, open_pages: ServedApplication, headers: dict[str, str]
) -> None:
    browser = pages.signed_in()
    assert pages.post(browser, "/change", {**HTML, **headers}).status_code == 403
    assert open_pages.post(open_pages.browser(), "/change", {**HTML, **headers}).status_code == 403
    assert pages.synced + open_pages.synced == []


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://127.0.0.1:8080"}])
def test_our_own_page_changes_something(
    pages: ServedApplication, open_pages: ServedApplication, headers: dict[str, str]
) -> None:
    assert pages.post(pages.signed_in(), "/change", {**HTML, **headers}).status_code == 200
    assert open_pages.post(open_pages.browser(), "/change", {**HTML, **headers}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "192.168.1.5:8080", "[2001:db8::1]:8080", "0.0.0.0:8080"]
)  # fmt: skip
def test_a_name_that_points_to_loopback_reads_no_open_page(open_pages: ServedApplication, host: str) -> None:
    """A foreign site can make its own name point here (DNS rebinding)."""
    open_pages.host = host
    for path in ("/page", "/", "/run", "/metrics", "/check_login"):
        answer = open_pages.get(open_pages.browser(), path)
        assert answer.status_code == 421, path
        assert "personal" not in answer.text
    assert "secret_file" in answer.text
    assert open_pages.get(open_pages.browser(), "/healthz").status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8080", "localhost:8080", "LOCALHOST", "[::1]:8080", "[::1]"])
def test_this_computer_reads_its_open_page(open_pages: ServedApplication, host: str) -> None:
    open_pages.host = host
    assert open_pages.get(open_pages.browser(), "/page").status_code == 200
    assert open_pages.get(open_pages.browser(), "/check_login", {}).status_code == 200


def test_other_sites_and_an_open_page(open_pages: ServedApplication) -> None:
    """They can neither read it nor trigger anything."""
    embedded = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    for path in ("/run", "/update", "/check_login", "/page"):
        assert open_pages.get(open_pages.browser(), path, {**HTML, **embedded}).status_code == 403, path
    assert open_pages.get(open_pages.browser(), "/run", {**HTML, **link}).status_code == 403
    assert open_pages.get(open_pages.browser(), "/page", {**HTML, **link}).status_code == 200


def test_a_secret_that_a_proxy_adds_serves_no_other_site(pages: ServedApplication) -> None:
    added = {"Authorization": f"Bearer {SECRET}".encode().decode("latin-1")}
    foreign = {**HTML, **added, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert pages.get(pages.browser(), "/run", foreign).status_code == 403
    assert pages.post(pages.browser(), "/change", foreign).status_code == 403
    assert pages.synced == []
    assert pages.get(pages.browser(), "/page", {**HTML, **added}).status_code == 200
    assert pages.post(pages.browser(), "/change", added).status_code == 200
    assert pages.get(pages.browser(), "/run", added).status_code == 202


def test_a_link_from_elsewhere_finds_the_browser_signed_in(pages: ServedApplication) -> None:
    """A strict cookie is not sent with it: the page fetches itself once more."""
    link = {**HTML, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    first = pages.get(pages.browser(), "/page", link)
    assert (first.status_code, 'http-equiv="refresh"' in first.text) == (200, True)
    assert pages.get(pages.browser(), "/page", {**link, "Sec-Fetch-Site": "same-origin"}).status_code == 401


def test_no_page_may_be_framed_by_others_or_cached(pages: ServedApplication) -> None:
    for answer in (pages.get(pages.browser(), "/page"), pages.get(pages.signed_in(), "/page")):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert "frame-ancestors 'self'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_loopback(name: str) -> None:
    assert is_loopback(name)


@pytest.mark.parametrize(
    "name",
    ["", "192.168.0.1", "::", "127.0.0.1@evil", "localhost.evil", "127.1", "2130706433", "::ffff:8.8.8.8"],
)
def test_not_loopback(name: str) -> None:
    assert not is_loopback(name)
    assert not host_is_loopback(name)


# --- behind a reverse proxy ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["/glucose/page", "/page"])
def test_a_base_path_is_in_links_and_cookies(tmp_path: Path, asked: str) -> None:
    """Whether the proxy passes the prefix or not."""
    pages = ServedApplication(tmp_path, base_path="/glucose")
    browser = pages.browser()
    form = pages.get(browser, asked).text
    assert 'action="/glucose/sign-in"' in form
    assert 'value="/page"' in form
    assert 'href="/glucose/static/page.css"' in form
    answer = pages.post(browser, "/sign-in", secret=SECRET, target="/page")
    assert answer.headers["Location"] == "/glucose/page"
    assert "Path=/glucose/" in answer.headers["Set-Cookie"]
    assert pages.get(browser, "/glucose/page").text == "<p>personal</p>"


@pytest.mark.parametrize("name", ["X-Forwarded-Prefix", "X-Ingress-Path"])
def test_a_proxys_prefix_counts_behind_a_router_only(tmp_path: Path, name: str) -> None:
    headers = {**HTML, name: "/api/hassio_ingress/abc"}
    routed, direct = ServedApplication(tmp_path, behind_router=True), ServedApplication(tmp_path)
    assert 'action="/api/hassio_ingress/abc/sign-in"' in routed.get(routed.browser(), "/page", headers).text
    assert 'action="/sign-in"' in direct.get(direct.browser(), "/page", headers).text


@pytest.mark.parametrize(
    "given", ["//evil.example", "https://evil.example", "/a/../b", "/ü", "/a b", '/a"><script>', "/" + "a" * 300]
)
def test_a_strange_prefix_is_ignored(tmp_path: Path, given: str) -> None:
    pages = ServedApplication(tmp_path, behind_router=True)
    headers = {**HTML, "X-Forwarded-Prefix": given.encode().decode("latin-1")}
    assert 'action="/sign-in"' in pages.get(pages.browser(), "/page", headers).text
    assert clean_prefix(given) is None


def test_behind_tls_the_cookie_is_secure(tmp_path: Path) -> None:
    pages = ServedApplication(tmp_path, behind_router=True)
    tls = {
        **HTML,
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "glucose.example",
        "Origin": "https://glucose.example",
    }
    assert "Secure" in pages.post(pages.browser(), "/sign-in", tls, secret=SECRET).headers["Set-Cookie"]
    assert (
        pages.post(pages.browser(), "/sign-in", {**tls, "X-Forwarded-Host": "other.example"}, secret=SECRET).status_code
        == 403
    )


# --- bad input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/%00", "/%2e%2e/%2e%2e/etc/passwd", "/static/../../options.py", "/static/%2e%2e/options.py", "/ü", "/p/x/", "/" + "a/" * 3000]
)  # fmt: skip
def test_strange_paths_are_refused_or_not_found(pages: ServedApplication, path: str) -> None:
    for browser in (pages.browser(), pages.signed_in()):
        answer = pages.get(browser, path)
        assert answer.status_code in (401, 404), path
        assert "WebOptions" not in answer.text


@pytest.mark.parametrize(
    "form",
    [{}, {"secret": ""}, {"secret": "\0"}, {"secret": "\ud800".encode("utf-8", "replace").decode()}, {"other": SECRET}],
)
def test_a_form_without_the_secret_is_refused(pages: ServedApplication, form: dict[str, str]) -> None:
    assert pages.post(pages.browser(), "/sign-in", **form).status_code == 403


@pytest.mark.parametrize(
    "kind", ["application/json", "multipart/form-data", "multipart/form-data; boundary=x", "text/plain", ""]
)
def test_another_kind_of_body_is_refused(pages: ServedApplication, kind: str) -> None:
    answer = pages.ask(pages.browser(), "POST", "/sign-in", OWN, data=b"\xff{", content_type=kind)
    assert answer.status_code in (400, 403)


@pytest.mark.parametrize("host", ["..", "a..b", "a" * 300, "NaN.."])
def test_a_host_that_is_no_name_is_refused(pages: ServedApplication, open_pages: ServedApplication, host: str) -> None:
    """No link can be made for it."""
    for each in (pages, open_pages):
        answer = each.get(each.browser(), "/page", {**HTML, "Host": host})
        assert answer.status_code == 400
        assert "personal" not in answer.text


# --- the files ----------------------------------------------------------------------------------------------------------


def test_a_link_in_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("another file")
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="key"):
        read_private(tmp_path / "key")


def test_two_processes_agree_on_one_key(tmp_path: Path) -> None:
    path = tmp_path / "web" / "key"

    def slower() -> bytes:
        read_or_create(path, lambda: b"first")
        return b"second"

    assert read_or_create(path, slower) == b"first"
    assert [each.name for each in path.parent.iterdir()] == ["key"]


def test_cookies_without_data_folder(tmp_path: Path) -> None:
    """They last as long as the process."""
    (tmp_path / "data").write_text("a file where a folder is to be")
    pages = ServedApplication(tmp_path / "data")
    assert pages.get(pages.signed_in(), "/page").status_code == 200
