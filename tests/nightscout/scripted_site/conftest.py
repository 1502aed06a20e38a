"""A site that answers as the test says, a client and a receiver for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tconnectsync import Secret
from tconnectsync_nightscout.api.client import NightscoutClient, header_of
from tconnectsync_nightscout.delivery.receiver import NightscoutReceiver
from tests.nightscout.scripted_site.receivers import receiver_of
from tests.nightscout.stub_site import NOW, SECRET, StubSite, running
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


@pytest.fixture
def client(site: StubSite, clock: FakeClock) -> Iterator[NightscoutClient]:
    """A client of the site, with its secret."""
    made = NightscoutClient(url=site.url, key=header_of(Secret(SECRET), None), clock=clock)
    yield made
    made.close()
