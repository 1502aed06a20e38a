"""The routes of the web application, over HTTP on loopback."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest
import requests

from tconnectsync import CheckResult
from tconnectsync_web.access.admission import Access
from tconnectsync_web.access.sessions import Sessions
from tconnectsync_web.access.view_link import ViewLink
from tconnectsync_web.http_server import LONGEST_BODY, THREADS, LimitedChannel, web_server
from tconnectsync_web.routes import MOST_AT_WORK, web_app
from tconnectsync_web.secret_gate import SecretGate, client_of
from tconnectsync_web.sync_cycles import Cycle, Cycles, Outcome, at_intervals
from tests.web.server_thread import running

SECRET = "a long secret ü"
BEARER = {"Authorization": b"Bearer " + SECRET.encode()}
STATUS = {
    "version": "4",
    "data_dir": "/home/somebody",
    "log": {"damaged": "segment of 1234567"},
    "sources": {
        "tandem": {"state": "ok", "since": None, "message": "pump 1234567 is silent", "remedy": "x", "pumps": {"1234567": {}}}
    },
    "sinks": {"nightscout-iob": {"state": "ok", "since": None, "message": "1.5 U", "pending": 2, "dead": 0}},
}  # fmt: skip


@attrs.define
class Served:
    url: str = ""
    now: float = 1000.0
    work: Callable[[], Outcome] = lambda: Outcome(status=0, lines=("done",))
    began: int = 0
    findings: tuple[CheckResult, ...] = (CheckResult(good=True, what="disk: fine"),)
    asked: threading.Semaphore = attrs.field(factory=lambda: threading.Semaphore(0))

    def get(self, path: str, headers: dict[str, bytes] | None = None) -> requests.Response:
        return requests.get(self.url + path, headers=headers, timeout=30)

    def cycle(self) -> Outcome:
        self.began += 1
        return self.work()


class CountedCycles(Cycles):
    def __init__(self, world: Served) -> None:
        super().__init__(world.cycle)
        self.world = world

    def start(self) -> tuple[Cycle, bool]:
        started = super().start()
        self.world.asked.release()
        return started


@pytest.fixture
def served() -> Iterator[Served]:
    """The web app, served."""
    with serving() as world:
        yield world


@pytest.fixture
def routed() -> Iterator[Served]:
    """As behind a host's router."""
    with serving(behind_router=True) as world:
        yield world


def access_of(world: Served) -> Access:
    return Access(
        gate=SecretGate(SECRET.encode(), lambda: world.now), sessions=Sessions(b"key", SECRET.encode()),
        view_link=ViewLink(Path("/nonexistent/view-link")),
    )  # fmt: skip


@contextlib.contextmanager
def serving(*, behind_router: bool = False) -> Iterator[Served]:
    world = Served()
    app = web_app(
        access=access_of(world), cycles=CountedCycles(world),
        read_status=lambda: STATUS, read_findings=lambda: world.findings,
    )  # fmt: skip
    server = web_server(app, host="127.0.0.1", port=0, behind_router=behind_router)
    with running(server) as port:
        world.url = f"http://127.0.0.1:{port}"
        yield world


def test_healthz_needs_no_secret_and_tells_nothing(served: Served) -> None:
    answer = served.get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")


@pytest.mark.parametrize("path", ["/", "/run", "/update", "/check_login", "/nothing-here", "/healthz/"])
def test_everything_else_needs_the_secret(served: Served, path: str) -> None:
    assert served.get(path).status_code == 401
    assert served.get(path, {"Authorization": b"Bearer wrong"}).status_code == 403
    assert served.began == 0


@pytest.mark.parametrize("header", [b"Bearer " + SECRET.encode(), b"bearer  " + SECRET.encode()])
def test_the_secret_comes_in_the_header_or_in_the_address(served: Served, header: bytes) -> None:
    assert served.get("/update", {"Authorization": header}).status_code == 200
    answer = requests.get(f"{served.url}/update", params={"secret": SECRET}, timeout=30)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert served.began == 2


def test_guessing_shuts_the_gate_for_longer_and_longer(served: Served) -> None:
    wrong = {"Authorization": b"wrong"}
    assert [served.get("/", wrong).status_code for _ in range(4)] == [403] * 4
    shut = served.get("/", BEARER)
    assert (shut.status_code, shut.headers["Retry-After"]) == (429, "2")
    served.now += 2
    assert served.get("/", wrong).status_code == 403
    assert served.get("/", wrong).headers["Retry-After"] == "4"
    assert served.get("/healthz").status_code == 200
    served.now += 4
    assert served.get("/", BEARER).status_code == 200
    assert served.get("/", wrong).status_code == 403
    assert served.get("/", BEARER).status_code == 200


def guesses(world: Served, many: int, forwarded: str) -> list[int]:
    headers = {"Authorization": b"wrong", "X-Forwarded-For": forwarded.encode()}
    return [world.get("/", headers).status_code for _ in range(many)]


