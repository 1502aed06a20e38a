"""The names that plugins import from ``tconnectsync``."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import tconnectsync
from tconnectsync import Context, SourceSpec, option, testing

GUIDE = Path(__file__).parents[2] / "docs" / "engineering" / "plugin-guide.md"


@pytest.mark.parametrize("name", [*tconnectsync.__all__, *tconnectsync._FORMER_NAMES])
def test_name_can_be_imported(name: str) -> None:
    """Names are looked up when first used, so a moved module would be noticed by a user only."""
    assert getattr(tconnectsync, name) is not None


@pytest.mark.parametrize(
    "name", ["file", "fleet", "influxdb", "mqtt", "nightscout", "simulator", "tandem", "tconnect", "web"]
)
def test_plugin_imports(name: str) -> None:
    """Each bundled plugin loads alone."""
    assert import_module(f"tconnectsync_{name}").__doc__


def test_guide_lists_all_names() -> None:
    """The last table of the guide has each name that plugins can import, and no other."""
    table = GUIDE.read_text().partition("\n## Reference: all names\n")[2]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    listed = [name for row in rows for name in re.findall(r"`(\w+)", row)]
    assert sorted(listed) == sorted(set(tconnectsync.__all__) - {"__version__"})


def test_guide_lists_names_for_tests() -> None:
    """The table of ``tconnectsync.testing`` has each name that tests of plugins can import, and no other."""
    table = GUIDE.read_text().partition("\n## Reference: tests\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    listed = [name for row in rows for name in re.findall(r"`(\w+)", row)]
    assert sorted(listed) == sorted(testing.__all__)
    assert all(getattr(testing, name) is not None for name in listed)


@pytest.mark.parametrize("what", [option, SourceSpec, Context])
def test_guide_lists_fields(what: Any) -> None:
    """The guide names each argument of ``option``, and each field of a plugin author's values."""
    text = GUIDE.read_text()
    names = [name for name in inspect.signature(what).parameters if name != "default"]
    assert [name for name in names if not re.search(rf"`{name}\b", text)] == []
