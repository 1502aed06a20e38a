"""One person's event log as a subject of a JetStream stream. The last message also says which worker owns the log.

A message is a batch of log lines, compressed. The headers say where it ends and who wrote it. A message without lines is a claim (a
worker takes the log over, so that an older owner's appends are refused from then on) or a release (the worker gives it back, and names
the snapshot of its outboxes). Every message is stored only if the one before is the last that its writer has seen.

While a worker works, each message also names the last snapshot of the outboxes, and the time from which on documents were delivered
since then. If the worker never gives the log back, the next one needs to compare only these documents with the receiver. Before
older ones are delivered, a message without a snapshot is stored.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from datetime import datetime

import attrs
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.errors import MaxPayloadError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, Header
from nats.js.errors import APIError, NotFoundError

from tconnectsync import LogEnd, ReplicaFailed, Retryable, counted
from tconnectsync_fleet import formats
from tconnectsync_fleet.lease import STREAM_NOT_FOUND
from tconnectsync_fleet.nats_errors import meaning_of
from tconnectsync_fleet.servers import EVENTS, Servers

POSITION, CHECKSUM, OWNER, SNAPSHOT = "Log-Position", "Log-Checksum", "Log-Owner", "Log-Snapshot"
OLDER_SNAPSHOT = "Log-Older-Snapshot"
WRONG_LAST_SEQUENCE = (10071, 10164)
_FETCH = 200
_FETCH_S = 5.0
_READ_S = 20.0
"""To begin to read, to fetch and to end."""
_LEVEL = 1


class TakenOver(ReplicaFailed):
    """Another worker owns the log, or may own it: this worker's lease has ended."""


@attrs.frozen
class OlderSnapshot:
    """A snapshot with this checksum. Everything that was delivered after it is from ``since`` (UTC) on."""

    checksum: str
    since: datetime

    def header(self) -> str:
        """Return it as the value of a header."""
        return f"{self.checksum} {self.since.isoformat()}"

    @classmethod
    def of(cls, header: str) -> OlderSnapshot | None:
        """Return the snapshot that a header names; None if there is none."""
        checksum, _, text = header.partition(" ")
        try:
            since = datetime.fromisoformat(text)
        except ValueError:
            return None
        return cls(checksum, since) if since.tzinfo else None


@attrs.frozen(kw_only=True)
class LastMessage:
    """The last message of a person's log. ``seq`` 0: there is none. ``snapshot``: set if the owner gave the log back."""

    seq: int = 0
    end: LogEnd = LogEnd()  # noqa: RUF009 - a tuple
    owner: str = ""
    snapshot: str = ""
    older: OlderSnapshot | None = None
    """The last snapshot, if the owner did not give the log back."""
    format: int = 1


