"""The limit of requests to the vendor, over all workers: its rule on any schedule, and the real server."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.js.api import StorageType, StreamConfig
from nats.js.errors import APIError

from tconnectsync import Retryable
from tconnectsync_fleet.nats_login import NatsLogin
from tconnectsync_fleet.servers import Servers, set_up
from tconnectsync_fleet.vendor_limit import (
    FULL,
    MARGIN_KNOWN_S,
    MARGIN_S,
    MOST_MARGIN_S,
    NARROWS_AFTER_S,
    PERMITS,
    RATE_KEY,
    SPARE_S,
    WITHDRAWN_S,
    StoredLimit,
    VendorLimit,
    limit_in_force,
    permit_rule,
    set_limit,
    stored_limit,
)
from tests.e2e.installation import eventually
from tests.support.nats_servers import server_in
from tests.support.real_servers import Server


def most_in(times: Sequence[float], span_s: float) -> int:
    """The largest number of requests in any such span."""
    return max((sum(begin <= at < begin + span_s for at in times) for begin in times), default=0)


@given(
    per_second=st.floats(0.05, 40.0),
    waits=st.lists(st.floats(0.0, 2.0), max_size=60),
    delays=st.lists(st.floats(0.0, MARGIN_S), min_size=60, max_size=60),
    lag_s=st.floats(0.0, 0.5),
    wide=st.floats(1.0, 16.0),
)
def test_never_more_at_the_vendor(
    per_second: float, waits: list[float], delays: list[float], lag_s: float, wide: float
) -> None:
    """Permits in any order of events, each used up to the margin later, never make more requests than configured in any span.

    ``lag_s``: how much later than its age the server drops a permit. ``wide``: how much wider the margin is than usual.
    """
    rule = permit_rule(per_second, MARGIN_S * wide)
    stored: list[float] = []
    now = 0.0
    for wait_s in waits:
        now += wait_s
        if sum(now - at < rule.age_s + lag_s for at in stored) < rule.messages:  # otherwise the server refuses
            stored.append(now)
    sent = [at + wide * delay_s for at, delay_s in zip(stored, delays, strict=False)]
    assert most_in(sent, rule.span_s - 1e-6) <= rule.messages
    assert rule.messages <= max(1.0, per_second)
    assert rule.messages / rule.span_s <= per_second * (1 + 1e-9)


@pytest.fixture
def limited(servers: Servers) -> Iterator[Callable[[float], None]]:
    """Sets the fleet's limit, until the end of the test."""
    yield lambda per_second: set_limit(servers, per_second)
    set_limit(servers, None)
    servers.call(servers.js.purge_stream(PERMITS))


