"""A fleet on a real NATS server."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from tconnectsync_fleet.servers import NatsLogin, Servers, set_up
from tests.support.nats_servers import nats_server, server_in
from tests.support.real_servers import Server

__all__ = ["nats_server"]

LEASE_S = 2.0
_numbers = itertools.count(1)


@attrs.define
class HeldLease:
    """A worker's lease that no server knows, so that other tests' workers do not see it."""

    owner: str = "w1.held"
    is_held: bool = True
    life_s: float = LEASE_S

    def holds(self) -> bool:
        return self.is_held


@pytest.fixture(scope="session")
def servers(nats_server: Server) -> Iterator[Servers]:
    """A connection to a fleet that is set up and has nobody."""
    connected = Servers(NatsLogin(servers=[f"nats://127.0.0.1:{nats_server.port}"]), name="tests")
    set_up(connected, replicas=1, lease_s=LEASE_S)
    yield connected
    connected.close()


@pytest.fixture
def new_name() -> Callable[[], str]:
    """Returns a person's name that no other test has."""
    return lambda: f"person-{next(_numbers)}"


@pytest.fixture
def own_servers(tmp_path: Path) -> Iterator[Servers]:
    """A connection to a server of its own, whose buckets may be deleted."""
    server = server_in(tmp_path)
    server.start()
    connected = Servers(NatsLogin(servers=[f"nats://127.0.0.1:{server.port}"]), name="tests")
    set_up(connected, replicas=1, lease_s=2.0)
    yield connected
    connected.close()
    server.stop()
