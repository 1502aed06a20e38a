"""``activity``, ``devicestatus``, ``entries`` and ``profile``."""

from __future__ import annotations

import pytest

from tests.simulator.nightscout.sample_documents import EVERYTHING, LONG_AGO, NOW, ago
from tests.support.real_servers import Site
from tests.support.simulated_nightscout.values import iso


@pytest.mark.parametrize("collection", ["activity", "devicestatus"])
def test_activity_and_device_status_are_doubled(server: Site, collection: str) -> None:
    """They are stored as often as they are posted."""
    body = {"created_at": ago(minutes=5), "identifier": "a", "device": "pump", "iob": 0}
    for _ in range(2):
        assert server.ask("POST", collection, json=[body, body]).status_code == 200
    found = server.documents(collection)
    assert [{key: document[key] for key in body} for document in found] == [body] * 4
    assert len({document["_id"] for document in found}) == 4


@pytest.mark.parametrize("collection", ["activity", "devicestatus"])
def test_find_and_delete_activity(server: Site, collection: str) -> None:
    """Activity and device status are found and deleted like treatments."""
    server.ask("POST", collection, json=[{"created_at": LONG_AGO, "identifier": "old"}])
    server.ask("POST", collection, json=[{"created_at": ago(minutes=m), "identifier": str(m)} for m in range(12)])
    assert len(server.ask("GET", collection, params={"count": "100"}).json()) == 12
    assert [body["identifier"] for body in server.ask("GET", collection, params={"count": "1"}).json()] == ["0"]
    one = server.ask("GET", collection, params={**EVERYTHING, "find[identifier]": "old"}).json()
    assert [body["identifier"] for body in one] == ["old"]
    assert server.ask("DELETE", f"{collection}/{one[0]['_id']}").status_code == 200
    assert len(server.documents(collection)) == 12


def test_one_device_status_gets_a_clean_date(server: Site) -> None:
    server.ask("POST", "devicestatus", json={"created_at": "2025-11-18T13:12:40-05:00", "device": "pump"})
    stored = server.documents("devicestatus")[0]
    assert (stored["created_at"], stored["utcOffset"]) == ("2025-11-18T18:12:40.000Z", -300)


def test_entries_are_known_by_their_time_and_type(server: Site) -> None:
    at = int(NOW.timestamp() * 1000)
    sgv = {"type": "sgv", "date": at, "dateString": iso(NOW)}
    server.ask("POST", "entries", json=[{**sgv, "sgv": 100}])
    server.ask("POST", "entries", json=[{**sgv, "sgv": 101}, {"type": "mbg", "date": at, "mbg": 99}])
    server.ask("POST", "entries", json=[{"type": "sgv", "date": at - 5 * 86_400_000, "sgv": 5}])
    assert sorted((body["type"], body.get("sgv")) for body in server.ask("GET", "entries.json").json()) == [
        ("mbg", None),
        ("sgv", 101),
    ]
    assert [body["sgv"] for body in server.ask("GET", "entries", params={"find[type]": "sgv"}).json()] == [101]
    since = {"find[date][$gte]": str(at - 6 * 86_400_000), "count": "9"}
    assert len(server.ask("GET", "entries", params=since).json()) == 3
    assert all(body["sysTime"] for body in server.documents("entries"))


def test_post_and_put_profile(server: Site) -> None:
    """POST adds one, PUT changes one."""
    for day in ("2025-01-01", "2025-01-02"):
        assert server.ask("POST", "profile", json={"startDate": day, "store": {}}).status_code == 200
    newest = server.ask("GET", "profile.json").json()[0]
    assert newest["startDate"] == "2025-01-02"
    server.ask("PUT", "profile", json={"_id": newest["_id"], "startDate": "2024-01-01"})
    assert [body["startDate"] for body in server.documents("profile")] == ["2025-01-01", "2024-01-01"]
    server.ask("DELETE", f"profile/{newest['_id']}")
    assert len(server.documents("profile")) == 1
