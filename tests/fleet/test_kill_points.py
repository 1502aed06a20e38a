"""Workers killed exactly between two steps: what they had is taken over, and nothing is lost, doubled or wrong."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tconnectsync_fleet.servers import WORKERS, NatsLogin, Servers
from tests.fleet import kill_points
from tests.fleet.kill_points import EMPTY, OFTEN, POINTS, SNAPSHOT, STOP
from tests.fleet.light_world import LightFleet
from tests.support.nats_servers import server_in

DISKS = ("a", "b")
DIED_S = 60


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[LightFleet]:
    """A fleet of three people on a server of its own."""
    server = server_in(tmp_path)
    server.start()
    world = LightFleet(tmp_path, f"nats://127.0.0.1:{server.port}")
    try:
        world.add("p0", "p1", "p2")
        yield world
    finally:
        world.close()
        server.stop()


def live(fleet: LightFleet, disk: str, point: str | None) -> int | None:
    """Start a worker, and stop it if its point needs that; return its exit status."""
    words = [*fleet.words("worker", "--name", disk, "--threads", "2"), "--folder", str(fleet.folder / disk)]
    if point is not None and POINTS[point].first == OFTEN:
        words += ["--snapshots-every", "0.0001"]
    process = kill_points.start(point, words, fleet.environment, fleet.log(disk))
    if point is None or POINTS[point].first == STOP:
        fleet.wait_until_all_asked()
        process.terminate()
    process.join(DIED_S)
    return process.exitcode


def test_killed_at_named_points(fleet: LightFleet) -> None:
    """A worker is killed once at every point of the table, on two disks in turn.

    No worker sends a document that another one has sent without its knowledge.
    """
    servers = Servers(NatsLogin(servers=[fleet.nats_url]), name="tests")
    number = 0
    for point, place in POINTS.items():
        if place.first == SNAPSHOT:
            assert live(fleet, DISKS[number % 2], None) == 0, fleet.logs()
            number += 1
        disk = DISKS[number % 2]
        if place.first == EMPTY:
            shutil.rmtree(fleet.folder / disk)
        assert live(fleet, disk, point) == -signal.SIGKILL, (
            f"{point} was not reached\n{fleet.log(disk).read_text()[-3000:]}"
        )
        servers.call(servers.bucket(WORKERS).purge(disk))  # as if its time were over: the process has ended
        number += 1
    servers.close()
    fleet.start("last")
    assert fleet.settle() == {"lost": [], "doubled": [], "wrong": []}, fleet.logs()
    assert fleet.cloud.repeated == 0
