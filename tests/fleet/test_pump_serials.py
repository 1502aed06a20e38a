"""Operators of a fleet do not see whole serial numbers by the way."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.logging_setup import start_logs
from tconnectsync_fleet.log_person import log_person, mark_lines
from tconnectsync_fleet.person_runner import FleetContext
from tconnectsync_fleet.pump_serials import with_short_serials
from tconnectsync_fleet.servers import STATUS, Servers
from tconnectsync_fleet.state_publisher import StatePublisher
from tests.fleet.test_turns import PlainEngine

CLOCK = "The clock of pump 90556643 went back from 2026-11-01 02:10 to 2026-11-01 01:10 without a record of the change."


@pytest.mark.parametrize(
    ("text", "short"),
    [
        (CLOCK, CLOCK.replace("90556643", "…643")),
        ("tandem: pump 90556643 is not on the account, which has 1002717, 90012345", "tandem: pump …643 is not on the account, which has …717, …345"),
        ("of pump 90556643, but sources.tconnect.pumps names 90012345.", "of pump …643, but sources.tconnect.pumps names …345."),
        ("window_read pump=90556643 events=123456", "window_read pump=…643 events=123456"),
        ("a pump of 1,234,567 records, 0.123456 u, 20261101T021000, nats://h:1234567/", "a pump of 1,234,567 records, 0.123456 u, 20261101T021000, nats://h:1234567/"),
        ("position 123456", "position 123456"),
        ("no event tandem:90556643:0:123456", "no event tandem:…643:0:123456"),
        ('turn_failed error="KeyError: \'90556643\'"', 'turn_failed error="KeyError: \'…643\'"'),
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


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """The log lines of a worker that speaks of everything."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    stream = io.StringIO()
    logs = start_logs(stream, {})
    Invocation(logs=logs).serve(with_short_serials)
    logs.be_verbose()
    mark_lines()
    yield stream
    logs.stop()


def test_log_lines(written: io.StringIO) -> None:
    """Lines of a person's turn have the name and the ends of serial numbers, also with a percent sign in them."""
    with log_person("anna"):
        logging.getLogger("tconnectsync.fleet").warning('turn_failed message="%s" at %d %%', CLOCK, 50)
    (line,) = written.getvalue().splitlines()
    assert "person=anna turn_failed" in line
    assert line.endswith("50 %")
    assert "pump …643 went" in line


def test_unexpected_errors(written: io.StringIO) -> None:
    """Neither the text of an error nor its traceback has a whole serial number, whatever the text is about."""
    with log_person("anna"):
        try:
            raise KeyError("90556643")
        except KeyError:
            logging.getLogger("tconnectsync.fleet").exception("turn_failed")
    assert "Traceback" in written.getvalue()
    assert "…643" in written.getvalue()
    assert "90556643" not in written.getvalue()
