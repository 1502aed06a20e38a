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
from collections.abc import Callable, Sequence

import attrs
from nats.errors import Error as NatsError
from nats.js.api import DiscardPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from tconnectsync import Retryable, waiting
from tconnectsync_fleet.lease import waking_and_sleeping
from tconnectsync_fleet.servers import ANSWER_S, EVENTS, Servers

log = logging.getLogger("tconnectsync.fleet")
PERMITS = "permits"
"""The stream, and its subject."""
FULL = (10077,)
SPARE_S = 0.05
"""Between the arrival of a permit and the request."""
MARGIN_S = 0.2 + SPARE_S
"""How long after its permit a request may be sent. Later it would be counted in a later second: the permit is not used."""
MOST_MARGIN_S = 4.0
"""The margin becomes wider, up to this, while all answers of the NATS servers are later: then fewer requests are possible."""
NARROWS_AFTER_S = 600.0
"""After so long without a late answer, a worker withdraws a wider margin for all workers."""
WITHDRAWN_S = 60.0
"""So long after that, permits count for a shorter time again: nobody uses the wider margin any more."""
MARGIN_KNOWN_S = 30.0
"""A wider margin that was read longer ago may have been withdrawn."""
PAUSES_S = (0.03, 0.1)
LATE_PAUSES_S = (0.5, 1.5)
"""After an answer that was too late: each permit that is not used is lost to everybody."""
LATE_PERMITS = 3
"""After so many late permits in one wait, the margin becomes wider although refusals are quick."""
RATE_KEY = "Requests-Per-Second"
"""In the metadata of the stream: the limit that was set."""
MARGIN_KEY = "Margin-Seconds"
"""In the metadata: the margin that workers may use. The stream keeps each permit for as long as a wider one may be in use."""
NO_LIMIT = 10_000.0
"""How many permits in a second the stream takes while there is no limit: a worker may learn of that a second later."""


@attrs.frozen(kw_only=True)
class PermitRule:
    """At most ``messages`` permits in any ``span_s`` seconds. The stream keeps each for ``age_s``, which is longer by the margin."""

    messages: int
    span_s: float
    margin_s: float = MARGIN_S

    @property
    def age_s(self) -> float:
        """How long a permit counts: its request may be sent up to the margin later."""
        return self.span_s + self.margin_s


def permit_rule(per_second: float, margin_s: float = MARGIN_S) -> PermitRule:
    """Return the rule for a limit: 2.5 are 2 in any second, 0.5 are 1 in any 2 seconds."""
    messages = max(1, math.floor(per_second))
    return PermitRule(messages=messages, span_s=max(1.0, messages / per_second), margin_s=margin_s)


@attrs.frozen(kw_only=True)
class StoredLimit:
    """What was set, in requests per second; 0: no limit."""

    per_second: float
    margin_s: float = MARGIN_S
    """How late a permit may be used, with :data:`SPARE_S`."""
    kept_s: float = MARGIN_S
    """For which margin the stream keeps permits: at least for the one that workers may use."""