@attrs.define
class StreamReplica:
    """The replica of one person's log. ``owner`` names this worker's claim: :meth:`claim` comes before everything that writes."""

    servers: Servers
    person: str
    owner: str
    lease_holds: Callable[[], bool] = lambda: True
    """Whether this worker's lease still holds. It does not say whose the log is: only the stream does."""
    last: LastMessage = attrs.field(factory=LastMessage)

    @property
    def subject(self) -> str:
        """The subject with this person's log."""
        return f"{EVENTS}.{self.person}"

    def look(self) -> LastMessage:
        """Return the last message, as the leader of the stream has it. Errors: ReplicaFailed."""
        try:
            found = self.servers.call(self.servers.js.get_last_msg(EVENTS, self.subject))
        except NotFoundError as error:
            if error.err_code == STREAM_NOT_FOUND:
                raise ReplicaFailed(
                    "the NATS servers have no stream with event logs",
                    remedy="Restore it from a backup (`nats stream restore`). Only if nobody has a log yet: `tconnectsync fleet init`.",
                ) from error
            self.last = LastMessage()
            return self.last
        except (Retryable, NatsError) as error:
            raise _unreachable(self.person, error) from error
        headers = found.headers or {}
        self.last = LastMessage(
            seq=found.seq or 0,
            end=LogEnd(int(headers[POSITION]), int(headers[CHECKSUM], 16)),
            owner=headers.get(OWNER, ""),
            snapshot=headers.get(SNAPSHOT, ""),
            older=OlderSnapshot.of(headers.get(OLDER_SNAPSHOT, "")),
            format=formats.format_of(headers, formats.HEADER),
        )
        return self.last

    def is_held(self) -> bool:
        """Look, and return whether the log is this owner's, who has not given it back. Errors: ReplicaFailed."""
        last = self.look()
        return last.owner == self.owner and not last.snapshot

    def check_format(self) -> None:
        """Check that this release knows the format of what :meth:`look` has found. Errors: NewerRelease."""
        formats.check_format(self.last.format, f"{self.person}: the log and the snapshot in NATS")

    def claim(self, older: OlderSnapshot | None = None) -> None:
        """Take the log over: from now on, appends of its earlier owner are refused. Errors: ReplicaFailed.

        ``older``: the snapshot that the next worker may use if this one does not give the log back.
        """
        self._publish(b"", self.last.end, older=older)

    def name_snapshot(self, older: OlderSnapshot) -> None:
        """Let the next worker use this snapshot if this one does not give the log back. Errors: ReplicaFailed."""
        self._require_lease()
        self._publish(b"", self.last.end, older=older)

    def forget_snapshot(self) -> None:
        """Let the next worker use no snapshot, until another is named. Errors: ReplicaFailed."""
        self._require_lease()
        self.end()  # the answer may have been lost when the last one was named
        self._publish(b"", self.last.end)  # always: the message that names it may still be on its way

    def release(self, snapshot: str, older: OlderSnapshot | None = None) -> None:
        """Give the log back. The next worker may use the snapshot of the outboxes, or an older one. Errors: ReplicaFailed."""
        self._publish(b"", self.last.end, snapshot=snapshot, older=older)

    # --- the port of the event log ----------------------------------------------------------------------------------

    def end(self) -> LogEnd:
        """See :class:`tconnectsync.Replica`.

        Errors: ReplicaFailed, also if another worker has claimed the log, this one has given it back, or the claim is gone.
        """
        if not self.is_held():
            raise _taken_over(self.person)
        return self.last.end

    def tail(self, after: int) -> Iterator[bytes]:
        """See :class:`tconnectsync.Replica`."""
        try:
            yield from self._batches(after)
        except (Retryable, NatsError) as error:
            raise _unreachable(self.person, error) from error

    def append(self, lines: bytes, end: LogEnd) -> None:
        """See :class:`tconnectsync.Replica`."""
        self._require_lease()
        self._publish(zlib.compress(lines, _LEVEL), end, older=self.last.older)

    def fence(self, oldest: datetime) -> None:
        """See :class:`tconnectsync.Replica`. It asks nobody: the lease says until when nobody else can have it.

        Before documents are sent that are too old for the named snapshot, it stores that there is none.
        """
        self._require_lease()
        if self.last.older is not None and oldest < self.last.older.since:
            self.forget_snapshot()
            self._require_lease()  # that may have taken long

    def _require_lease(self) -> None:
        if not self.lease_holds():
            raise _taken_over(self.person)

    def _publish(self, payload: bytes, end: LogEnd, *, snapshot: str = "", older: OlderSnapshot | None = None) -> None:
        headers = {
            Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(self.last.seq),
            POSITION: str(end.position),
            CHECKSUM: f"{end.crc:08x}",
            OWNER: self.owner,
            formats.HEADER: str(formats.FORMAT),
        }
        if snapshot:
            headers[SNAPSHOT] = snapshot
        if older is not None:
            headers[OLDER_SNAPSHOT] = older.header()
        try:
            stored = self.servers.call(self.servers.js.publish(self.subject, payload, headers=headers))
        except APIError as error:
            if error.err_code in WRONG_LAST_SEQUENCE:
                raise _taken_over(self.person) from error
            raise _unreachable(self.person, error) from error
        except MaxPayloadError as error:
            raise ReplicaFailed(
                f"{self.person}: a batch of {counted(len(payload), 'byte')} is more than the NATS servers take at once",
                remedy="Set `max_payload: 8MB` in the servers' configuration, and reload them.",
            ) from error
        except (Retryable, NatsError) as error:
            raise _unreachable(self.person, error) from error
        self.last = LastMessage(seq=stored.seq, end=end, owner=self.owner, snapshot=snapshot, older=older)

    def _batches(self, after: int) -> Iterator[bytes]:
        servers, js = self.servers, self.servers.js
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.ALL, ack_policy=AckPolicy.NONE, mem_storage=True, inactive_threshold=60.0
        )
        reading: JetStreamContext.PullSubscription | None = None
        seq = 0

        async def read_next() -> list[Msg]:
            """Begin, read and end in one call, because each costs time that other threads use."""
            nonlocal reading, seq
            if reading is None:
                reading = await js.pull_subscribe(self.subject, stream=EVENTS, config=config)
            messages = await reading.fetch(_FETCH, timeout=_FETCH_S)
            seq = max([seq, *(message.metadata.sequence.stream for message in messages)])
            if seq >= self.last.seq:
                ended, reading = reading, None
                await servers.end_reading(ended, EVENTS, config)
            return messages

        try:
            while seq < self.last.seq:
                for message in servers.call(read_next(), _READ_S):
                    headers = message.headers or {}
                    is_known = message.metadata.sequence.stream <= self.last.seq
                    if is_known and message.data and int(headers[POSITION]) > after:
                        yield zlib.decompress(message.data)
        finally:
            if reading is not None:
                servers.call(servers.end_reading(reading, EVENTS, config))


def _taken_over(person: str) -> TakenOver:
    return TakenOver(
        f"{person}: this worker does not own the event log any more",
        remedy="Nothing is lost: the next worker continues. `tconnectsync fleet status` shows it.",
    )


def _unreachable(person: str, error: Exception) -> ReplicaFailed:
    found = meaning_of(error) if isinstance(error, NatsError) else error
    usual = "Nothing is lost: work continues when the NATS servers answer."
    return ReplicaFailed(
        f"{person}: the shared event log was not reached ({found})", remedy=getattr(found, "remedy", None) or usual
    )
