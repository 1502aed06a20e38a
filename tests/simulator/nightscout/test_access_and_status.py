"""Secrets, public sites and the status page."""

from __future__ import annotations

from tests.simulator.nightscout.sample_documents import note
from tests.support.real_servers import Site


def test_wrong_secret_cannot_write(server: Site) -> None:
    """`verifyauth` answers 200 nevertheless."""
    wrong = {"api-secret": "0" * 40}
    for method, path in (
        ("POST", "treatments"),
        ("DELETE", "treatments"),
        ("PUT", "treatments"),
        ("POST", "entries"),
    ):
        assert server.ask(method, path, headers=wrong, json=note()).status_code == 401
    answer = server.ask("GET", "verifyauth", headers=wrong)
    assert (answer.status_code, "UNAUTHORIZED" in answer.text) == (200, True)
    answer = server.ask("GET", "verifyauth")
    assert (answer.status_code, "UNAUTHORIZED" in answer.text) == (200, False)
    assert server.documents("treatments") == []


def test_everybody_may_read_a_public_site(server: Site) -> None:
    server.ask("POST", "treatments", json=note())
    assert len(server.session.get(f"{server.url}api/v1/treatments.json").json()) == 1
    assert server.session.post(f"{server.url}api/v1/treatments", json=note()).status_code == 401


def test_the_status_page_tells_version_and_plugins(server: Site) -> None:
    status = server.ask("GET", "status.json").json()
    assert status["version"][0].isdigit()
    assert status["careportalEnabled"] is True
    assert "careportal" in status["settings"]["enable"]
    assert status["settings"]["units"].lower() == "mg/dl"


def test_unknown_paths_are_pages_with_404(server: Site) -> None:
    for path in ("nothing", "nothing.json"):
        assert server.ask("GET", path).status_code == 404
