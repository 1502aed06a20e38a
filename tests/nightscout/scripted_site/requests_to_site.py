"""A client's read and create, as the tests of the client call them."""

from __future__ import annotations

from tconnectsync_nightscout.api.client import NightscoutClient

FIND = [("created_at[$gte]", "2026-01-01T00:00:00.000Z")]
NOTE = {"eventType": "Note", "created_at": "2026-02-01T00:00:00.000Z", "identifier": "an-identifier"}


def read(client: NightscoutClient) -> list[dict[str, object]]:
    return client.read("treatments", FIND, count=10)


def create(client: NightscoutClient) -> list[dict[str, object]]:
    return client.create("treatments", [NOTE])
