"""Simulated sites of each release and the real one, under one client.

The tests that take ``server`` are one contract for the simulation and the real server: a difference shows that the simulation flatters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import requests

from tests.support.real_servers import Site
from tests.support.simulated_nightscout.app import SimulatedNightscout


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """Requests that ignore the environment."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def client_of(session: requests.Session) -> Callable[[SimulatedNightscout], Site]:
    """The client that also talks to the real one."""
    return lambda simulated: Site(url=simulated.url, secret=simulated.secret, session=session)


@pytest.fixture(params=["0.12.8", "15.0.6", pytest.param("real", marks=pytest.mark.real)])
def server(request: pytest.FixtureRequest, client_of: Callable[[SimulatedNightscout], Site]) -> Iterator[Site]:
    """A simulated site of each release, and the real one."""
    if request.param == "real":
        yield request.getfixturevalue("site")
        return
    with SimulatedNightscout(version=request.param) as simulated:
        yield client_of(simulated)
