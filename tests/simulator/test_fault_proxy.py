"""The proxy that lies: each fault is what its name says, at the server behind it and at the client."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import requests

from tconnectsync import HttpClient, Secret
from tconnectsync_tandem.api.endpoints import endpoints_of
from tconnectsync_tandem.api.login import Login
from tconnectsync_tandem.api.transport import TandemTransport
from tconnectsync_tandem.options import TandemEndpointOptions
from tests.support.clocks import FrozenClock
from tests.support.fault_proxy import FaultProxy
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.proxy_faults import KINDS, SERVED, STATUSES, UNSERVED, ProxyFault
from tests.support.real_servers import Site
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.simulated_nightscout.values import iso

NOW = datetime(2026, 5, 6, 12, tzinfo=timezone.utc)
BREAKS = {"refused", "reset_before", "reset_after", "half"}


class ProxiedClient:
    """Talks to the site through the proxy."""

    def __init__(self) -> None:
        self.site = SimulatedNightscout(now=lambda: NOW)
        self.site.start()
        self.proxy = FaultProxy(self.site.url, late_s=60.0)
        self.proxy.start()
        self.session = requests.Session()
        self.session.trust_env = False
        self.through = Site(url=self.proxy.url, secret=self.site.secret, session=self.session)

    def post(self, *notes: str, **arguments: Any) -> requests.Response:
        bodies = [note(number, text) for number, text in enumerate(notes)]
        return self.through.ask("POST", "treatments", json=bodies, **arguments)

    def stored(self) -> list[str]:
        return sorted(document["notes"] for document in self.site.documents("treatments"))

    def close(self) -> None:
        self.session.close()
        self.proxy.stop()
        self.site.stop()


def note(number: int, text: str) -> dict[str, Any]:
    at = iso(NOW - timedelta(minutes=number))
    return {"eventType": "Note", "notes": text, "identifier": text, "created_at": at}


@pytest.fixture
def client() -> Iterator[ProxiedClient]:
    """A client that shows what came through."""
    client = ProxiedClient()
    yield client
    client.close()


def test_without_a_fault_it_is_not_there(client: ProxiedClient) -> None:
    answer = client.post("one", "two")
    assert answer.status_code == 200
    assert [item["notes"] for item in answer.json()] == ["one", "two"]
    assert client.stored() == ["one", "two"]
    assert client.proxy.injected == {}
    [asked] = client.proxy.recorded
    assert (asked.method, asked.path, asked.fault) == ("POST", "/api/v1/treatments", "")
    assert asked.headers["api-secret"] == client.through.key


@pytest.mark.parametrize("kind", KINDS)
def test_refused_requests_do_not_reach_server(client: ProxiedClient, kind: str) -> None:
    """All others do."""
    client.proxy.faults.add(ProxyFault(kind, method="POST"))
    arguments = {"timeout": 0.5} if kind == "late" else {}
    if kind in BREAKS or kind == "late":
        with pytest.raises(requests.RequestException):
            client.through.session.post(
                f"{client.proxy.url}api/v1/treatments",
                json=[note(0, "one")],
                headers={"api-secret": client.through.key},
                timeout=arguments.get("timeout", 60),
            )
    else:
        client.post("one")
    served = kind in SERVED and kind != "loses_one"
    assert client.stored() == (["one"] if served else [])
    assert client.proxy.injected == {kind: 1}
    assert client.proxy.recorded[-1].fault == kind


@pytest.mark.parametrize("status", STATUSES)
def test_error_status_has_retry_after(client: ProxiedClient, status: str) -> None:
    """With the configured wait."""
    client.proxy.faults.add(ProxyFault(status, retry_after="120"))
    answer = client.post("one")
    assert answer.status_code == int(status)
    assert answer.headers["Retry-After"] == "120"
    assert answer.text.startswith("<html>")


def test_answers_that_are_not_what_was_asked_for(client: ProxiedClient) -> None:
    client.proxy.faults.add("html", "null", "gateway")
    answers = [client.post(text) for text in ("one", "two", "three")]
    assert [answer.status_code for answer in answers] == [200, 200, 504]
    assert answers[0].text.startswith("<html>")
    assert answers[1].json() is None
    assert client.stored() == ["three"]


def test_truncated_and_reordered_answers(client: ProxiedClient) -> None:
    """A truncated one is no JSON; a reordered one is the same JSON."""
    client.post(*"abcdefgh")
    path = "treatments.json?find[created_at][$gte]=2020&count=100"
    plain = client.through.ask("GET", path)
    client.proxy.faults.add("truncated", "reordered", "echoed")
    cut, mixed, twice = (client.through.ask("GET", path) for _ in range(3))
    assert plain.content.startswith(cut.content)
    with pytest.raises(ValueError, match=r"Expecting|Unterminated|Invalid"):
        cut.json()
    by_name = [sorted(answer.json(), key=lambda item: str(item["notes"])) for answer in (plain, mixed)]
    assert by_name[0] == by_name[1]
    assert mixed.json() != plain.json()
    assert twice.json() == [item for item in plain.json() for _ in range(2)]


def test_twice_is_one_answer_to_two_requests(client: ProxiedClient) -> None:
    client.proxy.faults.add("twice")
    assert client.through.ask("POST", "devicestatus", json=[{"device": "pump"}]).status_code == 200
    assert client.site.count("devicestatus") == 2
    assert len(client.proxy.recorded) == 1


@pytest.mark.parametrize("zipped", [False, True])
def test_a_document_is_lost_in_silence_and_named_as_stored(client: ProxiedClient, *, zipped: bool) -> None:
    client.proxy.faults.add("loses_one")
    bodies = [note(number, text) for number, text in enumerate(("one", "two", "three"))]
    raw = json.dumps(bodies).encode()
    more = {"Content-Encoding": "gzip"} if zipped else {}
    answer = client.through.ask(
        "POST",
        "treatments",
        data=gzip.compress(raw) if zipped else raw,
        headers={"Content-Type": "application/json", **more},
    )
    assert [item["notes"] for item in answer.json()] == ["one", "two", "three"]
    assert len({item["_id"] for item in answer.json()}) == 3
    assert client.stored() == ["one", "three"]


def test_a_script_counts_only_the_requests_that_it_means(client: ProxiedClient) -> None:
    client.proxy.faults.add(ProxyFault("503", method="POST", path="treatments", skip=1, times=2))
    asked = [
        *(client.through.ask("GET", "status.json").status_code for _ in range(2)),
        *(client.post(str(number)).status_code for number in range(4)),
    ]
    assert asked == [200, 200, 200, 503, 503, 200]


def test_by_chance_the_same_seed_gives_the_same_faults(client: ProxiedClient) -> None:
    def outcomes() -> list[str]:
        client.proxy.faults.at_random(0.4, seed=11, kinds=("500", "null", "gateway"))
        client.proxy.recorded.clear()
        for _ in range(40):
            client.through.ask("GET", "status.json")
        return [asked.fault for asked in client.proxy.recorded]

    first = outcomes()
    assert outcomes() == first
    assert 8 <= len([fate for fate in first if fate]) <= 24
    assert {"500", "null", "gateway"} <= set(first)
    client.proxy.faults.clear()
    assert client.through.ask("GET", "status.json").status_code == 200


def test_a_refused_moment_passes_and_down_lasts(client: ProxiedClient) -> None:
    client.proxy.faults.add("refused")
    with pytest.raises(requests.ConnectionError):
        client.post("one")
    with client.proxy.down(), pytest.raises(requests.ConnectionError, match="refused"):
        client.post("two")
    assert client.post("three").status_code == 200
    assert client.stored() == ["three"]


def test_a_server_that_is_gone_is_a_broken_connection(client: ProxiedClient) -> None:
    with client.site.down(), pytest.raises(requests.ConnectionError):
        client.post("one")
    assert client.post("two").status_code == 200


def test_an_unknown_kind_is_told_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no such fault: '418'; there are refused, reset_before"):
        ProxyFault("418")
    assert not UNSERVED.keys() & SERVED.keys()


def test_a_login_with_all_its_redirects_goes_through() -> None:
    clock = FrozenClock(NOW)
    with FaultyTandemCloud([], clock) as cloud, FaultProxy(cloud.url) as proxy:
        options = TandemEndpointOptions(**proxy.endpoints(cloud.endpoints))
        client = HttpClient(clock=clock)
        account = cloud.accounts[0]
        token = Login(endpoints_of(account.region, options), TandemTransport(client, clock), set()).run(
            account.email, Secret(account.password)
        )
        client.close()
        assert token.pumper_id == account.pumper_id
        assert len(proxy.recorded) == len(cloud.requests) == 6
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fault-proxy")]
