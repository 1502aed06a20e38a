"""The engine of :mod:`tests.engine.harness`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.harness import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An engine on an empty folder."""
    world = World(tmp_path)
    yield world
    world.engine.close()
