"""The compose file of a fleet: its files exist, the servers accept theirs, and the workers' words and variables are known."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tconnectsync_fleet.group import fleet
from tests.support.nats_servers import find_nats_server

FOLDER = Path(__file__).resolve().parents[2] / "packaging" / "fleet"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SERVERS = {name: service for name, service in COMPOSE["services"].items() if name.startswith("nats-")}
WORKERS = {name: service for name, service in COMPOSE["services"].items() if name.startswith("worker-")}


def variables() -> dict[str, str]:
    lines = (FOLDER / "nats.env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """What each path in the container is."""
    pairs = (volume.split(":")[:2] for volume in service["volumes"])
    return {inside: outside for outside, inside in pairs}


@pytest.mark.parametrize("name", SERVERS)
def test_server(name: str) -> None:
    """A server accepts its file, keeps its streams on its volume, knows the other two, and sees no secret of the workers."""
    service = SERVERS[name]
    found = mounts(service)
    path = FOLDER / found[service["command"][1]]
    done = subprocess.run(
        [find_nats_server(), "-t", "-c", str(path)], env={**os.environ, **variables()}, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    common = (FOLDER / found["/etc/fleet/fleet.conf"]).read_text(encoding="utf-8")
    assert f"server_name: {name}" in path.read_text(encoding="utf-8")
    assert re.search(r'store_dir: "/data"', common)
    assert found["/data"] in COMPOSE["volumes"]
    assert set(re.findall(r"@([\w-]+):6222", str(variables()))) == set(SERVERS)
    assert {outside for outside in found.values() if outside.startswith(".")} == {f"./{name}.conf", "./fleet.conf"}
    assert "secrets" not in service


def test_variables_of_the_servers() -> None:
    """Every variable of the configuration is in the example, and the same password is in every route."""
    common = (FOLDER / "fleet.conf").read_text(encoding="utf-8")
    used = set(re.findall(r"^[^#\n]*?\$(\w+)", common, re.MULTILINE)) | set(re.findall(r"\$(ROUTE_\d)", common))
    assert used == set(variables())
    assert all(f":{variables()['ROUTE_PASSWORD']}@" in variables()[f"ROUTE_{number}"] for number in (1, 2, 3))


@pytest.mark.parametrize("name", WORKERS)
def test_worker(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's command is one that the program knows, with a name, a volume and addresses of its own servers."""
    service = WORKERS[name]
    group, command, *words = service["command"]
    assert group == fleet.name
    given = service["environment"]
    parent = click.Context(fleet)
    worker = fleet.get_command(parent, command)
    assert worker is not None
    known = {parameter.envvar for parameter in worker.params}
    assert set(given) <= known
    for variable, value in given.items():
        if value.startswith("/run/secrets/"):
            secret = value.rpartition("/")[2]
            assert secret in service["secrets"]
            assert secret in COMPOSE["secrets"]
            (tmp_path / secret).touch()
        monkeypatch.setenv(variable, value.replace("/run/secrets", str(tmp_path)))
    found = worker.make_context(command, words, parent=parent).params
    assert found["name"] == name
    assert found["folder"] == Path("/data")
    assert mounts(service)["/data"] == name
    assert [address.removesuffix(":4222") for address in found["servers"][0].split(",")] == [
        f"nats://{each}" for each in SERVERS
    ]
    assert found["metrics"].partition(":")[2] in " ".join(service["healthcheck"]["test"])


def test_image_has_the_extra() -> None:
    """The image is built from the usual file, with the lock of the extra."""
    for service in WORKERS.values():
        build = service["build"]
        root = (FOLDER / build["context"]).resolve()
        text = (root / build["dockerfile"]).read_text(encoding="utf-8")
        assert "ARG EXTRA" in text
        lock = f"requirements-{build['args']['EXTRA']}.lock"
        assert lock in text
        assert (root / lock).is_file()
        assert f"!{lock}" in (root / f"{build['dockerfile']}.dockerignore").read_text(encoding="utf-8").splitlines()
