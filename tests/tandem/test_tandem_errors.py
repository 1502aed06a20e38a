"""Error statuses, broken connections and endless answers never count as "no data"."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import attrs
import pytest
import requests

from tconnectsync import HttpClient, HttpLimits, HttpResponse, Retryable, SourceChanged, retry_after_s
from tconnectsync_tandem.api import transport
from tconnectsync_tandem.api.transport import BrokenAnswer, BrokenShape, TandemResponse, check_clock
from tconnectsync_tandem.polling.window_reader import PATIENCE
from tests.tandem.fake_cloud import START, FakeCloudFault, TandemHarness, basal


@pytest.mark.parametrize("path", ["/bff/pumper", "/bff/pump-logs"])
@pytest.mark.parametrize(
    ("fault", "error", "after_s"),
    [
        ({"status": 400, "body": b'{"name":"ZodError","issues":[{"code":"unrecognized_keys"}]}'}, SourceChanged, 3600),
        ({"status": 404, "body": b"<html><head><title>404 Not Found</title></head></html>"}, SourceChanged, 3600),
        ({"status": 403, "body": b"<html>The request is blocked</html>"}, Retryable, 1800),
        ({"status": 429, "headers": {"Retry-After": "240"}, "body": b""}, Retryable, 240),
        ({"status": 429, "body": b""}, Retryable, None),
        ({"status": 408, "body": b""}, Retryable, None),
        ({"status": 500, "body": b""}, Retryable, None),
        ({"status": 502, "body": b""}, Retryable, None),
        ({"status": 503, "headers": {"Retry-After": "60"}, "body": b""}, Retryable, 60),
        ({"status": 504, "body": b""}, Retryable, None),
        ({"status": 302, "headers": {"Location": "/login"}, "body": b""}, SourceChanged, 3600),
        ({"body": b"<html>maintenance</html>"}, SourceChanged, 3600),
        ({"body": b"null"}, SourceChanged, 3600),
        ({"body": b"[]"}, SourceChanged, 3600),
        ({"body": b"{}"}, SourceChanged, 3600),
        ({"body": b'{"pumps": null, "events": null}'}, SourceChanged, 3600),
        ({"body": b'{"pumps": [], "records": []}'}, SourceChanged, 3600),
        ({"body": b""}, Retryable, None),
        ({"cut": True}, Retryable, None),
        ({"reset": True}, Retryable, None),
    ],
)
def test_error_rows_are_no_data(
    harness: TandemHarness, path: str, fault: dict[str, Any], error: type[Exception], after_s: float | None
) -> None:
    """Every error row is recognised, and never counts as "no data"."""
    harness.cloud.faults.append(FakeCloudFault(path, times=999, **fault))
    with pytest.raises(error) as caught:
        harness.poll()
    assert isinstance(caught.value, Retryable)
    assert isinstance(caught.value, SourceChanged) == (error is SourceChanged)
    assert caught.value.after_s == after_s
    assert harness.log.of("window.fetched") == []
    assert len(harness.cloud.asked) < 6 + 2 * PATIENCE


def test_no_connection_is_no_reason_to_halve(harness: TandemHarness) -> None:
    harness.poll()
    harness.clock.advance(hours=7)
    nobody_there = attrs.evolve(harness.cloud.endpoints, login_page="http://127.0.0.1:9/page", client_id="other")
    with pytest.raises(Retryable, match="no connection"):
        harness.poll(harness.source(endpoints=nobody_there))
    assert harness.clock.slept_s == []


def test_passing_error_keeps_token(harness: TandemHarness) -> None:
    """After a temporary error it asks again once, and keeps the token."""
    harness.cloud.pumps[0].records = [basal(1, "2026-11-20T00:00:00")]
    harness.cloud.faults.append(FakeCloudFault("pump-logs", status=500, body=b""))
    harness.poll()
    assert harness.log.numbered() == [1]
    assert harness.cloud.count("/login") == 1
    assert harness.clock.slept_s == [2.0]
    assert len(harness.log.of("window.fetched")) == 2


@pytest.mark.parametrize("seconds", [0, 299, -299])
def test_five_minutes_between_the_clocks_are_tolerated(seconds: int) -> None:
    check_clock({"Date": _http(START.timestamp() + seconds)}, START, START, maybe_cached=False)


@pytest.mark.parametrize(("seconds", "way"), [(-301, "ahead of"), (-299, ""), (100, ""), (499, ""), (501, "behind")])
def test_clock_and_slow_answer(seconds: int, way: str) -> None:
    """An answer of 200 seconds carries a time at which it began or ended, or any between."""
    date = {"Date": _http(START.timestamp() + seconds)}
    with pytest.raises(Retryable, match=f"5 minutes {way}") if way else nullcontext():
        check_clock(date, START, START + timedelta(seconds=200), maybe_cached=False)


def test_slow_answer_with_a_clock_ahead(harness: TandemHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock two minutes ahead and a download of 200 seconds are no clock five minutes ahead."""
    harness.cloud.pumps[0].records = [basal(1, "2026-11-20T00:00:00")]
    harness.cloud.date_off_s = -120
    request = HttpClient.request

    def slow(client: HttpClient, *args: Any, **more: Any) -> HttpResponse:
        answer = request(client, *args, **more)
        harness.clock.advance(seconds=200)
        return answer

    monkeypatch.setattr(HttpClient, "request", slow)
    harness.poll()
    assert harness.log.numbered() == [1]


