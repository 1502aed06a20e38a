"""The limit of requests to the vendor, for all workers together.

The NATS servers enforce it: each request needs a message in a small stream that takes only so many, refuses more, and drops each
after a while. So no clock of a worker counts, and a worker that dies takes nothing with it.
"""

from __future__ import annotations

import contextlib
import json
import logging
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

log = logging.getLogger("tconnectsync.fleet")
PERMITS = "permits"
"""The stream, and its subject."""
FULL = (10077,)
MOST_DELAY_S = 0.2
"""A permit that is older when it arrives is not used: its request would be counted in a later second."""
MARGIN_S = MOST_DELAY_S + 0.05
PAUSES_S = (0.03, 0.1)
SHARE_HEADER = "Requests-Per-Second"
NO_LIMIT = 10_000.0
"""How many permits in a second the stream takes while there is no limit: a worker may learn of that a second later."""


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
    stops: Callable[[], bool] = lambda: False
    """Whether the worker ends: then nobody waits any longer."""
    _stored: float | None = None
    """The limit when it was last read."""
    _asking: threading.Lock = attrs.field(factory=threading.Lock)

    def read(self) -> None:
        """Read whether there is a limit now; create its stream again if it was lost. Errors: Retryable, NatsError."""
        stored = stored_limit(self.servers)
        if stored is None and self._stored is not None:
            log.warning("limit_lost the stream with the limit is created again per_second=%g", self._stored)
            set_limit(self.servers, self._stored)
            return
        self._stored, self.is_on = stored, bool(stored)

    def wait(self) -> None:
        """Return when a request may be sent, at once. Errors: Retryable if the servers do not answer in time, or the worker ends."""
        with self._asking:
            begin = self.monotonic()
            while self.is_on:
                if self.stops():
                    raise Retryable("the worker ends: no further request to the vendor", remedy="Nothing is lost.")
                cause: Exception | None = None
                try:
                    is_permitted, took_s = self._asked()
                    if took_s <= MOST_DELAY_S:
                        if is_permitted:
                            break
                        begin = self.monotonic()
                    else:
                        cause = Retryable(f"the answer took {took_s:.1f} s")
                except (Retryable, NatsError) as error:
                    cause = error
                    with contextlib.suppress(Retryable, NatsError):
                        self.read()  # it may have been ended
                if cause is not None and self.is_on and self.monotonic() - begin > ANSWER_S:
                    raise Retryable(
                        f"no permit from the NATS servers for a request to the vendor ({cause})",
                        remedy="Nothing is lost: the work goes on when the NATS servers answer in time. `tconnectsync fleet limit` shows the limit.",
                    ) from cause
                self.sleep(random.uniform(*PAUSES_S))  # noqa: S311 - spreads the workers
            self.requests += 1

    def _asked(self) -> tuple[bool, float]:
        """Ask for a permit. Returns whether it was given, and how many seconds the answer took."""
        begin = self.monotonic()
        is_permitted = True
        try:
            self.servers.call(self.servers.js.publish(PERMITS, b""))
        except APIError as error:
            if error.err_code not in FULL:
                raise
            is_permitted = False
        return is_permitted, self.monotonic() - begin


def set_limit(servers: Servers, per_second: float | None) -> None:
    """Set the limit of the whole fleet, which is set up; None or 0: no limit, which is stored, too. Errors: Retryable, NatsError."""

    async def change() -> None:
        js = servers.js
        try:
            before = (await js.stream_info(PERMITS)).config
        except NotFoundError:
            before = None
        rule = permit_rule(per_second or NO_LIMIT)
        config = StreamConfig(
            name=PERMITS,
            subjects=[PERMITS],
            storage=StorageType.FILE,  # a limit in memory would end with a restart of the server
            discard=DiscardPolicy.NEW,
            max_msgs=rule.messages,
            max_age=rule.age_s,
            num_replicas=(await js.stream_info(EVENTS)).config.num_replicas,
            metadata={SHARE_HEADER: json.dumps(per_second or 0.0)},
        )
        if before is not None and before.storage != StorageType.FILE:  # cannot be changed
            await js.delete_stream(PERMITS)
            before = None
        await (js.add_stream(config) if before is None else js.update_stream(config))

    servers.call(change(), 30.0)


def stored_limit(servers: Servers) -> float | None:
    """Return what was set, in requests per second: 0 is no limit, None that nothing was set. Errors: Retryable, NatsError."""
    try:
        config = servers.call(servers.js.stream_info(PERMITS)).config
    except NotFoundError:
        return None
    return float(json.loads((config.metadata or {}).get(SHARE_HEADER, "1")))


def configured_limit(servers: Servers) -> float | None:
    """Return the fleet's limit in requests per second; None: there is none. Errors: Retryable, NatsError."""
    return stored_limit(servers) or None
