"""The simulated Nightscout: first what it must share with a real one, tried on both; then what differs since 15.0.7."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from tests.support.real_servers import Site
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.simulated_nightscout.faults import SiteFault
from tests.support.simulated_nightscout.values import iso, number, read_moment

NOW = datetime.now(timezone.utc).replace(microsecond=0)
LONG_AGO = "2019-05-06T07:08:09.123Z"
EVERYTHING = {"find[created_at][$gte]": "2000-01-01T00:00:00.000Z", "count": "1000"}


def ago(**amount: float) -> str:
    return iso(NOW - timedelta(**amount))


def note(**fields: Any) -> dict[str, Any]:
    return {"eventType": "Note", "created_at": ago(hours=1), **fields}


def without_id(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in document.items() if key != "_id"} for document in documents]


@pytest.fixture
def session() -> Iterator[requests.Session]:
    """Requests that ignore the environment."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def client_of(session: requests.Session) -> Callable[[SimulatedNightscout], Site]:
    """The client that also talks to the real one."""
    return lambda simulated: Site(url=simulated.url, secret=simulated.secret, session=session)


class TestEveryServerBefore1507:
    """One contract for the simulation and the real server: a difference shows that the simulation flatters."""

    @pytest.fixture(params=["0.12.8", "15.0.6", pytest.param("real", marks=pytest.mark.real)])
    def server(
        self, request: pytest.FixtureRequest, client_of: Callable[[SimulatedNightscout], Site]
    ) -> Iterator[Site]:
        """A simulated site of each release, and the real one."""
        if request.param == "real":
            yield request.getfixturevalue("site")
            return
        with SimulatedNightscout(version=request.param) as simulated:
            yield client_of(simulated)

    def test_a_treatment_comes_back_as_it_was_posted(self, server: Site) -> None:
        body = note(created_at=LONG_AGO, identifier="a", insulin=1.25, extra={"deep": [1, 2]}, enteredBy="me", empty="")
        answer = server.ask("POST", "treatments", json=body)
        assert answer.status_code == 200
        assert without_id(answer.json()) == [{**body, "utcOffset": 0}]
        assert without_id(server.documents("treatments")) == [{**body, "utcOffset": 0}]
        assert len(server.documents("treatments")[0]["_id"]) == 24

    def test_an_array_is_answered_with_its_documents_in_order(self, server: Site) -> None:
        answer = server.ask(
            "POST", "treatments", json=[note(notes=str(n), created_at=ago(minutes=n)) for n in range(5)]
        )
        assert [body["notes"] for body in answer.json()] == ["0", "1", "2", "3", "4"]
        assert [body["notes"] for body in server.documents("treatments")] == ["0", "1", "2", "3", "4"]

    def test_a_gzipped_body_is_accepted(self, server: Site) -> None:
        body = gzip.compress(json.dumps([note(notes="packed")]).encode())
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        assert server.ask("POST", "treatments", data=body, headers=headers).status_code == 200
        assert [body["notes"] for body in server.documents("treatments")] == ["packed"]

    @pytest.mark.parametrize(
        ("sent", "stored", "offset"),
        [
            ("2025-11-18T13:12:40-05:00", "2025-11-18T18:12:40.000Z", -300),
            ("2025-11-18T13:12:40.123456Z", "2025-11-18T13:12:40.123Z", 0),
            ("2025-11-18T13:12:40.7+0530", "2025-11-18T07:42:40.700Z", 330),
            ("2025-11-18", "2025-11-18T00:00:00.000Z", 0),
            (0, "1970-01-01T00:00:00.000Z", 0),
        ],
    )
    def test_dates_become_utc_with_milliseconds(self, server: Site, sent: object, stored: str, offset: int) -> None:
        server.ask("POST", "treatments", json=note(created_at=sent))
        assert [(body["created_at"], body["utcOffset"]) for body in server.documents("treatments")] == [
            (stored, offset)
        ]

    @pytest.mark.parametrize("sent", ["garbage", None, "", "2025-13-45T00:00:00Z"])
    def test_an_invalid_date_becomes_now_without_an_error(self, server: Site, sent: object) -> None:
        assert server.ask("POST", "treatments", json=note(created_at=sent)).status_code == 200
        stored = read_moment(server.documents("treatments")[0]["created_at"])
        assert stored is not None
        assert abs((stored.at - datetime.now(timezone.utc)).total_seconds()) < 60

    def test_zeros_and_empty_texts_are_dropped(self, server: Site) -> None:
        """Except `absolute` and `duration`."""
        zeros = dict.fromkeys(("insulin", "carbs", "percent", "relative", "absolute", "duration", "targetTop"), 0)
        server.ask("POST", "treatments", json=note(**zeros, notes="", glucose=0, glucoseType="Sensor", units="mg/dl"))
        assert without_id(server.documents("treatments")) == [note(utcOffset=0, absolute=0, duration=0)]

    def test_texts_become_numbers_and_what_is_none_is_dropped(self, server: Site) -> None:
        odd = {
            "insulin": "1.50",
            "carbs": "some",
            "duration": "long",
            "absolute": None,
            "percent": -10,
            "relative": "0",
        }
        server.ask("POST", "treatments", json=note(**odd, foo=None))
        assert without_id(server.documents("treatments")) == [
            note(utcOffset=0, insulin=1.5, absolute=0, percent=-10, foo=None)
        ]

    def test_an_announcement_is_marked_as_one(self, server: Site) -> None:
        server.ask("POST", "treatments", json=note(eventType="Announcement"))
        assert server.documents("treatments")[0]["isAnnouncement"] is True

    def test_posting_again_replaces_document(self, server: Site) -> None:
        """It keeps its id."""
        first = server.ask("POST", "treatments", json=note(insulin=1, extra=1)).json()[0]["_id"]
        second = server.ask("POST", "treatments", json=note(carbs=2)).json()[0]
        assert "_id" not in second
        assert server.documents("treatments") == [note(carbs=2, utcOffset=0, _id=first)]

    def test_two_documents_of_one_time_and_type(self, server: Site) -> None:
        """One is lost, with status 200."""
        pair = [note(identifier="a", notes="first"), note(identifier="b", notes="second")]
        assert server.ask("POST", "treatments", json=pair).status_code == 200
        assert [body["notes"] for body in server.documents("treatments")] == ["second"]

    def test_a_millisecond_or_another_type_keeps_them_apart(self, server: Site) -> None:
        apart = [note(created_at="2025-01-01T00:00:00.001Z"), note(created_at="2025-01-01T00:00:00.002Z")]
        server.ask(
            "POST", "treatments", json=[*apart, {**apart[0], "eventType": "Other"}, {"created_at": ago(hours=1)}]
        )
        assert len(server.documents("treatments")) == 4

    def test_identifier_with_moved_date_is_doubled(self, server: Site) -> None:
        server.ask("POST", "treatments", json=note(identifier="a", created_at=ago(hours=2)))
        server.ask("POST", "treatments", json=note(identifier="a", created_at=ago(hours=3)))
        assert [body["identifier"] for body in server.documents("treatments")] == ["a", "a"]

    def test_a_clash_of_client_ids_stops_the_array_there(self, server: Site) -> None:
        server.ask("POST", "treatments", json=note(created_at=ago(hours=5)))
        first, clash, last = note(created_at=ago(hours=4)), note(created_at=ago(hours=5), _id="mine"), note()
        assert server.ask("POST", "treatments", json=[first, clash, last]).status_code == 500
        assert [body["created_at"] for body in server.documents("treatments")] == [ago(hours=4), ago(hours=5)]

    def test_client_id_is_stored_as_text(self, server: Site) -> None:
        """Deleting does not find it."""
        chosen = "0123456789abcdef01234567"
        assert server.ask("POST", "treatments", json=note(_id=chosen)).status_code == 200
        assert server.ask("DELETE", f"treatments/{chosen}").status_code == 200
        assert [body["_id"] for body in server.documents("treatments")] == [chosen]

    @pytest.mark.parametrize("body", ["{", "null", "[1]"])
    @pytest.mark.parametrize("accept", ["application/json", "*/*"])
    def test_a_body_that_is_no_document_is_an_error(self, server: Site, body: str, accept: str) -> None:
        headers = {"Content-Type": "application/json", "Accept": accept}
        answer = server.ask("POST", "treatments", data=body, headers=headers)
        assert answer.status_code == (500 if body == "[1]" else 400)
        assert answer.headers["Content-Type"].split(";")[0] == ("application/json" if "json" in accept else "text/html")
        assert server.documents("treatments") == []

    def test_an_empty_array_stores_nothing(self, server: Site) -> None:
        assert server.ask("POST", "treatments", json=[]).json() == []

    def test_without_a_date_only_the_last_four_days_are_found(self, server: Site) -> None:
        server.ask("POST", "treatments", json=[note(notes="new", created_at=ago(days=3.9))])
        server.ask("POST", "treatments", json=[note(notes="old", created_at=ago(days=4.1))])
        assert [body["notes"] for body in server.ask("GET", "treatments").json()] == ["new"]
        assert [
            body["notes"] for body in server.ask("GET", "treatments", params={"find[eventType]": "Note"}).json()
        ] == ["new"]
        assert len(server.ask("GET", "treatments", params=EVERYTHING).json()) == 2

    def test_the_newest_come_first_and_count_limits_them(self, server: Site) -> None:
        server.ask("POST", "treatments", json=[note(notes=str(n), created_at=ago(minutes=n)) for n in (3, 1, 2)])
        found = server.ask("GET", "treatments.json", params={"count": "2"}).json()
        assert [body["notes"] for body in found] == ["1", "2"]
        assert all(body["carbs"] is None and body["insulin"] is None for body in found)

    @pytest.mark.parametrize(
        ("find", "found"),
        [
            ({"find[created_at][$gte]": "2020-01-02T00:00:00.000Z"}, "bcd"),
            (
                {"find[created_at][$gte]": "2020-01-02T00:00:00Z", "find[created_at][$lte]": "2020-01-03T00:00:00Z"},
                "bc",
            ),
            ({"find[created_at][$gte]": "2020-01-02T01:00:00+01:00"}, "bcd"),
            ({"find[created_at][$gt]": "2020-01-02", "find[created_at][$lt]": "2020-01-04"}, "c"),
            ({"find[created_at][$gte]": "2020-01-01", "find[enteredBy]": "me"}, "ab"),
            ({"find[created_at][$gte]": "2020-01-01", "find[enteredBy][$ne]": "me"}, "cd"),
            ({"find[created_at][$gte]": "2020-01-01", "find[enteredBy][$in][]": ["me", "you"]}, "abc"),
            ({"find[created_at][$gte]": "2020-01-01", "find[enteredBy][$in][0]": "you"}, "c"),
            ({"find[created_at][$gte]": "2020-01-01", "find[enteredBy][$regex]": "^Pump \\("}, "d"),
            ({"find[created_at][$gte]": "2020-01-01", "find[enteredBy]": "/^pump/i"}, "d"),
            ({"find[created_at][$gte]": "2020-01-01", "find[eventType]": "Bolus"}, "c"),
            ({"find[created_at][$gte]": "2020-01-01", "find[eventType][$in][]": ["Bolus", "Note"]}, "abcd"),
            ({"find[created_at][$gte]": "2020-01-01", "find[identifier]": "b"}, "b"),
            ({"find[created_at][$gte]": "2020-01-01", "find[identifier][$in][]": ["a", "d", "x"]}, "ad"),
            ({"find[created_at][$gte]": "2020-01-01", "find[identifier][$exists]": "true"}, "abcd"),
            ({"find[created_at][$gte]": "2020-01-01", "find[nothing][$exists]": "true"}, ""),
            ({"find[created_at][$gte]": "2020-01-01", "find[insulin][$gte]": "2"}, "c"),
            ({"find[created_at][$gte]": "2020-01-01", "find[pump.serial]": "7"}, "d"),
            ({"find[created_at][$gte]": "2020-01-01", "find[duration]": "30"}, ""),
        ],
    )
    def test_conditions_choose(self, server: Site, find: dict[str, Any], found: str) -> None:
        server.ask(
            "POST",
            "treatments",
            json=[
                note(identifier="a", created_at="2020-01-01T00:00:00Z", enteredBy="me", duration=30),
                note(identifier="b", created_at="2020-01-02T00:00:00Z", enteredBy="me"),
                note(identifier="c", created_at="2020-01-03T00:00:00Z", enteredBy="you", eventType="Bolus", insulin=2),
                note(identifier="d", created_at="2020-01-04T00:00:00Z", enteredBy="Pump (x)", pump={"serial": "7"}),
            ],
        )
        answer = server.ask("GET", "treatments", params={**find, "count": "100"})
        assert "".join(sorted(body["identifier"] for body in answer.json())) == found

    @pytest.mark.parametrize(
        "find",
        [
            {"find[created_at][$gte]": "garbage"},
            # An equality on a date is read letter by letter, and its first hyphen is no date.
            {"find[created_at]": "2020-01-01T00:00:00.000Z"},
            # An unencoded `+` that became a space in the middle of a date with microseconds.
            {"find[created_at][$gte]": "2022-12-02 06:47:45.300389 00:00"},
        ],
    )
    def test_a_date_that_cannot_be_read_is_an_error(self, server: Site, find: dict[str, str]) -> None:
        answer = server.ask("GET", "treatments", params=find)
        assert answer.status_code == 500
        assert answer.json()["error"]["message"].startswith("Cannot parse")

    @pytest.mark.parametrize(
        "find",
        [{"find[created_at][$since]": "2020-01-01T00:00:00Z"}, {"find[enteredBy][$in]": "me"}, {"find[a][$b]": "1"}],
    )
    def test_query_refused_by_database(self, server: Site, find: dict[str, str]) -> None:
        """The answer is 200 without a list."""
        server.ask("POST", "treatments", json=note())
        answer = server.ask("GET", "treatments", params=find)
        assert answer.status_code == 200
        assert answer.text in {"", "null"}

    def test_deleting_by_id_takes_one_whatever_its_date(self, server: Site) -> None:
        server.ask("POST", "treatments", json=[note(created_at=LONG_AGO), note()])
        old = server.documents("treatments")[1]
        assert server.ask("DELETE", f"treatments/{old['_id']}").status_code == 200
        assert server.ask("DELETE", f"treatments/{old['_id']}").status_code == 200
        assert [body["created_at"] for body in server.documents("treatments")] == [ago(hours=1)]

    def test_deleting_by_conditions(self, server: Site) -> None:
        """Every match is deleted; without a date only new ones."""
        old = [note(created_at=f"2020-01-{day:02d}T00:00:00Z") for day in range(1, 21)]
        server.ask("POST", "treatments", json=[*old, note(), note(eventType="Other")])
        server.ask("DELETE", "treatments", params={"find[eventType]": "Note"})
        assert len(server.documents("treatments")) == 21
        server.ask("DELETE", "treatments", params={"find[eventType]": "Note", "find[created_at][$gte]": "2020-01-02"})
        assert sorted(body["created_at"][:10] for body in server.documents("treatments")) == [
            "2020-01-01",
            ago(hours=1)[:10],
        ]

    def test_put_replaces_by_id(self, server: Site) -> None:
        server.ask("POST", "treatments", json=note(insulin=1))
        name = server.documents("treatments")[0]["_id"]
        assert server.ask("PUT", "treatments", json=note(_id=name, eventType="Bolus", insulin=2)).status_code == 200
        assert server.documents("treatments") == [note(_id=name, eventType="Bolus", insulin=2, utcOffset=0)]

    @pytest.mark.parametrize("collection", ["activity", "devicestatus"])
    def test_activity_and_device_status_are_doubled(self, server: Site, collection: str) -> None:
        """They are stored as often as they are posted."""
        body = {"created_at": ago(minutes=5), "identifier": "a", "device": "pump", "iob": 0}
        for _ in range(2):
            assert server.ask("POST", collection, json=[body, body]).status_code == 200
        found = server.documents(collection)
        assert [{key: document[key] for key in body} for document in found] == [body] * 4
        assert len({document["_id"] for document in found}) == 4

    @pytest.mark.parametrize("collection", ["activity", "devicestatus"])
    def test_find_and_delete_activity(self, server: Site, collection: str) -> None:
        """Activity and device status are found and deleted like treatments."""
        server.ask("POST", collection, json=[{"created_at": LONG_AGO, "identifier": "old"}])
        server.ask("POST", collection, json=[{"created_at": ago(minutes=m), "identifier": str(m)} for m in range(12)])
        assert len(server.ask("GET", collection, params={"count": "100"}).json()) == 12
        assert [body["identifier"] for body in server.ask("GET", collection, params={"count": "1"}).json()] == ["0"]
        one = server.ask("GET", collection, params={**EVERYTHING, "find[identifier]": "old"}).json()
        assert [body["identifier"] for body in one] == ["old"]
        assert server.ask("DELETE", f"{collection}/{one[0]['_id']}").status_code == 200
        assert len(server.documents(collection)) == 12

    def test_one_device_status_gets_a_clean_date(self, server: Site) -> None:
        server.ask("POST", "devicestatus", json={"created_at": "2025-11-18T13:12:40-05:00", "device": "pump"})
        stored = server.documents("devicestatus")[0]
        assert (stored["created_at"], stored["utcOffset"]) == ("2025-11-18T18:12:40.000Z", -300)

    def test_entries_are_known_by_their_time_and_type(self, server: Site) -> None:
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

    def test_post_and_put_profile(self, server: Site) -> None:
        """POST adds one, PUT changes one."""
        for day in ("2025-01-01", "2025-01-02"):
            assert server.ask("POST", "profile", json={"startDate": day, "store": {}}).status_code == 200
        newest = server.ask("GET", "profile.json").json()[0]
        assert newest["startDate"] == "2025-01-02"
        server.ask("PUT", "profile", json={"_id": newest["_id"], "startDate": "2024-01-01"})
        assert [body["startDate"] for body in server.documents("profile")] == ["2025-01-01", "2024-01-01"]
        server.ask("DELETE", f"profile/{newest['_id']}")
        assert len(server.documents("profile")) == 1

    def test_wrong_secret_cannot_write(self, server: Site) -> None:
        """`verifyauth` answers 200 all the same."""
        wrong = {"api-secret": "0" * 40}
        for method, path in (
            ("POST", "treatments"),
            ("DELETE", "treatments"),
            ("PUT", "treatments"),
            ("POST", "entries"),
        ):
            assert server.ask(method, path, headers=wrong, json=note()).status_code == 401
        answer = server.ask("GET", "verifyauth", headers=wrong)
        assert (answer.status_code, "UNAUTHORIZED" in answer.text) == (200, True)
        answer = server.ask("GET", "verifyauth")
        assert (answer.status_code, "UNAUTHORIZED" in answer.text) == (200, False)
        assert server.documents("treatments") == []

    def test_everybody_may_read_a_public_site(self, server: Site) -> None:
        server.ask("POST", "treatments", json=note())
        assert len(server.session.get(f"{server.url}api/v1/treatments.json").json()) == 1
        assert server.session.post(f"{server.url}api/v1/treatments", json=note()).status_code == 401

    def test_the_status_page_tells_version_and_plugins(self, server: Site) -> None:
        status = server.ask("GET", "status.json").json()
        assert status["version"][0].isdigit()
        assert status["careportalEnabled"] is True
        assert "careportal" in status["settings"]["enable"]
        assert status["settings"]["units"].lower() == "mg/dl"

    def test_unknown_paths_are_pages_with_404(self, server: Site) -> None:
        for path in ("nothing", "nothing.json"):
            assert server.ask("GET", path).status_code == 404

    def test_dropping_a_collection_leaves_the_others(self, server: Site) -> None:
        for collection in ("treatments", "activity", "devicestatus"):
            server.ask("POST", collection, json=note(created_at=LONG_AGO))
        for collection in ("treatments", "activity"):
            server.drop(collection)
        assert [len(server.documents(name)) for name in ("treatments", "activity", "devicestatus")] == [0, 0, 1]