def right(world: Served, forwarded: str) -> int:
    return world.get("/", {**BEARER, "X-Forwarded-For": forwarded.encode()}).status_code


def test_who_guesses_shuts_nobody_else_out(routed: Served) -> None:
    assert guesses(routed, 6, "203.0.113.7") == [403] * 4 + [429] * 2
    assert right(routed, "203.0.113.7") == 429
    assert right(routed, "198.51.100.2") == 200
    assert right(routed, "203.0.113.7") == 429, "another caller's secret frees no guesser"


def test_forged_forwarded_for(routed: Served) -> None:
    """A client that guesses secrets cannot hide behind an invented address before the router's."""
    for number in range(4):
        assert guesses(routed, 1, f"198.51.100.{number}, 203.0.113.7") == [403]
    assert guesses(routed, 1, "198.51.100.9, 203.0.113.7") == [429]
    assert right(routed, "203.0.113.7, 198.51.100.0") == 200


def test_without_a_router_the_header_says_nothing(served: Served) -> None:
    assert [guesses(served, 1, f"203.0.113.{number}")[0] for number in range(6)] == [403] * 4 + [429] * 2


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1%eth0", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:51234", "203.0.113.7"),
        ("[2001:db8:1:2::1]", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::1]:51234", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::1%eth0]:51234", "2001:db8:1:2::/64"),
        ("[::ffff:203.0.113.7]:51234", "203.0.113.7"),
        ("unknown:51234", "unknown"),
        ("unknown", "unknown"),
        ("", ""),
    ],
)
def test_the_addresses_of_one_line_are_one_client(address: str, client: str) -> None:
    assert client_of(address) == client


def test_the_wait_has_an_end() -> None:
    now = [0.0]
    gate = SecretGate(b"x", lambda: now[0])
    for _ in range(50):
        gate.admits(b"y", "a")
        now[0] += gate.wait_s("a")
    gate.admits(b"y", "a")
    assert gate.wait_s("a") == 60
    assert not gate.admits(b"x", "a")
    assert gate.admits(b"x", "b")


def test_the_view_link_does_not_help_to_guess_the_secret() -> None:
    """The right link in between does not end a row of wrong secrets; the right secret does."""
    gate = SecretGate(b"x", lambda: 0.0)
    for right, waits in (((b"link",), True), (gate.secrets, False)):
        client = str(waits)
        for _ in range(4):
            gate.admits(b"y", client)
            gate.admits_either(right, right[0], client)
        assert bool(gate.wait_s(client)) is waits


def test_too_many_clients() -> None:
    """The one that failed longest ago is forgotten."""
    gate = SecretGate(b"x", lambda: 0.0, most_clients=3)
    for client in ("a", "b", "c", "a", "a", "a"):
        gate.admits(b"y", client)
    gate.admits(b"y", "d")
    assert [client for client in "abcd" if not gate.admits(b"x", client)] == ["a"]
    assert gate.wait_s("a") == 2
    for client in ("b", "c", "d"):
        gate.admits(b"y", client)
    assert gate.wait_s("a") == 0, "three others failed since"


def test_the_status_tells_nothing_about_the_wearer(served: Served) -> None:
    answer = served.get("/", BEARER)
    assert answer.json()["sinks"] == {"nightscout-iob": {"state": "ok", "since": None, "pending": 2, "dead": 0}}
    assert answer.json()["log_damaged"] is True
    for personal in ("1234567", "1.5 U", "somebody"):
        assert personal not in answer.text


def test_an_update_that_fails_is_503_with_its_words(served: Served) -> None:
    served.work = lambda: Outcome(status=5, lines=("the site is away",))
    answer = served.get("/update", BEARER)
    assert answer.status_code == 503
    assert answer.json() == {"status": 5, "lines": ["the site is away"]}
    assert served.get("/", BEARER).json()["last_cycle_status"] == 5


def test_two_triggers_at_once_run_one_cycle(served: Served) -> None:
    go_on = threading.Event()
    served.work = lambda: Outcome(status=0 if go_on.wait(30) else 1)
    first = served.get("/run", BEARER)
    assert (first.status_code, first.json()) == (202, {"message": "started"})
    assert served.get("/run", BEARER).json() == {"message": "already running"}
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(served.get, "/update", BEARER) for _ in range(2)]
        assert served.get("/", BEARER).json()["cycle_running"] is True
        for _ in range(4):
            assert served.asked.acquire(timeout=30)
        go_on.set()
        assert [one.result().status_code for one in waiting] == [200, 200]
    assert served.began == 1


def test_check_login_answers_the_findings(served: Served) -> None:
    assert served.get("/check_login", BEARER).json()["good"] is True
    served.findings = (CheckResult(good=False, what="login refused", remedy="Correct it."),)
    answer = served.get("/check_login", BEARER)
    assert answer.status_code == 503
    assert answer.json()["findings"] == [{"good": False, "what": "login refused", "remedy": "Correct it."}]


