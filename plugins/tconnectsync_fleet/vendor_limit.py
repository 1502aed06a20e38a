"""The limit of requests to the vendor, for all workers together.

The NATS servers enforce it: each request needs a message in a small stream that takes only so many, refuses more, and drops each
after a while. So no clock of a worker counts, and a worker that dies takes nothing with it.
"""

from __future__ import annotations

import contextlib
import json
import math
import random
import threading
import time
from collections.abc import Callable

import attrs
from nats.errors import Error as NatsError
from nats.js.api import DiscardPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from tconnectsync import Retryable
from tconnectsync_fleet.servers import ANSWER_S, EVENTS, Servers

PERMITS = "permits"
"""The stream, and its subject."""
FULL = (10077,)
MOST_DELAY_S = 0.2
"""A permit that is older when it arrives is not used: its request would be counted in a later second."""
MARGIN_S = MOST_DELAY_S + 0.05
PAUSES_S = (0.03, 0.1)
SHARE_HEADER = "Requests-Per-Second"


@attrs.frozen(kw_only=True)
class PermitRule:
    """At most ``messages`` permits in any ``span_s`` seconds. The stream keeps each for ``age_s``, which is longer by the margin."""

    messages: int
    span_s: float

    @property
    def age_s(self) -> float:
        """How long a permit counts: its request may be sent up to the margin later."""
        return self.span_s + MARGIN_S


def permit_rule(per_second: float) -> PermitRule:
    """Return the rule for a limit: 2.5 are 2 in any second, 0.5 are 1 in any 2 seconds."""
    messages = max(1, math.floor(per_second))
    return PermitRule(messages=messages, span_s=max(1.0, messages / per_second))


@attrs.define
class VendorLimit:
    """Asks for permits. Thread-safe: one thread of a worker asks at a time, the others wait behind it."""

    servers: Servers
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    requests: int = 0
    """How many requests were allowed since the start, with a limit or without."""
    is_on: bool = False
    _asking: threading.Lock = attrs.field(factory=threading.Lock)

    def read(self) -> None:
        """Read whether there is a limit now. Errors: Retryable, NatsError."""
        self.is_on = configured_limit(self.servers) is not None

    def wait(self) -> None:
        """Return when a request may be sent, at once. Errors: Retryable if the servers do not answer."""
        with self._asking:
            begin = self.monotonic()
            while self.is_on:
                try:
                    if self._has_asked():
                        break
                    begin = self.monotonic()
                except (Retryable, NatsError) as error:
                    if self.monotonic() - begin > ANSWER_S:
                        raise Retryable(
                            f"no permit for a request to the vendor ({error})",
                            remedy="Nothing is lost: the work goes on when the NATS servers answer. `tconnectsync fleet limit` shows the limit.",
                        ) from error
                    with contextlib.suppress(Retryable, NatsError):
                        self.read()  # it may have been ended
                self.sleep(random.uniform(*PAUSES_S))  # noqa: S311 - spreads the workers
            self.requests += 1

    def _has_asked(self) -> bool:
        begin = self.monotonic()
        try:
            self.servers.call(self.servers.js.publish(PERMITS, b""))
        except APIError as error:
            if error.err_code in FULL:
                return False
            raise
        return self.monotonic() - begin <= MOST_DELAY_S


def set_limit(servers: Servers, per_second: float | None) -> None:
    """Set the limit of the whole fleet, which is set up; None: no limit. Errors: Retryable, NatsError."""

    async def change() -> None:
        js = servers.js
        try:
            before = (await js.stream_info(PERMITS)).config
        except NotFoundError:
            before = None
        if per_second is None:
            if before is not None:
                await js.delete_stream(PERMITS)
            return
        rule = permit_rule(per_second)
        config = StreamConfig(
            name=PERMITS,
            subjects=[PERMITS],
            storage=StorageType.MEMORY,
            discard=DiscardPolicy.NEW,
            max_msgs=rule.messages,
            max_age=rule.age_s,
            num_replicas=(await js.stream_info(EVENTS)).config.num_replicas,
            metadata={SHARE_HEADER: json.dumps(per_second)},
        )
        await (js.add_stream(config) if before is None else js.update_stream(config))

    servers.call(change(), 30.0)


def configured_limit(servers: Servers) -> float | None:
    """Return the fleet's limit in requests per second; None: there is none. Errors: Retryable, NatsError."""
    try:
        config = servers.call(servers.js.stream_info(PERMITS)).config
    except NotFoundError:
        return None
    return float(json.loads((config.metadata or {}).get(SHARE_HEADER, "1")))