class TestServersSince1507:
    @pytest.fixture
    def simulated(self) -> Iterator[SimulatedNightscout]:
        """A simulated 15.0.7."""
        with SimulatedNightscout(version="15.0.7") as simulated:
            yield simulated

    @pytest.fixture
    def server(self, simulated: SimulatedNightscout, client_of: Callable[[SimulatedNightscout], Site]) -> Site:
        """A client of the site."""
        return client_of(simulated)

    def test_identifier_with_moved_date_is_updated(self, server: Site) -> None:
        first = server.ask("POST", "treatments", json=note(identifier="a", created_at=ago(hours=2))).json()[0]
        again = server.ask("POST", "treatments", json=note(identifier="a", created_at=ago(hours=3))).json()[0]
        assert first["_id"] == again["_id"]
        assert [body["created_at"] for body in server.documents("treatments")] == [ago(hours=3)]

    def test_identifiers_of_one_time_and_type(self, server: Site) -> None:
        """Identifiers keep such documents apart."""
        server.ask("POST", "treatments", json=[note(identifier="a"), note(identifier="b")])
        server.ask("POST", "treatments", json=[note(identifier="b"), note(identifier="a")])
        assert sorted(body["identifier"] for body in server.documents("treatments")) == ["a", "b"]

    def test_document_stored_without_identifier(self, server: Site) -> None:
        """One with an identifier doubles it."""
        server.ask("POST", "treatments", json=note())
        server.ask("POST", "treatments", json=note(identifier="a"))
        assert len(server.documents("treatments")) == 2

    def test_posting_without_identifier(self, server: Site) -> None:
        """It replaces by time and type, and loses the identifier."""
        server.ask("POST", "treatments", json=note(identifier="a"))
        server.ask("POST", "treatments", json=note(notes="bare"))
        assert without_id(server.documents("treatments")) == [note(notes="bare", utcOffset=0)]

    def test_a_client_id_upserts(self, server: Site) -> None:
        chosen = "0123456789abcdef01234567"
        for hours in (1, 2):
            assert (
                server.ask("POST", "treatments", json=note(_id=chosen, created_at=ago(hours=hours))).status_code == 200
            )
        assert [body["created_at"] for body in server.documents("treatments")] == [ago(hours=2)]
        server.ask("DELETE", f"treatments/{chosen}")
        assert server.documents("treatments") == []

    def test_a_refused_question_is_answered_with_null(self, server: Site) -> None:
        assert server.ask("GET", "treatments", params={"find[a][$b]": "1"}).text == "null"

    def test_default_counts(self, server: Site) -> None:
        """100 treatments without conditions, 1,000 with them."""
        server.ask("POST", "treatments", json=[note(created_at=ago(seconds=n)) for n in range(1100)])
        assert len(server.ask("GET", "treatments").json()) == 100
        assert len(server.ask("GET", "treatments", params={"find[eventType]": "Note"}).json()) == 1000
        assert len(server.ask("GET", "treatments", params={"count": "5000"}).json()) == 1100

    def test_an_upgrade_keeps_the_documents(self, simulated: SimulatedNightscout, server: Site) -> None:
        simulated.change_version("15.0.6")
        server.ask("POST", "treatments", json=note(identifier="a", created_at=ago(hours=2)))
        simulated.change_version("15.0.7")
        server.ask("POST", "treatments", json=note(identifier="a", created_at=ago(hours=3)))
        assert [body["created_at"] for body in server.documents("treatments")] == [ago(hours=3)]

    def test_a_wrong_secret_may_not_read_either(self, simulated: SimulatedNightscout, server: Site) -> None:
        assert server.ask("GET", "treatments", headers={"api-secret": "wrong"}).status_code == 401
        assert server.ask("GET", "status.json", headers={"api-secret": "wrong"}).status_code == 401
        assert simulated.refusals == 2

    def test_verifyauth_answers_an_object(self, server: Site) -> None:
        message = server.ask("GET", "verifyauth").json()["message"]
        assert message["canRead"]
        assert message["canWrite"]
        assert message["isAdmin"]

    def test_a_closed_site_shows_nothing_without_a_secret(
        self, client_of: Callable[[SimulatedNightscout], Site], session: requests.Session
    ) -> None:
        with SimulatedNightscout(public=False) as simulated:
            for path in ("status.json", "treatments.json"):
                assert session.get(f"{simulated.url}api/v1/{path}").status_code == 401
                assert client_of(simulated).ask("GET", path).status_code == 200

    def test_a_token_opens_what_its_rights_say(self, client_of: Callable[[SimulatedNightscout], Site]) -> None:
        tokens = {
            "writer-0123456789abcdef": ["api:treatments:create,read"],
            "blind-0123456789abcdef": ["api:treatments:create"],
        }
        with SimulatedNightscout(tokens=tokens, public=False) as simulated:
            server = client_of(simulated)
            writer, blind = ({"api-secret": token} for token in tokens)
            assert server.ask("POST", "treatments", headers=writer, json=note()).status_code == 200
            assert server.ask("GET", "treatments", headers=writer).status_code == 200
            assert server.ask("DELETE", "treatments", headers=writer).status_code == 401
            assert server.ask("POST", "devicestatus", headers=writer, json=note()).status_code == 401
            assert server.ask("POST", "treatments", headers=blind, json=note()).status_code == 401

    def test_without_careportal_the_routes_to_write_are_missing(
        self, client_of: Callable[[SimulatedNightscout], Site]
    ) -> None:
        with SimulatedNightscout(careportal=False) as simulated:
            server = client_of(simulated)
            assert server.ask("POST", "treatments", json=note()).status_code == 404
            assert server.ask("POST", "devicestatus", json=note()).status_code == 200
            assert server.ask("GET", "treatments").status_code == 200


