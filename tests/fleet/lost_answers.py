"""Servers that store what they are given, and whose answers to that do not arrive."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from nats.js.api import PubAck

from tconnectsync import Retryable
from tconnectsync_fleet.servers import Servers


@contextlib.contextmanager
def lost_answers(servers: Servers, *, unless: bool = False) -> Iterator[None]:
    """In the block, what is stored is not confirmed, unless told otherwise."""
    answered = servers.call

    def call(*arguments: Any) -> Any:
        found = answered(*arguments)
        if isinstance(found, (int, PubAck)) and not unless:  # something was stored
            raise Retryable("no answer")
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(servers, "call", call)
        yield
