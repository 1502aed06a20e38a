"""Conditions of a query: what is found, what is deleted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulator.nightscout.sample_documents import EVERYTHING, LONG_AGO, ago, note
from tests.support.real_servers import Site


def test_without_a_date_only_the_last_four_days_are_found(server: Site) -> None:
    server.ask("POST", "treatments", json=[note(notes="new", created_at=ago(days=3.9))])
    server.ask("POST", "treatments", json=[note(notes="old", created_at=ago(days=4.1))])
    assert [body["notes"] for body in server.ask("GET", "treatments").json()] == ["new"]
    assert [body["notes"] for body in server.ask("GET", "treatments", params={"find[eventType]": "Note"}).json()] == [
        "new"
    ]
    assert len(server.ask("GET", "treatments", params=EVERYTHING).json()) == 2


def test_the_newest_come_first_and_count_limits_them(server: Site) -> None:
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
def test_conditions_choose(server: Site, find: dict[str, Any], found: str) -> None:
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
def test_a_date_that_cannot_be_read_is_an_error(server: Site, find: dict[str, str]) -> None:
    answer = server.ask("GET", "treatments", params=find)
    assert answer.status_code == 500
    assert answer.json()["error"]["message"].startswith("Cannot parse")


@pytest.mark.parametrize(
    "find",
    [{"find[created_at][$since]": "2020-01-01T00:00:00Z"}, {"find[enteredBy][$in]": "me"}, {"find[a][$b]": "1"}],
)
def test_query_refused_by_database(server: Site, find: dict[str, str]) -> None:
    """The answer is 200 without a list."""
    server.ask("POST", "treatments", json=note())
    answer = server.ask("GET", "treatments", params=find)
    assert answer.status_code == 200
    assert answer.text in {"", "null"}


def test_deleting_by_id_takes_one_whatever_its_date(server: Site) -> None:
    server.ask("POST", "treatments", json=[note(created_at=LONG_AGO), note()])
    old = server.documents("treatments")[1]
    assert server.ask("DELETE", f"treatments/{old['_id']}").status_code == 200
    assert server.ask("DELETE", f"treatments/{old['_id']}").status_code == 200
    assert [body["created_at"] for body in server.documents("treatments")] == [ago(hours=1)]


def test_deleting_by_conditions(server: Site) -> None:
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


def test_dropping_a_collection_leaves_the_others(server: Site) -> None:
    for collection in ("treatments", "activity", "devicestatus"):
        server.ask("POST", collection, json=note(created_at=LONG_AGO))
    for collection in ("treatments", "activity"):
        server.drop(collection)
    assert [len(server.documents(name)) for name in ("treatments", "activity", "devicestatus")] == [0, 0, 1]
