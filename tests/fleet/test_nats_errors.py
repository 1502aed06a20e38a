"""What NATS servers that answer with an error mean: for a command, and in a worker's log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from nats.errors import Error as NatsError
from nats.js.errors import APIError, NoStreamResponseError, ServiceUnavailableError

from tconnectsync import Retryable
from tconnectsync_fleet.nats_errors import meaning_of
from tconnectsync_fleet.outage import REPEAT_S, ServersOutage
from tests.e2e.command_in_process import run_command
from tests.support.clocks import FakeClock
from tests.support.nats_servers import find_nats_server, greets, server_in
from tests.support.real_servers import Server

NO_ANSWER = 3


@pytest.fixture(scope="module")
def plain_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose configuration has no JetStream."""
    program, folder = find_nats_server(), tmp_path_factory.mktemp("plain")
    server = Server(
        command=lambda port: [program, "-a", "127.0.0.1", "-p", str(port)], log=folder / "server.log", is_up=greets
    )
    server.start()
    yield server
    server.stop()


def said(server: Server, home: Path, *words: str) -> str:
    """The message of a command that finds the servers in another state than it needs."""
    address = f"nats://127.0.0.1:{server.port}"
    done = run_command(["fleet", *words, "--servers", address], {"HOME": str(home)})
    assert done.returncode == NO_ANSWER, done.stdout + done.stderr
    return done.stderr


def every_error(kind: type[APIError]) -> Iterator[type[APIError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from every_error(narrower)


@pytest.mark.parametrize("kind", sorted(set(every_error(APIError)), key=str))
def test_every_error_has_a_meaning(kind: type[APIError]) -> None:
    """Also those of the client that say they are API errors and have none of their attributes."""
    found = meaning_of(kind())
    assert found.message
    assert found.remedy


@pytest.mark.parametrize("words", [("status",), ("init", "--replicas", "1"), ("limit",), ("pause", "anna")])
def test_without_jetstream(plain_server: Server, tmp_path: Path, words: tuple[str, ...]) -> None:
    """The command says what the servers' configuration lacks."""
    assert "jetstream {" in said(plain_server, tmp_path, *words)


def test_too_few_servers(tmp_path: Path) -> None:
    """A single server, on which no fleet was set up, cannot store anything on three."""
    server = server_in(tmp_path)
    server.start()
    try:
        assert "--replicas 1" in said(server, tmp_path, "init", "--replicas", "5")
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ServiceUnavailableError(code=503, err_code=10008), "no majority"),
        (NoStreamResponseError(), "too few"),
        (ServiceUnavailableError(code=503, err_code=10077, description="write: no space left on device"), "no space"),
        (ServiceUnavailableError(code=503, err_code=99, description="a new error"), "a new error"),
        (NatsError("anything"), "anything"),
    ],
)
def test_meanings(error: NatsError, words: str) -> None:
    """Every error has a sentence and a next step, also one that nobody knows."""
    found = meaning_of(error)
    assert words in found.message
    assert found.remedy


def test_outage_is_logged_a_few_times(caplog: pytest.LogCaptureFixture) -> None:
    """When it begins, when the reason changes, now and then, and when it is over; an outage that never was is not over."""
    clock = FakeClock(datetime(2026, 1, 1, tzinfo=timezone.utc))
    outage = ServersOutage(clock.monotonic)
    errors = [Retryable("no answer", remedy="start them")] * 3 + [Retryable("no majority", remedy="start them")] * 3
    with caplog.at_level(logging.WARNING):
        outage.is_over()
        for error in errors:
            outage.goes_on(error)
            clock.advance(seconds=1)
        clock.advance(seconds=REPEAT_S)
        outage.goes_on(errors[-1])
        outage.is_over()
        outage.is_over()
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split()[0] for line in lines] == ["fleet_not_reached"] * 3 + ["fleet_reached"]
    assert "start them" in lines[0]