class TestTrouble:
    @pytest.fixture
    def simulated(self) -> Iterator[SimulatedNightscout]:
        """A simulated 15.0.6."""
        with SimulatedNightscout(version="15.0.6") as simulated:
            yield simulated

    @pytest.fixture
    def server(self, simulated: SimulatedNightscout, client_of: Callable[[SimulatedNightscout], Site]) -> Site:
        """A client of the site."""
        return client_of(simulated)

    def test_a_fault_hits_as_many_fitting_requests_as_it_says(
        self, simulated: SimulatedNightscout, server: Site
    ) -> None:
        simulated.fail(SiteFault(status=503, times=2, method="POST", path="treatments", headers={"Retry-After": "7"}))
        assert server.ask("GET", "treatments").status_code == 200
        refused = [server.ask("POST", "treatments", json=note()) for _ in range(3)]
        assert [answer.status_code for answer in refused] == [503, 503, 200]
        assert refused[0].headers["Retry-After"] == "7"
        assert simulated.count("treatments") == 1

    def test_a_page_with_status_200_can_be_answered(self, simulated: SimulatedNightscout, server: Site) -> None:
        simulated.fail(SiteFault(status=200, body="<html>asleep</html>"))
        assert server.ask("GET", "status.json").text == "<html>asleep</html>"
        simulated.fail(SiteFault(status=500))
        simulated.mend()
        assert server.ask("GET", "status.json").status_code == 200

    @pytest.mark.parametrize(("moment", "stored"), [("before", 0), ("after", 1)])
    def test_the_connection_breaks_before_or_after_serving(
        self, simulated: SimulatedNightscout, server: Site, moment: str, stored: int
    ) -> None:
        simulated.fail(SiteFault(reset=moment))
        with pytest.raises(requests.ConnectionError):
            server.ask("POST", "treatments", json=note())
        assert simulated.count("treatments") == stored
        assert server.ask("GET", "treatments").status_code == 200

    def test_a_document_is_lost_silently(self, simulated: SimulatedNightscout, server: Site) -> None:
        simulated.fail(SiteFault(lose=1))
        answer = server.ask("POST", "treatments", json=[note(created_at=ago(hours=n)) for n in range(3)])
        assert len(answer.json()) == 3
        assert [body["created_at"] for body in simulated.documents("treatments")] == [ago(hours=0), ago(hours=2)]

    def test_an_array_stops_in_its_middle(self, simulated: SimulatedNightscout, server: Site) -> None:
        batch = [note(created_at=ago(hours=n)) for n in range(3)]
        simulated.fail(SiteFault(stop_at=1))
        assert server.ask("POST", "treatments", json=batch).status_code == 500
        assert simulated.count("treatments") == 1
        simulated.refuses = lambda body: body["created_at"] == ago(hours=2)
        assert server.ask("POST", "treatments", json=batch).status_code == 500
        assert simulated.count("treatments") == 2

    def test_database_down(self, simulated: SimulatedNightscout, server: Site) -> None:
        """Reads answer null, and the status stays good."""
        simulated.database_down = True
        assert server.ask("GET", "treatments").text == "null"
        assert server.ask("POST", "treatments", json=note()).status_code == 500
        assert server.ask("GET", "status.json").status_code == 200

    def test_site_down(self, simulated: SimulatedNightscout, server: Site) -> None:
        """It refuses connections, and comes back with its documents."""
        server.ask("POST", "treatments", json=note())
        with simulated.down(), pytest.raises(requests.ConnectionError):
            server.ask("GET", "status.json")
        assert len(server.ask("GET", "treatments").json()) == 1

    def test_delay_after_wrong_secret(self, client_of: Callable[[SimulatedNightscout], Site]) -> None:
        """Until a right one."""
        with SimulatedNightscout(refusal_wait_s=0.02) as simulated:
            server = client_of(simulated)
            server.ask("GET", "treatments", headers={"api-secret": "wrong"})
            assert server.ask("GET", "treatments").elapsed.total_seconds() >= 0.02
            assert simulated.refusals == 1

    def test_a_quiet_connection_is_closed(self, client_of: Callable[[SimulatedNightscout], Site]) -> None:
        with SimulatedNightscout(idle_s=0.01) as simulated:
            server = client_of(simulated)
            server.ask("GET", "status.json")
            end = time.monotonic() + 60
            while simulated.requests[-1].connection == 1:
                assert time.monotonic() < end
                time.sleep(0.05)
                server.ask("GET", "status.json")
            assert simulated.requests[0].connection == 1
            assert simulated.requests[-1].connection == 2

    def test_requests_are_remembered(self, simulated: SimulatedNightscout, server: Site) -> None:
        server.ask("POST", "treatments", json=[note(), note()])
        server.ask("GET", "treatments", params={"count": "3"})
        posted, read = simulated.requests
        assert (posted.method, posted.path, posted.documents) == ("POST", "/api/v1/treatments", 2)
        assert (read.query, read.documents, posted.connection, read.connection) == ("count=3", 0, 1, 1)
        assert posted.body == [note(), note()]
        assert server.secret not in repr(simulated.requests)

    def test_posts_at_the_same_time_are_counted(self, simulated: SimulatedNightscout) -> None:
        started, go_on = threading.Event(), threading.Event()

        def hold(body: dict[str, Any]) -> bool:
            started.set()
            go_on.wait(5)
            return False

        simulated.refuses = hold

        def post() -> None:
            with requests.Session() as session:
                Site(url=simulated.url, secret=simulated.secret, session=session).ask("POST", "treatments", json=note())

        posting = [threading.Thread(target=post) for _ in range(2)]
        posting[0].start()
        assert started.wait(5)
        posting[1].start()
        deadline = time.monotonic() + 5
        while not simulated.overlaps and time.monotonic() < deadline:
            time.sleep(0.002)
        go_on.set()
        for thread in posting:
            thread.join(5)
        assert simulated.overlaps == 1

    def test_dates_follow_the_clock_that_is_passed_in(self, session: requests.Session) -> None:
        then = datetime(2024, 2, 29, 12, tzinfo=timezone.utc)
        with SimulatedNightscout(now=lambda: then) as simulated:
            simulated.put("treatments", {"eventType": "Note", "created_at": "nonsense"})
            assert simulated.documents("treatments")[0]["created_at"] == "2024-02-29T12:00:00.000Z"
            answer = session.get(f"{simulated.url}api/v1/treatments")
            assert answer.headers["Date"] == "Thu, 29 Feb 2024 12:00:00 GMT"
            assert len(answer.json()) == 1

    def test_what_is_handed_out_is_a_copy(self, simulated: SimulatedNightscout) -> None:
        simulated.put("treatments", note(pump={"serial": "1"}))
        simulated.documents("treatments")[0]["pump"]["serial"] = "changed"
        assert simulated.documents("treatments")[0]["pump"]["serial"] == "1"


class TestValues:
    @given(at=st.datetimes(datetime(1970, 1, 1), datetime(2099, 1, 1)), minutes=st.integers(-14 * 60, 14 * 60))
    def test_a_date_survives_any_offset(self, at: datetime, minutes: int) -> None:
        at = at.replace(microsecond=at.microsecond // 1000 * 1000, tzinfo=timezone.utc)
        moment = read_moment(at.astimezone(timezone(timedelta(minutes=minutes))).isoformat())
        assert moment is not None
        assert (moment.at, moment.offset_minutes) == (at, minutes)
        assert read_moment(moment.text) == read_moment(iso(at))

    @pytest.mark.parametrize(
        ("value", "expected"),
        [(True, 1), (None, 0), ("", 0), (" 2.50 ", 2.5), ("1e3", 1000), ("x", None), ([], None), (float("nan"), None)],
    )
    def test_numbers_are_read_as_javascript_reads_them(self, value: object, expected: float | None) -> None:
        assert number(value) == expected
