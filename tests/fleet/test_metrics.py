"""``/metrics`` and ``/healthz`` of a worker: numbers only, and true ones."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import cast

import attrs
import click
import pytest
import requests
from nacl.public import PrivateKey, SealedBox
from prometheus_client.parser import text_string_to_metric_families

from tconnectsync_fleet.lease import WorkerLease
from tconnectsync_fleet.metrics import serve_metrics
from tconnectsync_fleet.people import Member
from tconnectsync_fleet.person_runner import FleetContext, PersonRunner
from tconnectsync_fleet.schedule import ScheduledPerson
from tconnectsync_fleet.servers import Servers
from tconnectsync_fleet.worker import Worker

PAGE = Path(__file__).parents[2] / "docs" / "user" / "fleet-monitoring.md"
SECRETS = ("anna-90556643", "a password", "w-secret-host")


@attrs.define
class OwnedRunner:
    """A person who is at work, with a name and a configuration that nobody else may read."""

    person: Member = attrs.field(factory=lambda: Member(name=SECRETS[0], sealed=SECRETS[1].encode()))
    is_owned: bool = True


@attrs.define
class Scraped:
    """A worker that serves its metrics."""

    worker: Worker
    port: int

    def get(self, path: str, method: str = "GET") -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.request(method, f"http://127.0.0.1:{self.port}{path}", timeout=10)

    def values(self) -> dict[str, float]:
        families = text_string_to_metric_families(self.get("/metrics").text)
        return {
            sample.name.removeprefix("tconnectsync_fleet_") + "".join(sample.labels.values()): sample.value
            for each in families
            for sample in each.samples
            if sample.value or not sample.labels
        }


@pytest.fixture
def scraped(servers: Servers, tmp_path: Path, new_name: Callable[[], str]) -> Iterator[Scraped]:
    worker = Worker(
        name=f"{SECRETS[2]}-{new_name()}", folder=tmp_path, servers=servers, box=SealedBox(PrivateKey.generate()),
        engine=cast(FleetContext, None),
    )  # fmt: skip
    people = (OwnedRunner(), OwnedRunner(), OwnedRunner(is_owned=False))
    for number, runner in enumerate(people):
        worker.people[f"{SECRETS[0]}-{number}"] = ScheduledPerson(cast(PersonRunner, runner))
    yield Scraped(worker, serve_metrics(worker, "127.0.0.1:0"))
    if worker._lease is not None:
        worker._lease.end()


def test_before_and_after_the_lease(scraped: Scraped) -> None:
    """Without a lease it is unhealthy; with one, every number is what the worker counts."""
    assert scraped.get("/healthz").status_code == 503
    assert scraped.values() == {"lease": 0}
    worker = scraped.worker
    worker._begin_lease()
    worker.turns, worker.failed_turns, worker.limit.requests = 12, 3, 7
    first, second, left = worker.people.values()
    first.running, second.failures, left.failures = True, 2, 1
    first.status, second.status = 0, 4
    first.last_fetch = datetime(2026, 5, 14, 12, 0, tzinfo=timezone.utc)
    assert scraped.get("/healthz").status_code == 200
    assert scraped.values() == {
        "lease": 1, "people": 2, "people_in_fleet": 3, "people_never_read": 1, "running": 1, "failing": 1, "turns_total": 12, "failed_turns_total": 3, "requests_total": 7,
        "people_in_stateok": 1, "people_in_statelogin refused": 1, "oldest_read_timestamp_seconds": 1778760000,
    }  # fmt: skip
    lease = cast(WorkerLease, worker._lease)
    lease.end()
    assert scraped.get("/healthz").status_code == 503
    assert scraped.values() == {"lease": 0}


def test_alert_rule_names_the_quiet_states(scraped: Scraped) -> None:
    """The page's rule for people with a problem leaves out the states that need nobody, by the names that the metric has."""
    scraped.worker._begin_lease()
    [rule] = re.findall(r"people_in_state\{(state!=[^}]+)\}", PAGE.read_text(encoding="utf-8"))
    left_out = re.findall(r'state!="([^"]+)"', rule)
    shown = re.findall(r'people_in_state\{state="([^"]+)"\}', scraped.get("/metrics").text)
    assert set(left_out) <= set(shown)
    assert set(shown) - set(left_out) == {
        "failed", "wrong configuration", "source not read", "login refused", "documents waiting", "stopped", "log corrupt",
        "needs a newer release",
    }  # fmt: skip


def test_nothing_of_a_person_is_shown(scraped: Scraped) -> None:
    """No name, no serial number, no credential, no worker's name, whatever is asked for."""
    scraped.worker._begin_lease()
    for path in ("/metrics", "/healthz", "/", "/metrics?name=anna", "/../etc/passwd", "/people"):
        answer = scraped.get(path)
        assert answer.status_code == (200 if path in {"/metrics", "/healthz"} else 404)
        assert not any(secret in answer.text + str(answer.headers) for secret in SECRETS)
    assert scraped.get("/metrics", "POST").status_code == 501


@pytest.mark.parametrize(
    ("address", "status"),
    [("foo", 2), ("127.0.0.1", 2), ("127.0.0.1:ninety", 2), ("127.0.0.1:99999", 2), ("203.0.113.9:9110", 1)],
)
def test_address_that_cannot_be_used(scraped: Scraped, address: str, status: int) -> None:
    """A wrong address names the option, and the form if that is wrong."""
    with pytest.raises(click.ClickException, match="--metrics") as caught:
        serve_metrics(scraped.worker, address)
    assert caught.value.exit_code == status
    assert ("HOST:PORT" in caught.value.message) == (status == 2)


def test_scraper_that_gives_up(
    scraped: Scraped, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A broken connection prints nothing; the worker's log is for people."""
    scraped.worker._begin_lease()
    gone, written = threading.Event(), threading.Event()

    def text(_: Worker) -> str:
        gone.wait(10)
        return "x" * 20_000_000

    monkeypatch.setattr("tconnectsync_fleet.metrics.metrics_text", text)
    shutdown = ThreadingHTTPServer.shutdown_request

    def note_end(server: ThreadingHTTPServer, request: socket.socket) -> None:
        shutdown(server, request)
        written.set()

    monkeypatch.setattr(ThreadingHTTPServer, "shutdown_request", note_end)
    with socket.create_connection(("127.0.0.1", scraped.port)) as scraper:
        scraper.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        scraper.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.set()
    assert written.wait(10)
    assert "Exception" not in "".join(capfd.readouterr())
    assert scraped.get("/healthz").status_code == 200
