"""The fixture ``harness`` of the tests of the engine's rooms: see :mod:`tests.support.engine.harness`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine.harness import EngineHarness


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[EngineHarness]:
    """An engine on an empty folder; its clock shows a day after the pump's first record."""
    harness = EngineHarness(tmp_path)
    yield harness
    harness.engine.close()
