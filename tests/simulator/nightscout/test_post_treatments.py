"""Treatments that are posted or put, as every server before 15.0.7 stores them."""

from __future__ import annotations

import gzip
import json
from datetime import datetime, timezone

import pytest

from tests.simulator.nightscout.sample_documents import LONG_AGO, ago, note, without_id
from tests.support.real_servers import Site
from tests.support.simulated_nightscout.values import read_moment


def test_a_treatment_comes_back_as_it_was_posted(server: Site) -> None:
    body = note(created_at=LONG_AGO, identifier="a", insulin=1.25, extra={"deep": [1, 2]}, enteredBy="me", empty="")
    answer = server.ask("POST", "treatments", json=body)
    assert answer.status_code == 200
    assert without_id(answer.json()) == [{**body, "utcOffset": 0}]
    assert without_id(server.documents("treatments")) == [{**body, "utcOffset": 0}]
    assert len(server.documents("treatments")[0]["_id"]) == 24


def test_an_array_is_answered_with_its_documents_in_order(server: Site) -> None:
    answer = server.ask("POST", "treatments", json=[note(notes=str(n), created_at=ago(minutes=n)) for n in range(5)])
    assert [body["notes"] for body in answer.json()] == ["0", "1", "2", "3", "4"]
    assert [body["notes"] for body in server.documents("treatments")] == ["0", "1", "2", "3", "4"]


def test_a_gzipped_body_is_accepted(server: Site) -> None:
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
def test_dates_become_utc_with_milliseconds(server: Site, sent: object, stored: str, offset: int) -> None:
    server.ask("POST", "treatments", json=note(created_at=sent))
    assert [(body["created_at"], body["utcOffset"]) for body in server.documents("treatments")] == [(stored, offset)]


@pytest.mark.parametrize("sent", ["garbage", None, "", "2025-13-45T00:00:00Z"])
def test_an_invalid_date_becomes_now_without_an_error(server: Site, sent: object) -> None:
    assert server.ask("POST", "treatments", json=note(created_at=sent)).status_code == 200
    stored = read_moment(server.documents("treatments")[0]["created_at"])
    assert stored is not None
    assert abs((stored.at - datetime.now(timezone.utc)).total_seconds()) < 60


def test_zeros_and_empty_texts_are_dropped(server: Site) -> None:
    """Except `absolute` and `duration`."""
    zeros = dict.fromkeys(("insulin", "carbs", "percent", "relative", "absolute", "duration", "targetTop"), 0)
    server.ask("POST", "treatments", json=note(**zeros, notes="", glucose=0, glucoseType="Sensor", units="mg/dl"))
    assert without_id(server.documents("treatments")) == [note(utcOffset=0, absolute=0, duration=0)]


def test_texts_become_numbers_and_what_is_none_is_dropped(server: Site) -> None:
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


def test_an_announcement_is_marked_as_one(server: Site) -> None:
    server.ask("POST", "treatments", json=note(eventType="Announcement"))
    assert server.documents("treatments")[0]["isAnnouncement"] is True


def test_posting_again_replaces_document(server: Site) -> None:
    """It keeps its id."""
    first = server.ask("POST", "treatments", json=note(insulin=1, extra=1)).json()[0]["_id"]
    second = server.ask("POST", "treatments", json=note(carbs=2)).json()[0]
    assert "_id" not in second
    assert server.documents("treatments") == [note(carbs=2, utcOffset=0, _id=first)]


def test_two_documents_of_one_time_and_type(server: Site) -> None:
    """One is lost, with status 200."""
    pair = [note(identifier="a", notes="first"), note(identifier="b", notes="second")]
    assert server.ask("POST", "treatments", json=pair).status_code == 200
    assert [body["notes"] for body in server.documents("treatments")] == ["second"]


def test_a_millisecond_or_another_type_keeps_them_apart(server: Site) -> None:
    apart = [note(created_at="2025-01-01T00:00:00.001Z"), note(created_at="2025-01-01T00:00:00.002Z")]
    server.ask("POST", "treatments", json=[*apart, {**apart[0], "eventType": "Other"}, {"created_at": ago(hours=1)}])
    assert len(server.documents("treatments")) == 4


def test_identifier_with_moved_date_is_doubled(server: Site) -> None:
    server.ask("POST", "treatments", json=note(identifier="a", created_at=ago(hours=2)))
    server.ask("POST", "treatments", json=note(identifier="a", created_at=ago(hours=3)))
    assert [body["identifier"] for body in server.documents("treatments")] == ["a", "a"]


def test_a_clash_of_client_ids_stops_the_array_there(server: Site) -> None:
    server.ask("POST", "treatments", json=note(created_at=ago(hours=5)))
    first, clash, last = note(created_at=ago(hours=4)), note(created_at=ago(hours=5), _id="mine"), note()
    assert server.ask("POST", "treatments", json=[first, clash, last]).status_code == 500
    assert [body["created_at"] for body in server.documents("treatments")] == [ago(hours=4), ago(hours=5)]


def test_client_id_is_stored_as_text(server: Site) -> None:
    """Deleting does not find it."""
    chosen = "0123456789abcdef01234567"
    assert server.ask("POST", "treatments", json=note(_id=chosen)).status_code == 200
    assert server.ask("DELETE", f"treatments/{chosen}").status_code == 200
    assert [body["_id"] for body in server.documents("treatments")] == [chosen]


@pytest.mark.parametrize("body", ["{", "null", "[1]"])
@pytest.mark.parametrize("accept", ["application/json", "*/*"])
def test_a_body_that_is_no_document_is_an_error(server: Site, body: str, accept: str) -> None:
    headers = {"Content-Type": "application/json", "Accept": accept}
    answer = server.ask("POST", "treatments", data=body, headers=headers)
    assert answer.status_code == (500 if body == "[1]" else 400)
    assert answer.headers["Content-Type"].split(";")[0] == ("application/json" if "json" in accept else "text/html")
    assert server.documents("treatments") == []


def test_an_empty_array_stores_nothing(server: Site) -> None:
    assert server.ask("POST", "treatments", json=[]).json() == []


def test_put_replaces_by_id(server: Site) -> None:
    server.ask("POST", "treatments", json=note(insulin=1))
    name = server.documents("treatments")[0]["_id"]
    assert server.ask("PUT", "treatments", json=note(_id=name, eventType="Bolus", insulin=2)).status_code == 200
    assert server.documents("treatments") == [note(_id=name, eventType="Bolus", insulin=2, utcOffset=0)]
