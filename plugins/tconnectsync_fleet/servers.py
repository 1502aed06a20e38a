"""A connection to the NATS servers for threads: one event loop runs beside them, and every call waits for its answer."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import json
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

import attrs
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import NoServersError
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    Header,
    KeyValueConfig,
    ObjectStoreConfig,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import BucketNotFoundError, KeyNotFoundError, NotFoundError
from nats.js.kv import KV_DEL, KV_OP, KV_PURGE, KeyValue

from tconnectsync import Retryable, waiting
from tconnectsync_fleet import formats
from tconnectsync_fleet.nats_login import Connection, NatsLogin
from tconnectsync_fleet.server_waits import waits_of_this_thread

T = TypeVar("T")
_FETCH = 500
_END_OF_BATCH, _NO_MESSAGES = "204", "404"
ANSWER_S = 10.0
"""A call that has no answer after this long has failed; the servers may have done it or not."""

HANGS_S = 30.0
"""If the thread of the connection does not even end a call that has failed, for so much longer, nobody waits for it."""

EVENTS = "events"
"""The stream with the logs of all people: the subject of a person is ``events.<name>``."""

PEOPLE, WORKERS, STATUS, SNAPSHOTS = "people", "workers", "status", "snapshots"
"""The buckets. An entry of ``workers`` disappears when its worker does not renew it."""


@attrs.frozen(kw_only=True)
class Entry:
    """The newest entry of a key in a bucket. ``value`` None: it was deleted; ``purged``: with everything that belongs to it."""

    revision: int
    value: bytes | None
    purged: bool = False
    last_purge: int = 0
    """The revision of the key's last purge, if the key was deleted and the deletion names one; 0: not known."""
    at: datetime | None = None
    """When it was stored, by the servers' clocks, if it was read by :meth:`Servers.pages`."""


@attrs.frozen(kw_only=True)
class BucketState:
    """Whether a bucket changed: its newest revision, and when it was created."""

    last_revision: int
    created: datetime | None
    format: int = 1

    def check_format(self) -> None:
        """Check that this release knows the fleet's format. Errors: NewerRelease."""
        formats.check_format(self.format, "the fleet's data in NATS")


