"""Operators of a fleet do not see whole serial numbers by the way."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import cast

import pytest

from tconnectsync_fleet.log_person import log_person, mark_lines
from tconnectsync_fleet.person_runner import FleetContext
from tconnectsync_fleet.pump_serials import with_short_serials
from tconnectsync_fleet.servers import STATUS, Servers
from tconnectsync_fleet.state_publisher import StatePublisher
from tests.fleet.test_turns import PlainEngine

CLOCK = "The clock of pump 90556643 went back from 2026-11-01 02:10 to 2026-11-01 01:10 without a record."


@pytest.mark.parametrize(
    ("text", "short"),
    [
        (CLOCK, CLOCK.replace("90556643", "…643")),
        ("tandem: pump 90556643 is not on the account; there are 1002717, 90012345", "tandem: pump …643 is not on the account; there are …717, …345"),
        ("of pump 90556643, but sources.tconnect.pumps names 90012345.", "of pump …643, but sources.tconnect.pumps names …345."),
        ("window_read pump=90556643 events=123456", "window_read pump=…643 events=123456"),
        ("a pump of 1,234,567 records, 0.123456 u, 20261101T021000, nats://h:1234567/", "a pump of 1,234,567 records, 0.123456 u, 20261101T021000, nats://h:1234567/"),
        ("position 123456", "position 123456"),
    ],
)  # fmt: skip
def test_short_serials(text: str, short: str) -> None:
    """Serial numbers are shortened, other numbers are not."""
    assert with_short_serials(text) == short


def test_published_state(servers: Servers, new_name: Callable[[], str]) -> None:
    """What `fleet status` reads."""
    name = new_name()
    publisher = StatePublisher(servers, cast(FleetContext, PlainEngine()), "w1")
    assert publisher.publish(name, status=9, lines=[CLOCK])
    value = servers.changes(STATUS)[name].value or b""
    assert b"90556643" not in value
    assert b"643 went back" in value
    servers.call(servers.bucket(STATUS).purge(name))


class Lines(logging.Handler):
    """Keeps what it would write."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def test_log_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of a person's turn have the name and the ends of serial numbers, also with a percent sign in them."""
    handler = Lines()
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    mark_lines()
    with log_person("anna"):
        logging.getLogger("tconnectsync.fleet").warning('turn_failed message="%s" at %d %%', CLOCK, 50)
    (line,) = handler.lines
    assert line.startswith("person=anna turn_failed")
    assert line.endswith("50 %")
    assert "pump …643 went" in line
