"""A site that answers as the test says, and a receiver for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tconnectsync_nightscout.delivery.receiver import NightscoutReceiver
from tests.nightscout.scripted_site.receivers import receiver_of
from tests.nightscout.stub_site import NOW, StubSite, running
from tests.support.clocks import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """A moving clock."""
    return FakeClock(NOW)


@pytest.fixture
def site() -> Iterator[StubSite]:
    """A scripted site."""
    with running(StubSite()) as stub:
        yield stub


@pytest.fixture
def receiver(site: StubSite, clock: FakeClock) -> Iterator[NightscoutReceiver]:
    """A receiver for the site."""
    made = receiver_of(site, clock)
    yield made
    made.client.close()
