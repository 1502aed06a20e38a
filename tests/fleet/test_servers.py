"""Calls to the NATS servers from threads."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from typing import Any

import pytest
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from tconnectsync import Retryable
from tconnectsync_fleet import servers as servers_module
from tconnectsync_fleet.servers import STATUS, NatsLogin, Servers
from tests.support.real_servers import Server


class Held:
    """Something large that a turn has open."""


def test_a_failed_call_keeps_nothing(servers: Servers) -> None:
    """What the callers of a failed call hold is freed when they let go of it, and not when Python searches for cycles."""

    async def fail() -> None:
        raise NatsError

    def turn() -> weakref.ref[Held]:
        held = Held()
        try:
            servers.call(fail())
        except NatsError:
            return weakref.ref(held)
        raise AssertionError("it did not fail")

    gc.collect()
    gc.disable()
    try:
        held = turn()
        end = time.monotonic() + 10.0
        while held() is not None and time.monotonic() < end:
            time.sleep(0.01)  # the loop's thread lets go of its task a moment later
        assert held() is None
    finally:
        gc.enable()


async def nothing() -> None:
    pass


def test_thread_of_the_connection_hangs(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits endlessly for the thread of the connection. When it goes on, so does the work."""
    monkeypatch.setattr(servers_module, "HANGS_S", 0.05)
    goes_on = threading.Event()
    servers._loop.call_soon_threadsafe(goes_on.wait, 200)
    began = time.monotonic()
    with pytest.raises(Retryable):
        servers.call(nothing(), 0.05)
    assert time.monotonic() - began < 100
    goes_on.set()
    monkeypatch.undo()
    servers.call(nothing())
    assert not servers.is_closed


def test_thread_of_the_connection_has_ended(nats_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the connection counts as ended, so that the worker ends and is started again."""
    monkeypatch.setattr(servers_module, "HANGS_S", 0.05)
    own = Servers(NatsLogin(servers=[f"nats://127.0.0.1:{nats_server.port}"]), name="tests")
    assert not own.is_closed
    own._loop.call_soon_threadsafe(own._loop.stop)
    own._thread.join()
    assert own.is_closed
    with pytest.raises(Retryable):
        own.call(nothing(), 0.05)
    own._thread = threading.Thread(target=own._loop.run_forever, daemon=True)
    own._thread.start()
    own.close()


def test_bucket_that_takes_long_to_read(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part of a bucket has the time of a call: a large one takes as long as it takes."""
    bucket = servers.bucket(STATUS)
    for number in range(9):
        servers.call(bucket.put(f"large-{number}", b"of one"))
    try:
        fetch = JetStreamContext.PullSubscription.fetch

        async def slow_fetch(*arguments: Any, **named: Any) -> list[Msg]:
            await asyncio.sleep(0.4)
            return await fetch(*arguments, **named)

        monkeypatch.setattr(JetStreamContext.PullSubscription, "fetch", slow_fetch)
        monkeypatch.setattr(servers_module, "_FETCH", 2)
        monkeypatch.setattr(Servers.call, "__defaults__", (1.5,))
        found = servers.changes(STATUS)
        assert {name for name in found if name.startswith("large-")} == {f"large-{number}" for number in range(9)}
        revisions = [entry.revision for page in servers.pages(STATUS) for entry in page.values()]
        assert revisions == sorted(revisions)
    finally:
        monkeypatch.undo()
        for number in range(9):
            servers.call(bucket.purge(f"large-{number}"))
