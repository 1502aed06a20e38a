"""The services that the tconnect source is tested against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tconnect.fake_services import Services, SetClock, serving


@pytest.fixture
def services() -> Iterator[Services]:
    """An account with one pump of which nothing is known yet."""
    with serving(Services(SetClock())) as running:
        yield running