class Servers:
    """The connected servers. Thread-safe. It reconnects by itself; meanwhile calls fail after :data:`ANSWER_S`."""

    def __init__(self, login: NatsLogin, *, name: str) -> None:
        """Connect. Errors: LoginProblem, CredentialsRefused, Retryable if no server answers."""
        self._connection = Connection(login)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="nats", daemon=True)
        self._thread.start()
        try:
            self._client: Client = self.call(self._connection.open(name))
        except BaseException:
            self._stop_loop()
            raise
        self.js: JetStreamContext = self._client.jetstream(timeout=ANSWER_S / 2)

    @property
    def is_closed(self) -> bool:
        """Whether this connection has ended for good, so that it does not reconnect: for example because a login expired."""
        return self._client.is_closed or not self._thread.is_alive()

    @property
    def client(self) -> Client:
        """The client, for use inside the loop."""
        return self._client

    def call(self, work: Coroutine[Any, Any, T], timeout_s: float = ANSWER_S) -> T:
        """Run ``work`` in the loop and return its result. Errors: its own, and Retryable if the servers do not answer."""
        future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, timeout_s), self._loop)
        # Neither the future nor the error's traceback may outlive this: with them, all that the callers hold would stay until Python
        # searches for cycles.
        try:
            with waiting(), waits_of_this_thread().counted():
                return future.result(timeout_s + HANGS_S)
        except (asyncio.TimeoutError, concurrent.futures.TimeoutError, NoServersError, OSError) as error:
            why = self._connection.why(error)
            raise Retryable(why.message, remedy=why.remedy) from error.with_traceback(None)
        except NatsError as error:
            raise error.with_traceback(None)  # noqa: B904 - the same one
        finally:
            del future

    def bucket(self, name: str) -> KeyValue:
        """Return a key-value bucket. Errors: Retryable if the fleet was not set up."""
        try:
            return self.call(self.js.key_value(name))
        except (BucketNotFoundError, NotFoundError) as error:
            raise _no_bucket(name) from error

    def bucket_state(self, bucket: str) -> BucketState:
        """Return the newest revision of a bucket, and when the bucket was created. Errors: Retryable, NatsError."""
        try:
            info = self.call(self.js.stream_info(f"KV_{bucket}"))
        except NotFoundError as error:
            raise _no_bucket(bucket) from error
        found = formats.format_of(info.config.metadata)
        return BucketState(last_revision=int(info.state.last_seq), created=info.created, format=found)

    def changes(self, bucket: str, after: int = 0) -> dict[str, Entry]:
        """Return the newest entry of each key that changed after this revision, also deleted ones. 0: all."""
        return {key: entry for page in self.pages(bucket, after) for key, entry in page.items()}

    def pages(self, bucket: str, after: int = 0) -> Iterator[dict[str, Entry]]:
        """Yield what :meth:`changes` returns, a part at a time, by revision: each part has :data:`ANSWER_S` of its own.

        So it takes as long as there are entries, and who stops in the middle may continue after the last revision.
        """
        config = ConsumerConfig(ack_policy=AckPolicy.NONE, mem_storage=True, inactive_threshold=60.0)
        if after:
            config.deliver_policy, config.opt_start_seq = DeliverPolicy.BY_START_SEQUENCE, after + 1
        else:
            config.deliver_policy = DeliverPolicy.LAST_PER_SUBJECT
        stream, prefix = f"KV_{bucket}", f"$KV.{bucket}."

        async def begin() -> tuple[JetStreamContext.PullSubscription, int]:
            subscription = await self.js.pull_subscribe(f"{prefix}>", stream=stream, config=config)
            return subscription, (await subscription.consumer_info()).num_pending or 0

        reading, pending = self.call(begin())
        try:
            while pending:
                messages = self.call(reading.fetch(min(pending, _FETCH), timeout=ANSWER_S / 2))
                pending = messages[-1].metadata.num_pending
                yield {message.subject.removeprefix(prefix): _entry_of(message) for message in messages}
        finally:
            with contextlib.suppress(Retryable, NatsError):  # what was read counts
                self.call(self.end_reading(reading, stream, config))

    async def delete_entry(self, bucket: str, key: str, revision: int, last_purge: int) -> None:
        """Delete the entry with this revision. The deletion names the key's last purge (0: none). Errors: BadRequestError: it was changed.

        The number is the body of an ordinary deletion. Earlier releases do not read it.
        """
        headers = {KV_OP: KV_DEL, Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(revision)}
        await self.js.publish(f"$KV.{bucket}.{key}", str(last_purge).encode() if last_purge else b"", headers=headers)

    async def end_reading(
        self, reading: JetStreamContext.PullSubscription, stream: str, config: ConsumerConfig
    ) -> None:
        """Delete the consumer of a subscription: the servers would keep it for a while, and there are many.

        ``config``: with which it subscribed; the client has written the consumer's name into it.
        """
        with contextlib.suppress(NatsError):  # then it ends by itself
            await self.js.delete_consumer(stream, str(config.name))
        await reading.unsubscribe()

    def newest(self, bucket: str) -> dict[str, Entry]:
        """Return the newest entry of each key, also deleted ones, from any server: one that is late has older ones. Up to 1,000 keys."""
        return self.call(self._newest(bucket))

    async def _newest(self, bucket: str) -> dict[str, Entry]:
        prefix, inbox = f"$KV.{bucket}.", self._client.new_inbox()
        answers = await self._client.subscribe(inbox)
        try:
            request = json.dumps({"multi_last": [f"{prefix}>"], "batch": 1000}).encode()
            await self._client.publish(f"$JS.API.DIRECT.GET.KV_{bucket}", request, reply=inbox)
            found: dict[str, Entry] = {}
            while True:
                message = await answers.next_msg(timeout=ANSWER_S / 2)
                headers = message.headers or {}
                status = headers.get("Status")
                if status in (_END_OF_BATCH, _NO_MESSAGES):
                    return found
                if status is not None:
                    raise _no_bucket(bucket)
                value = None if headers.get(KV_OP) else message.data
                entry = Entry(revision=int(headers["Nats-Sequence"]), value=value)
                found[headers["Nats-Subject"].removeprefix(prefix)] = entry
        finally:
            await answers.unsubscribe()

    def close(self) -> None:
        """Disconnect."""
        with contextlib.suppress(Retryable, NatsError):  # nothing is kept in the connection
            self.call(self._client.close())
        self._stop_loop()

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(HANGS_S)
        if not self._thread.is_alive():
            self._loop.close()


