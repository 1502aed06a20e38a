"""The steps of `docs/user/fleet-trouble.md` for a corrupt log, on a real NATS server whose disk has a wrong bit."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from tests.fleet.light_world import LightFleet
from tests.support.nats_cluster import NatsCluster

BEYOND_HEADERS = 400


def flip_a_bit(streams: Path, person: str) -> None:
    """In the second batch of a person's log; the first has no record."""
    (block,) = (path for path in streams.rglob("*.blk") if "events" in path.parts)
    content = bytearray(block.read_bytes())
    place = -1
    for _ in range(3):
        place = content.index(f"events.{person}".encode(), place + 1)
    content[place + BEYOND_HEADERS] ^= 1
    block.write_bytes(bytes(content))


@pytest.mark.parametrize("copy", ["a worker's folder", "an export"])
def test_corrupt_log_in_nats(tmp_path: Path, copy: str) -> None:
    """It is imported again from a copy. Nothing is lost or sent twice."""
    nats = NatsCluster(tmp_path, 1)
    nats.start()
    fleet = LightFleet(tmp_path, nats.url)
    try:
        fleet.add("anna")
        fleet.start("w1")
        fleet.eventually(lambda: fleet.cloud.has_all(["anna"]) and fleet.cloud.asked["anna"] > 5, "some records")
        (tmp_path / "exports").mkdir()
        fleet.run("export", "anna", "--output", str(tmp_path / "exports"))
        fleet.wait_until_all_asked()
        fleet.signal("w1", signal.SIGTERM)
        fleet.workers.pop("w1").wait(30)
        nats.servers[0].stop()
        flip_a_bit(nats.disk(0), "anna")
        nats.servers[0].start()
        nats.wait_until_current()
        fleet.start("w2")
        fleet.eventually(lambda: "anna: log corrupt" in fleet.run("status", expect=(0, 9)), "log corrupt", every_s=0.5)
        assert "fleet-trouble.md" in fleet.run("status", expect=(9,))

        fleet.run("pause", "anna")
        assert "does not fit together" in fleet.run("export", "anna", "--output", str(tmp_path), expect=(7,))
        if copy == "an export":
            (export,) = (tmp_path / "exports").iterdir()
            source = ("--backup", str(export))
        else:
            shutil.copytree(tmp_path / "w1/people/anna", tmp_path / "copy")
            source = ("--data-dir", str(tmp_path / "copy"))
        fleet.run("remove", "--data", "anna")
        fleet.run("import", "anna", "--config", str(tmp_path / "anna.toml"), *source)
        assert not any(fleet.settle().values())
    finally:
        fleet.close()
        nats.stop()
