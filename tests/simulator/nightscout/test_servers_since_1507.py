"""What differs since 15.0.7."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import requests

from tests.simulator.nightscout.sample_documents import ago, note, without_id
from tests.support.real_servers import Site
from tests.support.simulated_nightscout.app import SimulatedNightscout


@pytest.fixture
def simulated() -> Iterator[SimulatedNightscout]:
    """A simulated 15.0.7."""
    with SimulatedNightscout(version="15.0.7") as simulated:
        yield simulated


@pytest.fixture
def server(simulated: SimulatedNightscout, client_of: Callable[[SimulatedNightscout], Site]) -> Site:
    """A client of the site."""
    return client_of(simulated)


def test_identifier_with_moved_date_is_updated(server: Site) -> None:
    first = server.ask("POST", "treatments", json=note(identifier="a", created_at=ago(hours=2))).json()[0]
    again = server.ask("POST", "treatments", json=note(identifier="a", created_at=ago(hours=3))).json()[0]
    assert first["_id"] == again["_id"]
    assert [body["created_at"] for body in server.documents("treatments")] == [ago(hours=3)]


def test_identifiers_of_one_time_and_type(server: Site) -> None:
    """Identifiers keep such documents apart."""
    server.ask("POST", "treatments", json=[note(identifier="a"), note(identifier="b")])
    server.ask("POST", "treatments", json=[note(identifier="b"), note(identifier="a")])
    assert sorted(body["identifier"] for body in server.documents("treatments")) == ["a", "b"]


def test_document_stored_without_identifier(server: Site) -> None:
    """One with an identifier doubles it."""
    server.ask("POST", "treatments", json=note())
    server.ask("POST", "treatments", json=note(identifier="a"))
    assert len(server.documents("treatments")) == 2


def test_posting_without_identifier(server: Site) -> None:
    """It replaces by time and type, and loses the identifier."""
    server.ask("POST", "treatments", json=note(identifier="a"))
    server.ask("POST", "treatments", json=note(notes="bare"))
    assert without_id(server.documents("treatments")) == [note(notes="bare", utcOffset=0)]


def test_a_client_id_upserts(server: Site) -> None:
    chosen = "0123456789abcdef01234567"
    for hours in (1, 2):
        assert server.ask("POST", "treatments", json=note(_id=chosen, created_at=ago(hours=hours))).status_code == 200
    assert [body["created_at"] for body in server.documents("treatments")] == [ago(hours=2)]
    server.ask("DELETE", f"treatments/{chosen}")
    assert server.documents("treatments") == []


def test_a_refused_question_is_answered_with_null(server: Site) -> None:
    assert server.ask("GET", "treatments", params={"find[a][$b]": "1"}).text == "null"


def test_default_counts(server: Site) -> None:
    """100 treatments without conditions, 1,000 with them."""
    server.ask("POST", "treatments", json=[note(created_at=ago(seconds=n)) for n in range(1100)])
    assert len(server.ask("GET", "treatments").json()) == 100
    assert len(server.ask("GET", "treatments", params={"find[eventType]": "Note"}).json()) == 1000
    assert len(server.ask("GET", "treatments", params={"count": "5000"}).json()) == 1100


def test_an_upgrade_keeps_the_documents(simulated: SimulatedNightscout, server: Site) -> None:
    simulated.change_version("15.0.6")
    server.ask("POST", "treatments", json=note(identifier="a", created_at=ago(hours=2)))
    simulated.change_version("15.0.7")
    server.ask("POST", "treatments", json=note(identifier="a", created_at=ago(hours=3)))
    assert [body["created_at"] for body in server.documents("treatments")] == [ago(hours=3)]


def test_a_wrong_secret_may_not_read_either(simulated: SimulatedNightscout, server: Site) -> None:
    assert server.ask("GET", "treatments", headers={"api-secret": "wrong"}).status_code == 401
    assert server.ask("GET", "status.json", headers={"api-secret": "wrong"}).status_code == 401
    assert simulated.refusals == 2


def test_verifyauth_answers_an_object(server: Site) -> None:
    message = server.ask("GET", "verifyauth").json()["message"]
    assert message["canRead"]
    assert message["canWrite"]
    assert message["isAdmin"]


def test_a_closed_site_shows_nothing_without_a_secret(
    client_of: Callable[[SimulatedNightscout], Site], session: requests.Session
) -> None:
    with SimulatedNightscout(public=False) as simulated:
        for path in ("status.json", "treatments.json"):
            assert session.get(f"{simulated.url}api/v1/{path}").status_code == 401
            assert client_of(simulated).ask("GET", path).status_code == 200


def test_a_token_opens_what_its_rights_say(client_of: Callable[[SimulatedNightscout], Site]) -> None:
    tokens = {
        "writer-0123456789abcdef": ["api:treatments:create,read"],
        "blind-0123456789abcdef": ["api:treatments:create"],
    }
    with SimulatedNightscout(tokens=tokens, public=False) as simulated:
        server = client_of(simulated)
        writer, blind = ({"api-secret": token} for token in tokens)
        assert server.ask("POST", "treatments", headers=writer, json=note()).status_code == 200
        assert server.ask("GET", "treatments", headers=writer).status_code == 200
        assert server.ask("DELETE", "treatments", headers=writer).status_code == 401
        assert server.ask("POST", "devicestatus", headers=writer, json=note()).status_code == 401
        assert server.ask("POST", "treatments", headers=blind, json=note()).status_code == 401


def test_without_careportal_the_routes_to_write_are_missing(client_of: Callable[[SimulatedNightscout], Site]) -> None:
    with SimulatedNightscout(careportal=False) as simulated:
        server = client_of(simulated)
        assert server.ask("POST", "treatments", json=note()).status_code == 404
        assert server.ask("POST", "devicestatus", json=note()).status_code == 200
        assert server.ask("GET", "treatments").status_code == 200