def _entry_of(message: Msg) -> Entry:
    operation, revision = (message.headers or {}).get(KV_OP), message.metadata.sequence.stream
    return Entry(
        revision=revision,
        value=None if operation else message.data,
        purged=operation == KV_PURGE,
        last_purge=_last_purge(operation, revision, message.data),
        at=message.metadata.timestamp,
    )


def _last_purge(operation: str | None, revision: int, body: bytes | None) -> int:
    """Return what a deletion says about the key's last purge; see :meth:`Servers.delete_entry`."""
    if operation == KV_PURGE:
        return revision
    try:
        return int(body or b"") if operation == KV_DEL else 0
    except ValueError:  # it names none: for example a deletion by an earlier release
        return 0


def _no_bucket(name: str) -> Retryable:
    return Retryable(f"the servers have no bucket {name!r}", remedy="Set the fleet up once: `tconnectsync fleet init`.")


def last_purges(servers: Servers, bucket: str, keys: Sequence[str]) -> dict[str, int]:
    """Return the revision of each deleted key's last purge; 0: there is an entry, or its deletion names none. Errors: Retryable, NatsError."""
    found = servers.bucket(bucket)

    async def purge_of(key: str) -> int:
        try:
            await found.get(key)
        except KeyNotFoundError as error:
            return _last_purge(error.op, int(error.entry.revision or 0), error.entry.value) if error.entry else 0
        return 0

    async def purges(some: Sequence[str]) -> list[int]:
        return await asyncio.gather(*map(purge_of, some))

    purged: dict[str, int] = {}
    for first in range(0, len(keys), _FETCH):
        some = keys[first : first + _FETCH]
        purged |= zip(some, servers.call(purges(some), 60.0), strict=True)
    return purged


def has_data(servers: Servers, person: str) -> bool:
    """Whether there is a log of this person. Errors: Retryable."""
    try:
        servers.call(servers.js.get_last_msg(EVENTS, f"{EVENTS}.{person}"))
    except NotFoundError:
        return False
    return True


def names_with_data(servers: Servers) -> set[str]:
    """Return the names of all people of whom there is a log. Errors: Retryable."""
    try:
        found = servers.call(servers.js.stream_info(EVENTS, subjects_filter=f"{EVENTS}.*"), 60.0)
    except NotFoundError as error:
        raise _no_bucket(EVENTS) from error
    return {subject.removeprefix(f"{EVENTS}.") for subject in found.state.subjects or {}}


def delete_data(servers: Servers, person: str, *, up_to: int | None = None) -> None:
    """Delete a person's log, snapshot and status. ``up_to``: only up to this message of the stream. Errors: Retryable."""

    async def delete() -> None:
        before = None if up_to is None else up_to + 1
        await servers.js.purge_stream(EVENTS, subject=f"{EVENTS}.{person}", seq=before)
        await (await servers.js.key_value(STATUS)).purge(person)
        with contextlib.suppress(NotFoundError):
            await (await servers.js.object_store(SNAPSHOTS)).delete(person)

    servers.call(delete())


def set_up(servers: Servers, *, replicas: int, lease_s: float) -> list[str]:
    """Create the stream and the buckets that are missing; return their names. What exists stays as it is.

    ``replicas``: on how many servers each is stored (1, 3 or 5). Errors: Retryable, NatsError.
    """
    js = servers.js

    async def create() -> list[str]:
        events = StreamConfig(
            name=EVENTS,
            subjects=[f"{EVENTS}.*"],
            num_replicas=replicas,
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            deny_delete=True,
            duplicate_window=2,
        )
        workers = KeyValueConfig(bucket=WORKERS, ttl=lease_s, replicas=replicas, direct=True)
        steps: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
            EVENTS: lambda: js.add_stream(events),
            f"KV_{PEOPLE}": lambda: js.create_key_value(KeyValueConfig(bucket=PEOPLE, replicas=replicas)),
            f"KV_{STATUS}": lambda: js.create_key_value(KeyValueConfig(bucket=STATUS, replicas=replicas)),
            f"KV_{WORKERS}": lambda: js.create_key_value(workers),
            f"OBJ_{SNAPSHOTS}": lambda: js.create_object_store(SNAPSHOTS, ObjectStoreConfig(replicas=replicas)),
        }
        created = []
        for name, step in steps.items():
            try:
                await js.stream_info(name)
            except NotFoundError:
                await step()
                created.append(name)
        return created

    return servers.call(create(), 60.0)
