"""The services that the tconnect source is tested against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.clocks import FakeClock
from tests.tconnect.fake_services import START, Services, serving


@pytest.fixture
def services() -> Iterator[Services]:
    """An account with one pump of which nothing is known yet."""
    with serving(Services(FakeClock(START))) as running:
        yield running
