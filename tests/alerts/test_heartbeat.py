"""When a monitor is called, and with which address."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tconnectsync import Secret
from tconnectsync.alerts.heartbeat import Heartbeat, address_for, cycle_of, kind_of
from tconnectsync.clock import SystemClock
from tconnectsync.config.alert_options import HeartbeatOptions
from tests.alerts.receivers import http_receiver
from tests.alerts.statuses import status, trouble

NOW = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)


def test_a_good_cycle() -> None:
    assert cycle_of(status(NOW), NOW).good


@pytest.mark.parametrize(
    "parts",
    [
        {"sinks": {"nightscout-iob": {"pending": 1}}},
        {"sinks": {"nightscout-iob": {"behind": 5}}},
        {"source": trouble("backing_off", NOW - MINUTE)},
        {"source": trouble("waiting", None)},
    ],
)
def test_a_cycle_under_way_is_neither_good_nor_bad(parts: dict[str, Any]) -> None:
    cycle = cycle_of(status(NOW, **parts), NOW)
    assert not cycle.good
    assert cycle.reason == ""


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"source": trouble("refused", NOW)}, "tandem: refused"),
        ({"source": trouble("backing_off", NOW - 6 * MINUTE)}, "tandem: backing off"),
        ({"sinks": {"nightscout-iob": trouble("halted", NOW)}}, "nightscout-iob: halted"),
        ({"disk": "full"}, "disk: full"),
        ({"damaged": "line 5"}, "corrupt"),
    ],
)
def test_a_bad_cycle_says_why(parts: dict[str, Any], words: str) -> None:
    cycle = cycle_of(status(NOW, **parts), NOW)
    assert not cycle.good
    assert words in cycle.reason


@pytest.mark.parametrize(
    ("url", "kind", "good", "bad"),
    [
        ("https://hc-ping.com/uuid", "healthchecks", "https://hc-ping.com/uuid", "https://hc-ping.com/uuid/fail"),
        ("https://hc.example/ping/uuid?rid=1", "healthchecks", "https://hc.example/ping/uuid?rid=1", "https://hc.example/ping/uuid/fail?rid=1"),
        ("https://kuma.example/api/push/abc?status=up&msg=OK&ping=", "uptime-kuma", "https://kuma.example/api/push/abc?status=up&msg=OK", "https://kuma.example/api/push/abc?status=down&msg=no+login"),
        ("https://other.example/x", "plain", "https://other.example/x", None),
    ],
)  # fmt: skip
def test_addresses(url: str, kind: str, good: str, bad: str | None) -> None:
    options = HeartbeatOptions(url=Secret(url))
    assert kind_of(options) == kind
    assert address_for(options, "") == good
    assert address_for(options, "no login") == bad


def heartbeat_to(port: int) -> Heartbeat:
    options = HeartbeatOptions(url=Secret(f"http://127.0.0.1:{port}/ping/uuid"))
    return Heartbeat(
        options=options, clock=SystemClock(), version="4", clean=lambda text: text.replace("90556643", "…")
    )


def test_one_call_for_a_cycle_and_one_for_a_failure() -> None:
    good, next_ = cycle_of(status(NOW), NOW), cycle_of(status(NOW + 20 * MINUTE), NOW + 20 * MINUTE)
    bad = cycle_of(status(NOW, source=trouble("refused", NOW, "pump 90556643")), NOW)
    with http_receiver() as monitor:
        heart = heartbeat_to(monitor.port)
        for cycle in (good, good, bad, bad, good, good, next_):
            heart.beat(cycle)
    paths = [path.removeprefix("/ping/uuid") for path, _ in monitor.pings]
    assert paths == ["", "/fail", "", ""]
    assert "90556643" not in monitor.pings[1][1]


def test_a_call_that_fails_is_made_again_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    good = cycle_of(status(NOW), NOW)
    with http_receiver(status=500) as monitor:
        heart = heartbeat_to(monitor.port)
        heart.beat(good)
        heart.beat(good)
        assert len(monitor.pings) == 2
        assert caplog.text.count("heartbeat_failed") == 1
        assert "uuid" not in caplog.text
        monitor.status = 200
        heart.beat(good)
        heart.beat(good)
        assert len(monitor.pings) == 3
    assert heart.call("") is not None  # nobody is there any more
