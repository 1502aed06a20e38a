"""The harness for tests of the Tandem source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clocks import FakeClock
from tests.tandem.fake_cloud import START, CloudPump, FakeCloud, TandemHarness, running


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[TandemHarness]:
    """An account with one pump that has no records yet."""
    clock = FakeClock(START)
    with running(FakeCloud(clock, [CloudPump()])) as cloud:
        yield TandemHarness(cloud, clock, tmp_path / "tandem")
