"""Receivers for a scripted site, and what is on it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from tconnectsync import Delivery, Secret
from tconnectsync_nightscout.api.client import NightscoutClient, header_of
from tconnectsync_nightscout.delivery.receiver import NightscoutReceiver
from tests.nightscout.deliveries import START, put
from tests.nightscout.stub_site import SECRET, StubSite
from tests.support.clocks import FakeClock

SINK = "nightscout-treatments"
OLD, NEW = "15.0.6", "15.0.7"
both = pytest.mark.parametrize("version", [OLD, NEW])


def receiver_of(site: StubSite, clock: FakeClock, sink: str = SINK) -> NightscoutReceiver:
    client = NightscoutClient(url=site.url, key=header_of(Secret(SECRET), None), clock=clock)
    return NightscoutReceiver(client, sink=sink, collections=("treatments", "activity", "devicestatus"))


def held(site: StubSite, collection: str = "treatments") -> dict[str, tuple[str, Mapping[str, Any]]]:
    """By identifier; asserts that there is one of each."""
    documents = [item for item in site.receiver_key[collection] if "identifier" in item]
    assert len({item["identifier"] for item in documents}) == len(documents)
    return {item["identifier"]: (item["created_at"], item) for item in documents}


def iob(value: float, at: datetime = START, **more: Any) -> Delivery:
    return put("iob", at, collection="activity", activityType="tconnect_iob", iob=value, **more)