@attrs.define
class VendorLimit:
    """Asks for permits. Thread-safe: one thread of a worker asks at a time, the others wait behind it.

    A permit is used only if its answer came within the margin, so that it still counts in the second of its request. If the servers'
    answers are later for as long as a wait lasts, the margin of the whole fleet becomes wider, in the stream: permits then count for
    longer, and there are fewer. When a worker's answers have been quick for a while, it withdraws that: first the margin, and the
    time for which permits count when no worker can use the margin any more.
    """

    servers: Servers
    monotonic: Callable[[], float] = waking_and_sleeping
    sleep: Callable[[float], None] = time.sleep
    requests: int = 0
    """How many requests were allowed since the start, with a limit or without."""
    is_on: bool = False
    stops: Callable[[], bool] = lambda: False
    """Whether the worker ends: then nobody waits any longer."""
    _stored: StoredLimit | None = None
    """The limit when it was last read."""
    _read_at: float = 0.0
    _quick_since: float = 0.0
    """Since when the stored margin is the same, and no answer was late."""
    _answered: float = 0.0
    """When an answer last came in time, on the monotonic clock."""
    _asking: threading.Lock = attrs.field(factory=threading.Lock)

    def read(self) -> None:
        """Read whether there is a limit now; create its stream again if it was lost. Errors: Retryable, NatsError."""
        asked = self.monotonic()
        stored = stored_limit(self.servers)
        if stored is None and self._stored is not None:
            lost = self._stored
            log.warning("limit_lost the stream with the limit is created again per_second=%g", lost.per_second)
            set_limit(self.servers, lost.per_second, lost.margin_s)
            return
        before, self._stored, self._read_at = self._stored, stored, asked
        self.is_on = stored is not None and bool(stored.per_second)
        if stored is None or before is None or (before.margin_s, before.kept_s) != (stored.margin_s, stored.kept_s):
            self._quick_since = asked
        elif stored.margin_s > MARGIN_S and asked - self._quick_since > NARROWS_AFTER_S:
            set_limit(self.servers, stored.per_second, kept_s=stored.kept_s)
        elif stored.kept_s > stored.margin_s and asked - self._quick_since > WITHDRAWN_S:
            set_limit(self.servers, stored.per_second, stored.margin_s)

    def wait(self) -> None:
        """Return when a request may be sent, at once. Errors: Retryable if the servers do not answer in time, or the worker ends."""
        begin = self.monotonic()
        with waiting():
            while not self._asking.acquire(timeout=1.0):
                self._check_patience(begin, None)
            try:
                self._ask_until_permitted(begin)
                self.requests += 1
            finally:
                self._asking.release()

    def _ask_until_permitted(self, begin: float) -> None:
        cause: Exception | None = None
        late_s: list[float] = []
        late_permits_s: list[float] = []
        while self.is_on:
            try:
                self._check_patience(begin, cause)
            except Retryable:
                self._widen(late_s)
                raise
            pauses_s = PAUSES_S
            try:
                is_permitted, late = self._asked()
                if late and is_permitted:
                    late_permits_s.append(late)
                if late:
                    cause, pauses_s = Retryable(f"the answer took {late:.1f} s"), LATE_PAUSES_S
                    late_s.append(late)
                elif is_permitted:
                    return
                else:
                    late_s.clear()
            except (Retryable, NatsError) as error:
                cause = error
                late_s.clear()
                with contextlib.suppress(Retryable, NatsError):
                    self.read()  # it may have been ended
            if len(late_permits_s) >= LATE_PERMITS and self.monotonic() - begin > ANSWER_S:
                self._widen(late_permits_s)  # quick refusals, which need one server only, say nothing about permits
                late_permits_s.clear()
            self.sleep(random.uniform(*pauses_s))  # noqa: S311 - spreads the workers

    def _check_patience(self, begin: float, cause: Exception | None) -> None:
        """Check that waiting makes sense. ``begin``: since when this thread waits. Errors: Retryable."""
        if not self.is_on:
            return
        if self.stops():
            raise Retryable("the worker ends: no further request to the vendor", remedy="Nothing is lost.")
        if self.monotonic() - max(begin, self._answered) > ANSWER_S:
            raise Retryable(
                f"no permit from the NATS servers for a request to the vendor ({cause or 'they do not answer in time'})",
                remedy="Nothing is lost: work continues when the NATS servers answer in time. `tconnectsync fleet limit` shows the limit.",
            ) from cause

    def _widen(self, late_s: Sequence[float]) -> None:
        """Let later permits count, with fewer of them, if all answers came so late. Workers that know the old margin are stricter."""
        if len(late_s) < 2 or self.stops():
            return
        wider_s = min(MOST_MARGIN_S, 2.0 * min(late_s) + SPARE_S)
        with contextlib.suppress(Retryable, NatsError):
            self.read()  # another worker may have done it
            stored = self._stored
            if stored is None or wider_s <= stored.margin_s or min(late_s) > MOST_MARGIN_S - SPARE_S:
                return
            log.warning(
                "limit_slower the NATS servers take %.1f s to answer: fewer requests to the vendor are possible,"
                " until they have been quick for ten minutes",
                min(late_s),
            )
            set_limit(self.servers, stored.per_second, wider_s)
            self.read()

    def _asked(self) -> tuple[bool, float]:
        """Ask for a permit. Returns whether it was given; and how many seconds the answer took if that is too late, else 0."""
        stored = self._stored or StoredLimit(per_second=0.0)
        begin = self.monotonic()
        is_permitted = True
        try:
            self.servers.call(self.servers.js.publish(PERMITS, b""))
        except APIError as error:
            if error.err_code not in FULL:
                raise
            is_permitted = False
        end = self.monotonic()
        margin_s = stored.margin_s if end - self._read_at <= MARGIN_KNOWN_S else MARGIN_S
        if end - begin > MARGIN_S - SPARE_S:
            self._quick_since = end
        if end - begin > margin_s - SPARE_S:
            return is_permitted, end - begin
        self._answered = end
        return is_permitted, 0.0


def set_limit(
    servers: Servers, per_second: float | None, margin_s: float = MARGIN_S, *, kept_s: float = MARGIN_S
) -> None:
    """Set the limit of the whole fleet, which is set up; None or 0: no limit, which is stored, too. Errors: Retryable, NatsError.

    ``kept_s``: for which margin permits are kept, at least: also for one that workers may still use.
    """

    async def change() -> None:
        js = servers.js
        try:
            before = (await js.stream_info(PERMITS)).config
        except NotFoundError:
            before = None
        used_s = MARGIN_S if before is None else float((before.metadata or {}).get(MARGIN_KEY, MARGIN_S))
        rule = permit_rule(per_second or NO_LIMIT, max(margin_s, kept_s, used_s))
        config = StreamConfig(
            name=PERMITS,
            subjects=[PERMITS],
            storage=StorageType.FILE,  # a limit in memory would end with a restart of the server
            discard=DiscardPolicy.NEW,
            max_msgs=rule.messages,
            max_age=rule.age_s,
            num_replicas=(await js.stream_info(EVENTS)).config.num_replicas,
            metadata={RATE_KEY: json.dumps(per_second or 0.0), MARGIN_KEY: json.dumps(margin_s)},
        )
        if before is not None and before.storage != StorageType.FILE:  # cannot be changed
            await js.delete_stream(PERMITS)
            before = None
        await (js.add_stream(config) if before is None else js.update_stream(config))

    servers.call(change(), 30.0)


def stored_limit(servers: Servers) -> StoredLimit | None:
    """Return what was set last, also that there is no limit; None: nothing was ever set. Errors: Retryable, NatsError."""
    try:
        config = servers.call(servers.js.stream_info(PERMITS)).config
    except NotFoundError:
        return None
    per_second = float(json.loads((config.metadata or {}).get(RATE_KEY, "1")))
    kept_s = max(MARGIN_S, round(float(config.max_age or 0.0) - permit_rule(per_second or NO_LIMIT).span_s, 3))
    margin_s = float((config.metadata or {}).get(MARGIN_KEY, MARGIN_S))
    return StoredLimit(per_second=per_second, margin_s=min(margin_s, kept_s), kept_s=kept_s)


def limit_in_force(servers: Servers) -> float | None:
    """Return the fleet's limit in requests per second; None: there is none, or 0 was set. Errors: Retryable, NatsError."""
    stored = stored_limit(servers)
    return stored.per_second or None if stored is not None else None
