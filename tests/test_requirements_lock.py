"""The locked requirements fit the project's on every Python, have hashes, and name no package index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tomli
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "requirements.lock").read_text()
PROJECT = tomli.loads((ROOT / "pyproject.toml").read_text())
FLEET_TEXT = (ROOT / "requirements-fleet.lock").read_text()


def entries(text: str) -> list[str]:
    return [entry for entry in re.split(r"\n(?=\S)", text) if not entry.startswith("#")]


def requirements(entries: list[str]) -> list[Requirement]:
    return [Requirement(re.split(r"\s\\\s", entry)[0].strip()) for entry in entries]


ENTRIES, FLEET_ENTRIES = entries(TEXT), entries(FLEET_TEXT)
LOCKED, FLEET_LOCKED = requirements(ENTRIES), requirements(FLEET_ENTRIES)
NETWORK = {
    "cryptography",
    "pyjwt",
    "requests",
    "urllib3",
    "waitress",
    "flask",
    "werkzeug",
    "apprise",
    "prometheus-client",
}


def wanted() -> list[Requirement]:
    project = PROJECT["project"]
    lines = [
        *project["dependencies"],
        *project["optional-dependencies"]["web"],
        *project["optional-dependencies"]["alerts"],
        *PROJECT["build-system"]["requires"],
    ]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "armv7l"])
def test_requirements_are_locked(python: str, machine: str) -> None:
    """Once for each Python and machine."""
    around = {
        "python_version": python, "python_full_version": f"{python}.4", "platform_machine": machine,
        "sys_platform": "linux", "os_name": "posix", "platform_system": "Linux",
        "implementation_name": "cpython", "platform_python_implementation": "CPython",
    }  # fmt: skip
    here = [one for one in LOCKED if one.marker is None or one.marker.evaluate(dict(around))]
    versions = {canonicalize_name(one.name): str(one.specifier).removeprefix("==") for one in here}
    assert len(versions) == len(here)
    for one in wanted():
        assert one.specifier.contains(versions[canonicalize_name(one.name)]), one


def test_lock_of_the_fleet_fits_beside_it() -> None:
    """It has what the extra asks for, and what both have is the same release."""
    here = {canonicalize_name(one.name): one for one in FLEET_LOCKED}
    for one in map(Requirement, PROJECT["project"]["optional-dependencies"]["fleet"]):
        assert one.specifier.contains(str(here[canonicalize_name(one.name)].specifier).removeprefix("==")), one
    assert "nkeys" in here
    names = {one.name for one in LOCKED}
    assert [one for one in FLEET_LOCKED if one.name in names and str(one) not in map(str, LOCKED)] == []


def test_everything_is_pinned_and_has_hashes() -> None:
    assert len(LOCKED) > 20
    for entry, one in zip([*ENTRIES, *FLEET_ENTRIES], [*LOCKED, *FLEET_LOCKED], strict=True):
        assert [each.operator for each in one.specifier] == ["=="], one
        assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}(?![0-9a-f])", entry)) >= 1, one


def test_no_place_is_named_to_get_them_from() -> None:
    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host|(^|\s)-[if]\s", TEXT + FLEET_TEXT)


def test_what_talks_to_the_network_has_a_floor() -> None:
    floors = {canonicalize_name(one.name): [each.operator for each in one.specifier] for one in wanted()}
    assert {name: floors.get(name) for name in NETWORK} == {name: [">="] for name in NETWORK}
