"""Faults that a simulated site has on request."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
import requests

from tests.simulator.nightscout.sample_documents import ago, note
from tests.support.real_servers import Site
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.simulated_nightscout.faults import SiteFault


@pytest.fixture
def simulated() -> Iterator[SimulatedNightscout]:
    """A simulated 15.0.6."""
    with SimulatedNightscout(version="15.0.6") as simulated:
        yield simulated


@pytest.fixture
def server(simulated: SimulatedNightscout, client_of: Callable[[SimulatedNightscout], Site]) -> Site:
    """A client of the site."""
    return client_of(simulated)


def test_a_fault_hits_as_many_fitting_requests_as_it_says(simulated: SimulatedNightscout, server: Site) -> None:
    simulated.fail(SiteFault(status=503, times=2, method="POST", path="treatments", headers={"Retry-After": "7"}))
    assert server.ask("GET", "treatments").status_code == 200
    refused = [server.ask("POST", "treatments", json=note()) for _ in range(3)]
    assert [answer.status_code for answer in refused] == [503, 503, 200]
    assert refused[0].headers["Retry-After"] == "7"
    assert simulated.count("treatments") == 1


def test_a_page_with_status_200_can_be_answered(simulated: SimulatedNightscout, server: Site) -> None:
    simulated.fail(SiteFault(status=200, body="<html>asleep</html>"))
    assert server.ask("GET", "status.json").text == "<html>asleep</html>"
    simulated.fail(SiteFault(status=500))
    simulated.mend()
    assert server.ask("GET", "status.json").status_code == 200


@pytest.mark.parametrize(("moment", "stored"), [("before", 0), ("after", 1)])
def test_the_connection_breaks_before_or_after_serving(
    simulated: SimulatedNightscout, server: Site, moment: str, stored: int
) -> None:
    simulated.fail(SiteFault(reset=moment))
    with pytest.raises(requests.ConnectionError):
        server.ask("POST", "treatments", json=note())
    assert simulated.count("treatments") == stored
    assert server.ask("GET", "treatments").status_code == 200


def test_a_document_is_lost_silently(simulated: SimulatedNightscout, server: Site) -> None:
    simulated.fail(SiteFault(lose=1))
    answer = server.ask("POST", "treatments", json=[note(created_at=ago(hours=n)) for n in range(3)])
    assert len(answer.json()) == 3
    assert [body["created_at"] for body in simulated.documents("treatments")] == [ago(hours=0), ago(hours=2)]


def test_an_array_stops_in_its_middle(simulated: SimulatedNightscout, server: Site) -> None:
    batch = [note(created_at=ago(hours=n)) for n in range(3)]
    simulated.fail(SiteFault(stop_at=1))
    assert server.ask("POST", "treatments", json=batch).status_code == 500
    assert simulated.count("treatments") == 1
    simulated.refuses = lambda body: body["created_at"] == ago(hours=2)
    assert server.ask("POST", "treatments", json=batch).status_code == 500
    assert simulated.count("treatments") == 2


def test_database_down(simulated: SimulatedNightscout, server: Site) -> None:
    """Reads answer null, and the status stays good."""
    simulated.database_down = True
    assert server.ask("GET", "treatments").text == "null"
    assert server.ask("POST", "treatments", json=note()).status_code == 500
    assert server.ask("GET", "status.json").status_code == 200


def test_site_down(simulated: SimulatedNightscout, server: Site) -> None:
    """It refuses connections, and comes back with its documents."""
    server.ask("POST", "treatments", json=note())
    with simulated.down(), pytest.raises(requests.ConnectionError):
        server.ask("GET", "status.json")
    assert len(server.ask("GET", "treatments").json()) == 1


def test_delay_after_wrong_secret(client_of: Callable[[SimulatedNightscout], Site]) -> None:
    """Until a right one."""
    with SimulatedNightscout(refusal_wait_s=0.02) as simulated:
        server = client_of(simulated)
        server.ask("GET", "treatments", headers={"api-secret": "wrong"})
        assert server.ask("GET", "treatments").elapsed.total_seconds() >= 0.02
        assert simulated.refusals == 1


def test_a_quiet_connection_is_closed(client_of: Callable[[SimulatedNightscout], Site]) -> None:
    with SimulatedNightscout(idle_s=0.01) as simulated:
        server = client_of(simulated)
        server.ask("GET", "status.json")
        end = time.monotonic() + 60
        while simulated.requests[-1].connection == 1:
            assert time.monotonic() < end
            time.sleep(0.05)
            with contextlib.suppress(requests.ConnectionError):  # it was closed just now
                server.ask("GET", "status.json")
        assert simulated.requests[0].connection == 1
        assert simulated.requests[-1].connection == 2


def test_requests_are_remembered(simulated: SimulatedNightscout, server: Site) -> None:
    server.ask("POST", "treatments", json=[note(), note()])
    server.ask("GET", "treatments", params={"count": "3"})
    posted, read = simulated.requests
    assert (posted.method, posted.path, posted.documents) == ("POST", "/api/v1/treatments", 2)
    assert (read.query, read.documents, posted.connection, read.connection) == ("count=3", 0, 1, 1)
    assert posted.body == [note(), note()]
    assert server.secret not in repr(simulated.requests)


def test_posts_at_the_same_time_are_counted(simulated: SimulatedNightscout) -> None:
    started, go_on = threading.Event(), threading.Event()

    def hold(body: dict[str, Any]) -> bool:
        started.set()
        go_on.wait(60)
        return False

    simulated.refuses = hold

    def post() -> None:
        with requests.Session() as session:
            Site(url=simulated.url, secret=simulated.secret, session=session).ask("POST", "treatments", json=note())

    posting = [threading.Thread(target=post) for _ in range(2)]
    posting[0].start()
    assert started.wait(60)
    posting[1].start()
    deadline = time.monotonic() + 60
    while not simulated.overlaps and time.monotonic() < deadline:
        time.sleep(0.002)
    go_on.set()
    for thread in posting:
        thread.join(60)
    assert simulated.overlaps == 1


def test_dates_follow_the_clock_that_is_passed_in(session: requests.Session) -> None:
    then = datetime(2024, 2, 29, 12, tzinfo=timezone.utc)
    with SimulatedNightscout(now=lambda: then) as simulated:
        simulated.put("treatments", {"eventType": "Note", "created_at": "nonsense"})
        assert simulated.documents("treatments")[0]["created_at"] == "2024-02-29T12:00:00.000Z"
        answer = session.get(f"{simulated.url}api/v1/treatments")
        assert answer.headers["Date"] == "Thu, 29 Feb 2024 12:00:00 GMT"
        assert len(answer.json()) == 1


def test_what_is_handed_out_is_a_copy(simulated: SimulatedNightscout) -> None:
    simulated.put("treatments", note(pump={"serial": "1"}))
    simulated.documents("treatments")[0]["pump"]["serial"] = "changed"
    assert simulated.documents("treatments")[0]["pump"]["serial"] == "1"
