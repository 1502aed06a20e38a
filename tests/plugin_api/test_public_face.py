"""The names that plugins import from ``tconnectsync``."""

from __future__ import annotations

from importlib import import_module

import pytest

import tconnectsync


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
