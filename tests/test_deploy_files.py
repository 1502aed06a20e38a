"""The files for hosts name variables that the program knows, and keep the data on a disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomli
import yaml

from tconnectsync.config.load import load_config
from tconnectsync.plugin.manager import load_plugins

ROOT = Path(__file__).resolve().parents[1]
VALUES = {
    "TCONNECT_EMAIL": "a@example.org", "TCONNECT_PASSWORD": "hidden", "TCONNECT_REGION": "EU", "TIMEZONE_NAME": "Europe/Berlin",
    "NS_URL": "https://site.example/", "NS_SECRET": "site-hidden-1234",
}  # fmt: skip


def read(name: str) -> Any:
    text = (ROOT / name).read_text(encoding="utf-8")
    return {".json": json.loads, ".toml": tomli.loads, ".yaml": yaml.safe_load}[Path(name).suffix](text)


def asked_for(name: str) -> set[str]:
    """The variables that a host's file sets or asks for."""
    if name == "app.json":
        return set(read(name)["env"])
    if name == "render.yaml":
        return {each["key"] for each in read(name)["services"][0]["envVars"]}
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return {line.partition("=")[0] for line in lines if line[:1].isalpha()}


@pytest.mark.parametrize("name", ["app.json", "render.yaml", "packaging/container/settings.example"])
def test_what_is_asked_for_is_a_whole_configuration(name: str, tmp_path: Path) -> None:
    secrets = {"TCONNECT_PASSWORD", "NS_SECRET"} if "container" in name else set()
    names = asked_for(name) | secrets
    assert set(VALUES) <= names
    config = load_config(None, {**VALUES, "HOME": str(tmp_path)}, load_plugins(), system_file=tmp_path / "none")
    assert config.sources["tandem"].enabled
    assert config.sinks["nightscout-treatments"].enabled


def test_the_data_are_on_a_disk() -> None:
    service = read("render.yaml")["services"][0]
    fly = read("fly.toml")
    compose = read("packaging/container/compose.yaml")["services"]["tconnectsync"]
    assert service["type"] == "worker"
    assert service["disk"]["mountPath"] == fly["mounts"]["destination"] == "/data"
    assert "data:/data" in compose["volumes"]
    for path in (service["dockerfilePath"], fly["build"]["dockerfile"]):
        assert (ROOT / path).is_file()
    image = (ROOT / "packaging/container/Containerfile").read_text(encoding="utf-8")
    assert "TCONNECTSYNC_DATA_DIR=/data" in image
    assert "USER 10001" in image


def test_the_container_gets_its_secrets_as_files(tmp_path: Path) -> None:
    for name, secret in (("tandem-password", "hidden"), ("nightscout-api-secret", "site-hidden-1234")):
        (tmp_path / name).write_text(secret)
    around = {name: value for name, value in VALUES.items() if name not in ("TCONNECT_PASSWORD", "NS_SECRET")}
    around |= {"HOME": str(tmp_path), "CREDENTIALS_DIRECTORY": str(tmp_path)}
    config = load_config(None, around, load_plugins(), system_file=tmp_path / "none")
    assert config.sources["tandem"].options.password.reveal() == "hidden"
    assert config.sections["nightscout"].api_secret.reveal() == "site-hidden-1234"
    missing = load_config(
        None, {**VALUES, "HOME": str(tmp_path), "CREDENTIALS_DIRECTORY": str(tmp_path / "none")}, load_plugins(),
        system_file=tmp_path / "none",
    )  # fmt: skip
    assert missing.sources["tandem"].enabled
    compose = read("packaging/container/compose.yaml")
    assert set(compose["secrets"]) == {"tandem-password", "nightscout-api-secret"}
