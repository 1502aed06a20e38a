"""A pump that ran for a day, and a receiver that can be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reconcile.harness import DAY
from tests.support.engine.fakes import ReadableFakeReceiver
from tests.support.engine.harness import BEGIN, EngineHarness


@pytest.fixture
def receiver() -> ReadableFakeReceiver:
    """A receiver that can be read."""
    return ReadableFakeReceiver(batch_size=100)


@pytest.fixture
def harness(tmp_path: Path, receiver: ReadableFakeReceiver) -> Iterator[EngineHarness]:
    """A pump that ran for a day, all of it delivered; an hour a document."""
    made = EngineHarness(tmp_path, receiver=receiver)
    made.pump.every_min = 30
    made.clock.time = BEGIN + DAY
    assert made.ask("sync").status == 0
    yield made
    made.engine.close()