def test_cycles_come_by_themselves_at_the_interval() -> None:
    waited: list[float] = []
    began: list[int] = []
    cycles = Cycles(lambda: began.append(1) or Outcome(status=0))  # type: ignore[func-returns-value]

    def pause(seconds: float) -> bool:
        waited.append(seconds)
        running = cycles.running
        if running is not None:
            running.wait(30)
        return len(waited) == 3

    at_intervals(cycles, 600.0, pause)
    assert waited == [600.0] * 3
    assert len(began) == 3


def test_a_cycle_that_breaks_lets_the_next_one_run() -> None:
    cycles = Cycles(lambda: Outcome(status=3))
    assert cycles.start()[0].wait(30) == Outcome(status=3)
    cycle, new = cycles.start()
    assert new
    assert cycle.wait(30) == Outcome(status=3)


# --- limits --------------------------------------------------------------------------------------------------------


def connected(served: Served, sent: bytes = b"") -> socket.socket:
    host, port = served.url.removeprefix("http://").split(":")
    line = socket.create_connection((host, int(port)), timeout=10)
    line.sendall(sent)
    return line


def end_of(line: socket.socket) -> bytes:
    """Read the rest, up to the end of the connection. Fails if it does not end."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while part := line.recv(1 << 16):
            got += part
    return got


POST = b"POST /run HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "


@pytest.mark.parametrize("length", [LONGEST_BODY + 1, 1 << 40])
def test_a_large_body_is_refused_before_it_is_read(served: Served, length: int) -> None:
    with connected(served, POST + SECRET.encode() + b"\r\nContent-Length: %d\r\n\r\n" % length) as line:
        assert end_of(line).startswith(b"HTTP/1.1 413 ")
    assert served.began == 0


def test_a_large_body_in_chunks_is_refused_too(served: Served) -> None:
    chunk = b"400\r\n" + b"x" * 0x400 + b"\r\n"
    head = POST + SECRET.encode() + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connected(served, head) as line:
        with contextlib.suppress(OSError):
            for _ in range(40):
                line.sendall(chunk)
        assert b"413" in end_of(line)[:20]
    assert served.began == 0


def test_a_body_of_4096_bytes_is_no_matter(served: Served) -> None:
    answer = requests.post(f"{served.url}/run", data=b"x" * LONGEST_BODY, headers=BEARER, timeout=30)
    assert answer.status_code == 202


@pytest.mark.parametrize(
    "sent", [b"", b"GET /heal", b"GET / HTTP/1.1\r\nHost: x\r\n", POST + b"x\r\nContent-Length: 9\r\n\r\n12"]
)
def test_half_a_request_is_dropped(served: Served, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LimitedChannel, "request_s", 0.1)
    with connected(served, sent) as line:
        assert end_of(line) == b""


def test_a_request_that_trickles_in_is_dropped(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LimitedChannel, "request_s", 0.3)
    began = time.monotonic()
    with connected(served) as line:
        line.settimeout(0.05)
        sent = 0
        while sent < 1200:  # a byte at a time, until it is cut
            sent += 1
            try:
                line.sendall(b"G")
                if line.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
    assert sent < 1200
    assert time.monotonic() - began >= LimitedChannel.request_s


def test_a_connection_may_stay_open_between_requests(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LimitedChannel, "request_s", 0.1)
    line = http.client.HTTPConnection(served.url.removeprefix("http://"), timeout=10)
    with contextlib.closing(line):
        for number in range(2):
            line.request("GET", "/healthz")
            with line.getresponse() as answer:
                assert answer.status == 200
                answer.read()
            if number == 0:
                first = line.sock
            threading.Event().wait(0.2)
        assert line.sock is first


def test_many_connections_without_a_request_keep_nobody_out(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LimitedChannel, "most_connections", 10)
    with contextlib.ExitStack() as lines:
        many = [lines.enter_context(connected(served, b"GET /")) for _ in range(40)]
        assert served.get("/healthz").status_code == 200
        assert end_of(many[0]) == b""


def test_healthz_while_others_wait(served: Served) -> None:
    """It is answered while others wait for a cycle."""
    gate = threading.Event()

    def work() -> Outcome:
        gate.wait(20)
        return Outcome(status=0)

    served.work = work
    assert MOST_AT_WORK < THREADS
    with ThreadPoolExecutor(THREADS * 2) as pool:
        asked = [pool.submit(served.get, "/update", BEARER) for _ in range(THREADS * 2)]
        for _ in range(MOST_AT_WORK):
            assert served.asked.acquire(timeout=20)
        try:
            assert served.get("/healthz").status_code == 200
            assert served.get("/run", BEARER).status_code == 202
            refused = served.get("/update", BEARER)
            assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
        finally:
            gate.set()
        statuses = [each.result(timeout=20).status_code for each in asked]
    assert statuses.count(200) == MOST_AT_WORK
    assert set(statuses) == {200, 503}
