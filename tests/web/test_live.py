"""Open pages get news, with a limited number of threads."""

from __future__ import annotations

import contextlib
import http.client
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tconnectsync_web.access.admission import open_access
from tconnectsync_web.http_server import web_server
from tconnectsync_web.live.recent_status import RecentStatus
from tconnectsync_web.live.stream import MOST_LISTENERS, POLL_MS, Live
from tconnectsync_web.live.versions import version_of
from tconnectsync_web.live.watch import ChangeWatch
from tconnectsync_web.routes import web_app
from tconnectsync_web.sync_cycles import Cycles, Outcome
from tests.web.server_thread import running

HTML = {"Accept": "text/html"}
PATIENCE_S = 60.0


@attrs.define
class WatchedServer:
    """A running server, and the data folder that it watches."""

    folder: Path
    port: int
    watch: ChangeWatch

    def write(self, text: str) -> None:
        """Append to the log as the daemon does."""
        with (self.folder / "log" / "0001.jsonl").open("a") as file:
            file.write(text)

    @contextlib.contextmanager
    def listener(
        self, path: str = "/live", headers: dict[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        with contextlib.closing(line):
            line.request("GET", path, headers=headers or {})
            with contextlib.closing(line.getresponse()) as answer:
                yield answer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with a log."""
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "0001.jsonl").write_text("{}\n")
    return tmp_path


@pytest.fixture
def served(folder: Path) -> Iterator[WatchedServer]:
    """An open page on loopback."""
    watch = ChangeWatch({"": lambda: version_of(folder)}, look_s=0.02)
    live = Live(watch, still_here_s=0.2)
    app = web_app(
        access=open_access(folder, None), cycles=Cycles(lambda: Outcome(status=0)), read_status=dict, read_findings=list, live=live
    )  # fmt: skip
    server = web_server(app, host="127.0.0.1", port=0)
    with running(server) as port:
        yield WatchedServer(folder, port, watch)
        watch.close()


def lines(stream: http.client.HTTPResponse) -> Iterator[str]:
    while line := stream.readline():
        yield line.decode().strip()


def message(stream: http.client.HTTPResponse) -> str:
    """The next message; comments and empty ones are left out, as a browser does."""
    return next(line for line in lines(stream) if line.startswith("data:"))


# --- the version of a folder ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["log/0001.jsonl", "log/0002.jsonl", "state/tandem.json", "outbox/x.sqlite", "outbox/x.sqlite-wal"]
)
def test_what_pages_show_changes_the_version(folder: Path, name: str) -> None:
    before = version_of(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}\n{}\n")
    assert version_of(folder) != before


@pytest.mark.parametrize(
    "name", ["outbox/x.sqlite-shm", "outbox/x.sqlite-wal", "log/0001.index.sqlite", "state/x.tmp", "other/x.json"]
)
def test_what_a_reader_leaves_does_not(folder: Path, name: str) -> None:
    """Otherwise each page that fetches itself would be news for all others."""
    before = version_of(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("")
    assert version_of(folder) == before


def test_an_edit_of_the_same_length_changes_the_version(folder: Path) -> None:
    before = version_of(folder)
    os.utime(folder / "log" / "0001.jsonl", ns=(1, 1))
    assert version_of(folder) != before


def test_a_missing_folder_has_a_version(tmp_path: Path) -> None:
    assert version_of(tmp_path / "nothing") == version_of(tmp_path)


def test_pages_share_a_status_until_something_changes() -> None:
    now, version, reads = [0.0], ["a"], []

    def read() -> dict[str, int]:
        reads.append(1)
        return {"number": len(reads)}

    status = RecentStatus(read, lambda: version[0], lambda: now[0])
    assert [status()["number"] for _ in range(3)] == [1, 1, 1]
    version[0] = "b"
    assert status()["number"] == 2
    now[0] += 9
    assert status()["number"] == 2
    now[0] += 2
    assert status()["number"] == 3
    now[0] -= 100
    assert status()["number"] == 4


def test_an_error_of_the_status_is_not_remembered() -> None:
    answers: list[Any] = [OSError("away"), {"version": "4"}]

    def read() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    status = RecentStatus(read, lambda: "a", lambda: 0.0)
    with pytest.raises(OSError, match="away"):
        status()
    assert status() == {"version": "4"}


# --- the stream ---------------------------------------------------------------------------------------------------------------


def test_a_page_is_told_of_new_records(served: WatchedServer) -> None:
    shown = version_of(served.folder)
    with served.listener(f"/live?since={shown}") as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        assert next(lines(stream)).startswith("retry:")
        served.write("{}\n")
        first = message(stream)
        assert first == f"data: {version_of(served.folder)}"
        served.write("{}\n")
        assert message(stream) != first


def test_what_came_between_page_and_stream_is_told_at_once(served: WatchedServer) -> None:
    shown = version_of(served.folder)
    served.write("{}\n")
    for path, headers in ((f"/live?since={shown}", {}), ("/live?since=0000000000000000", {"Last-Event-ID": shown})):
        with served.listener(path, headers) as stream:
            assert message(stream) == f"data: {version_of(served.folder)}"


@pytest.mark.parametrize("since", ["", "x\r\nevil: 1", "<script>", "0" * 5000])
def test_a_strange_version_is_treated_as_unknown(served: WatchedServer, since: str) -> None:
    quoted = "".join(f"%{ord(each):02x}" for each in since)
    with served.listener(f"/live?since={quoted}") as stream:
        got = lines(stream)
        assert next(got).startswith("retry:")
        assert next(line for line in got if line) == f"id: {version_of(served.folder)}"


def test_too_many_listeners(served: WatchedServer) -> None:
    """Another page asks again later, and still works."""
    shown = version_of(served.folder)
    with contextlib.ExitStack() as open_pages:
        for _ in range(MOST_LISTENERS):
            stream = open_pages.enter_context(served.listener(f"/live?since={shown}"))
            assert next(lines(stream)).startswith("retry:")
        with served.listener(f"/live?since={shown}") as one_more:
            assert one_more.read().decode().split("\n")[0] == f"retry: {POLL_MS}"
        served.write("{}\n")
        with served.listener(f"/live?since={shown}") as one_more:
            assert f"data: {version_of(served.folder)}" in one_more.read().decode(), "it polls"
        for _ in range(20):
            with served.listener("/", HTML) as page:
                assert page.status == 200
                page.read()
    deadline = time.monotonic() + PATIENCE_S
    while True:  # the places of pages that were closed become free
        with served.listener(f"/live?since={shown}") as stream:
            if next(lines(stream)) != f"retry: {POLL_MS}":
                return
        assert time.monotonic() < deadline


def test_without_listeners_no_thread_looks(served: WatchedServer) -> None:
    with served.listener() as stream:
        next(lines(stream))
        assert [each.name for each in threading.enumerate()].count("live") == 1
    deadline = time.monotonic() + PATIENCE_S
    while "live" in [each.name for each in threading.enumerate()]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_streams_end_with_the_server(served: WatchedServer) -> None:
    with served.listener() as stream:
        next(lines(stream))
        served.watch.close()
        assert stream.read() is not None
    with served.listener() as stream:
        assert stream.read() is not None


def test_a_stream_ends_when_it_is_no_longer_admitted(folder: Path) -> None:
    """As after the view link is revoked."""
    watch = ChangeWatch({"": lambda: version_of(folder)}, look_s=0.02)
    live = Live(watch, still_here_s=0.01)
    admitted = [True]
    stream = live._messages("", "", lambda: admitted[0])
    next(stream)
    next(stream)
    admitted[0] = False
    assert list(stream) == []
    watch.close()
    assert all(live.places.acquire(blocking=False) for _ in range(MOST_LISTENERS)), "its place is free"