def test_cached_page_and_clock() -> None:
    """An old page from a cache says nothing about the clock."""
    hour_old = {"Date": _http(START.timestamp() - 3600)}
    check_clock(hour_old, START, START, maybe_cached=True)
    check_clock({**hour_old, "Age": "3600"}, START, START, maybe_cached=False)
    with pytest.raises(Retryable, match="60 minutes ahead"):
        check_clock(hour_old, START, START, maybe_cached=False)
    check_clock({"Date": "some day"}, START, START, maybe_cached=False)
    check_clock({}, START, START, maybe_cached=False)


def _http(seconds: float) -> str:
    from email.utils import formatdate

    return formatdate(seconds, usegmt=True)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        ("", None),
        ("soon", None),
        ("-5", None),
        (_http(START.timestamp() + 90), 90),
        ("86400", 4 * 3600.0),
        ("9" * 30, 4 * 3600.0),
    ],
)
def test_retry_after_is_a_number_or_a_date(text: str, seconds: float | None) -> None:
    answer = TandemResponse(status=429, headers={"Retry-After": text, "Date": _http(START.timestamp())}, body=b"")
    assert retry_after_s(answer) == seconds


def test_a_read_that_times_out_is_a_broken_answer(harness: TandemHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    harness.poll()

    def never(*_: Any, **__: Any) -> Any:
        raise requests.exceptions.ReadTimeout("https://secret.example.org/pumper/uuid")

    monkeypatch.setattr(requests.Session, "request", never)
    with pytest.raises(BrokenAnswer, match="in time") as caught:
        harness.poll()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "words", "halvable"),
    [
        (requests.exceptions.ConnectTimeout("x"), "no connection within 10 s", False),
        (requests.exceptions.SSLError("x"), "TLS", False),
        (requests.exceptions.ConnectionError("x"), "broke the connection", True),
        (requests.exceptions.ChunkedEncodingError("x"), "incomplete", True),
        (requests.exceptions.ContentDecodingError("x"), "incomplete", True),
        (requests.exceptions.InvalidURL("x"), "address", False),
    ],
)
def test_connection_or_answer_failed(
    harness: TandemHarness, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str, halvable: bool
) -> None:
    """A failing connection does not count as a failing answer."""
    harness.poll()

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(requests.Session, "request", fail)
    with pytest.raises(Retryable, match=words) as caught:
        harness.poll()
    assert isinstance(caught.value, (BrokenAnswer, BrokenShape)) == halvable


def test_an_answer_that_never_ends_is_given_up(harness: TandemHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    harness.poll()
    monkeypatch.setattr(transport, "LIMITS", HttpLimits(most_bytes=100))
    with pytest.raises(BrokenAnswer, match="too large"):
        harness.poll()
    monkeypatch.setattr(transport, "LIMITS", HttpLimits(whole_s=0.0))
    with pytest.raises(BrokenAnswer, match="in time"):
        harness.poll()


def test_redirect_to_no_address(harness: TandemHarness) -> None:
    """A redirect to no address ends the login with a message."""
    harness.cloud.faults.append(
        FakeCloudFault("authorize", status=302, headers={"Location": "http://["}, body=b"", times=9)
    )
    with pytest.raises(SourceChanged, match="valid address"):
        harness.poll()
