"""Calls to the NATS servers from threads."""

from __future__ import annotations

import gc
import time
import weakref

from nats.errors import Error as NatsError

from tconnectsync_fleet.servers import Servers


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
