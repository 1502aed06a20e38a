"""The world that the Tandem source is tested in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tandem.fake_cloud import CloudPump, SetClock, TinyCloud, World, running


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An account with one pump that has no records yet."""
    clock = SetClock()
    with running(TinyCloud(clock, [CloudPump()])) as cloud:
        yield World(cloud, clock, tmp_path / "tandem")