def test_three_workers_share_one_limit(nats_server: Server, servers: Servers, limited: Callable[[float], None]) -> None:
    """Three connections with four threads each, which want much more, never get more than the limit in any second.

    A request that this computer's load has delayed beyond the margin does not count: see the module.
    """
    limited(20)
    asked, sent = threading.local(), list[tuple[float, float]]()

    def clock() -> float:
        asked.before, asked.last = getattr(asked, "last", 0.0), time.monotonic()
        return float(asked.last)

    def work(limit: VendorLimit) -> None:
        while len(sent) < 45:
            limit.wait()
            sent.append((asked.before, time.monotonic()))

    with contextlib.ExitStack() as stack:
        limits = []
        for number in range(3):
            login = NatsLogin(servers=[f"nats://127.0.0.1:{nats_server.port}"])
            connection = stack.enter_context(contextlib.closing(Servers(login, name=f"w{number}")))
            limits.append(VendorLimit(connection, monotonic=clock))
            limits[-1].read()
        threads = [threading.Thread(target=work, args=(limit,)) for limit in limits for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    punctual = sorted(at for begin, at in sent if at - begin <= MARGIN_S)
    assert most_in(punctual, 1.0) <= 20
    assert punctual
    assert sum(limit.requests for limit in limits) == len(sent) >= 45


def test_limit_changes_and_ends(servers: Servers, limited: Callable[[float], None]) -> None:
    """A new limit counts for a running worker after its next look; without one nothing waits and nobody is asked."""
    limit = VendorLimit(servers)
    limited(0.1)
    limit.read()
    assert limit_in_force(servers) == 0.1
    limit.wait()
    asked: list[float] = []

    def end_it(seconds: float) -> None:
        asked.append(seconds)
        set_limit(servers, None)
        limit.read()

    limit.sleep = end_it
    limit.wait()  # the second in ten seconds has to wait, until the limit ends
    assert len(asked) == 1
    assert limit.requests == 2

    limited(5)
    limit.read()
    set_limit(servers, None)
    limit.wait()  # it learns that the limit has ended when its question is not answered
    assert limit.requests == 3


def test_old_permit_is_not_used(servers: Servers, limited: Callable[[float], None]) -> None:
    """A permit whose answer came late, for example to a computer that slept, is not used: another one is asked for."""
    limited(1000)
    times = iter([0.0, 0.0, 0.0, 0.0, 5.0, 5.0, 5.0, 5.1])
    pauses: list[float] = []
    limit = VendorLimit(servers, monotonic=lambda: next(times), sleep=pauses.append)
    limit.read()
    limit.wait()
    assert len(pauses) == 1


@attrs.define
class SlowAnswersClock:
    """Only questions take time on this clock: each ``answer_s``, plus the pauses."""

    now: float = 100.0
    answer_s: float = 0.5
    pauses: list[float] = attrs.field(factory=list)
    asked_for_time: bool = False

    def time(self) -> float:
        self.asked_for_time = True
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def slow(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> SlowAnswersClock:
    """The clock of a worker whose questions for permits are answered late."""
    clock, publish = SlowAnswersClock(), servers.js.publish

    async def publish_slowly(*args: Any) -> Any:
        clock.now += clock.answer_s
        return await publish(*args)

    monkeypatch.setattr(servers.js, "publish", publish_slowly)
    return clock


def test_late_answers_end(servers: Servers, limited: Callable[[float], None], slow: SlowAnswersClock) -> None:
    """If every answer of the NATS servers comes much too late, the wait ends with an error that says so, and holds nobody up."""
    limited(1000)
    slow.answer_s = 4.5
    limit = VendorLimit(servers, monotonic=slow.time, sleep=slow.sleep)
    limit.read()
    with pytest.raises(Retryable, match=r"permit.*4\.5 s"):
        limit.wait()
    assert limit.requests == 0
    found = stored_limit(servers)
    assert found is not None
    assert found.margin_s == MARGIN_S


def test_steadily_late_answers(servers: Servers, limited: Callable[[float], None], slow: SlowAnswersClock) -> None:
    """If every answer takes half a second, the fleet continues at a lower rate. Few permits are wasted."""
    limited(1000)
    limit = VendorLimit(servers, monotonic=slow.time, sleep=slow.sleep)
    limit.read()
    with pytest.raises(Retryable, match=r"permit.*0\.5 s"):
        limit.wait()
    assert 5 <= len(slow.pauses) <= 20
    other = VendorLimit(servers, monotonic=slow.time, sleep=slow.sleep)
    other.read()
    for each in (limit, other):
        each.wait()
        assert each.requests == 1
    found = stored_limit(servers)
    assert found is not None
    assert found.per_second == 1000
    assert found.margin_s >= 0.5 + SPARE_S
    assert servers.call(servers.js.stream_info(PERMITS)).config.max_age == pytest.approx(1.0 + found.margin_s)

    slow.now += MARGIN_KNOWN_S + 1.0
    with pytest.raises(Retryable):
        other.wait()  # for want of news it uses the usual margin, and widens nothing further
    assert stored_limit(servers) == found


def test_late_permits_and_quick_refusals(
    servers: Servers, limited: Callable[[float], None], slow: SlowAnswersClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A permit is stored by several servers, a refusal comes from one. The fleet continues at a lower rate here, too."""
    limited(1000)
    answer, asked = servers.js.publish, itertools.count()

    async def refuse_most(*args: Any) -> Any:
        if next(asked) % 4:
            raise APIError(err_code=FULL[0])
        return await answer(*args)

    monkeypatch.setattr(servers.js, "publish", refuse_most)
    limit = VendorLimit(servers, monotonic=slow.time, sleep=slow.sleep)
    limit.read()
    limit.wait()
    found = stored_limit(servers)
    assert limit.requests == 1
    assert found is not None
    assert found.margin_s >= 0.5 + SPARE_S


def test_quick_answers_again(servers: Servers, limited: Callable[[float], None], slow: SlowAnswersClock) -> None:
    """The margin is withdrawn after ten quick minutes; permits count for a shorter time when nobody can use it any more."""
    limited(1000)
    set_limit(servers, 1000, 1.05)
    limit = VendorLimit(servers, monotonic=slow.time, sleep=slow.sleep)
    limit.read()
    slow.now += NARROWS_AFTER_S - 1.0
    limit.read()
    limit.wait()  # half a second: still in use
    slow.now += NARROWS_AFTER_S - 1.0
    limit.read()
    assert stored_limit(servers) == StoredLimit(per_second=1000, margin_s=1.05, kept_s=1.05)
    slow.now += 2.0
    limit.read()
    withdrawn = StoredLimit(per_second=1000, margin_s=MARGIN_S, kept_s=1.05)
    assert stored_limit(servers) == withdrawn
    limit.read()
    slow.now += WITHDRAWN_S - 1.0
    limit.read()
    assert stored_limit(servers) == withdrawn
    slow.now += 2.0
    limit.read()
    assert stored_limit(servers) == StoredLimit(per_second=1000)
    assert WITHDRAWN_S > MARGIN_KNOWN_S + MOST_MARGIN_S


def test_margin_in_use_when_the_limit_is_set(servers: Servers, limited: Callable[[float], None]) -> None:
    """An operator's new limit does not end at once what workers may still use."""
    limited(1000)
    set_limit(servers, 1000, 1.05)
    set_limit(servers, 20)
    assert stored_limit(servers) == StoredLimit(per_second=20, margin_s=MARGIN_S, kept_s=1.05)
    set_limit(servers, 20)
    assert stored_limit(servers) == StoredLimit(per_second=20)


def test_many_wait_during_an_outage(servers: Servers, limited: Callable[[float], None], slow: SlowAnswersClock) -> None:
    """A thread that waits behind another one has already begun to wait: all give up at the same time."""
    limited(5)
    limit = VendorLimit(servers, monotonic=slow.time, sleep=slow.sleep)
    limit.read()
    refused: list[Exception] = []

    def wait() -> None:
        try:
            limit.wait()
        except Retryable as error:
            refused.append(error)

    limit._asking.acquire()  # the thread before it hangs
    waiting = threading.Thread(target=wait)
    waiting.start()
    eventually(lambda: slow.asked_for_time, "the beginning of the wait")
    slow.now += 11.0
    waiting.join(60)
    limit._asking.release()
    assert len(refused) == 1


def test_wait_ends_with_the_worker(servers: Servers, limited: Callable[[float], None]) -> None:
    """A worker that ends waits for no permit."""
    limited(0.1)
    pauses: list[float] = []
    limit = VendorLimit(servers, sleep=pauses.append, stops=lambda: len(pauses) == 2)
    limit.read()
    limit.wait()
    with pytest.raises(Retryable, match="worker ends"):
        limit.wait()
    assert limit.requests == 1


def test_limit_survives(tmp_path: Path) -> None:
    """A restart of a single NATS server keeps the limit, also one that an older version stored in memory and ``init`` set again."""
    server = server_in(tmp_path)
    server.start()
    try:
        with contextlib.closing(Servers(NatsLogin(servers=[f"nats://127.0.0.1:{server.port}"]), name="w1")) as servers:
            set_up(servers, replicas=1, lease_s=2.0)
            in_memory = StreamConfig(
                name=PERMITS, subjects=[PERMITS], storage=StorageType.MEMORY, metadata={RATE_KEY: "7.0"}
            )
            servers.call(servers.js.add_stream(in_memory))
            before = stored_limit(servers)
            assert before is not None
            set_limit(servers, before.per_second)
        server.stop()
        server.start()
        with contextlib.closing(Servers(NatsLogin(servers=[f"nats://127.0.0.1:{server.port}"]), name="w1")) as servers:
            assert limit_in_force(servers) == 7.0
            limit = VendorLimit(servers)
            limit.read()
            servers.call(servers.js.delete_stream(PERMITS))
            limit.read()  # a worker that knows the limit sets it again
            assert limit.is_on
            assert limit_in_force(servers) == 7.0
            set_limit(servers, 3.0)
            set_limit(servers, None)
            found = stored_limit(servers)
            assert found is not None
            assert found.per_second == 0.0  # so `init` knows that it was chosen
            assert limit_in_force(servers) is None
    finally:
        server.stop()


def test_no_permit_without_servers(nats_server: Server, limited: Callable[[float], None]) -> None:
    """If nobody answers, no request is sent."""
    limited(5)
    login = NatsLogin(servers=[f"nats://127.0.0.1:{nats_server.port}"])
    connection = Servers(login, name="w1")
    times = itertools.count(0.0, 3.0)
    limit = VendorLimit(connection, monotonic=lambda: next(times), sleep=lambda _: None)
    limit.read()
    connection.call(connection.client.close())
    try:
        with pytest.raises(Retryable, match="permit"):
            limit.wait()
    finally:
        connection.close()
    assert limit.requests == 0
