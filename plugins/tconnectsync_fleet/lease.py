"""A worker's lease: an entry in the bucket ``workers`` that disappears when it is not renewed. And who works for whom."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
from nats.errors import Error as NatsError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from tconnectsync import Retryable
from tconnectsync_fleet.servers import WORKERS, Servers

SAFE_SHARE = 0.7
"""After this share of the lease's life without a renewal, the worker stops; the servers end the lease later than that."""
RENEWALS = 4
"""How often a lease is renewed in its life."""


@attrs.define
class WorkerLease:
    """One lease of a worker. It ends for good when it could not be renewed in time; then the worker begins another one."""

    servers: Servers
    worker: str
    monotonic: Callable[[], float] = time.monotonic
    owner: str = attrs.field()
    """The name of this lease, which no other lease ever has."""
    life_s: float = 0.0
    _revision: int = 0
    _safe_until: float = 0.0
    _lost: bool = False

    @owner.default
    def _new_name(self) -> str:
        return f"{self.worker}.{secrets.token_hex(6)}"

    def begin(self, report: Mapping[str, Any]) -> None:
        """Take the lease. ``report["disk"]`` identifies the worker's folder, which one process at a time uses. Errors: Retryable."""
        bucket = self.servers.bucket(WORKERS)
        self.life_s = float(self.servers.call(bucket.status()).ttl or 0.0)
        asked = self.monotonic()
        value = self._value(report)
        try:
            try:
                before = self.servers.call(bucket.get(self.worker))
                if json.loads(before.value or b"{}").get("disk") != report["disk"]:
                    raise Retryable(f"another worker is named {self.worker}: give this one a --name of its own")
                self._revision = self.servers.call(bucket.update(self.worker, value, before.revision))
            except KeyNotFoundError:
                self._revision = self.servers.call(bucket.create(self.worker, value))
        except NatsError as error:
            raise Retryable(f"the lease of {self.worker} was not taken ({error})") from error
        self._safe_until = asked + self.life_s * SAFE_SHARE

    def _value(self, report: Mapping[str, Any]) -> bytes:
        return json.dumps({**report, "owner": self.owner}).encode()

    def renew(self, report: Mapping[str, Any]) -> bool:
        """Prolong the lease, and publish the worker's report. False if it is lost."""
        asked = self.monotonic()
        try:
            bucket = self.servers.bucket(WORKERS)
            value = self._value(report)
            self._revision = self.servers.call(bucket.update(self.worker, value, self._revision))
        except KeyWrongLastSequenceError:
            self._lost = True
        except (Retryable, NatsError):
            pass  # not known: the deadline decides
        else:
            if self.holds():
                self._safe_until = asked + self.life_s * SAFE_SHARE
        return self.holds()

    def holds(self) -> bool:
        """Whether nobody else can have taken this worker's people."""
        if self.monotonic() >= self._safe_until:
            self._lost = True
        return not self._lost

    def end(self) -> None:
        """Give the lease back, so that other workers need not wait for its end."""
        self._lost = True
        try:
            bucket: KeyValue = self.servers.bucket(WORKERS)
            self.servers.call(bucket.delete(self.worker, self._revision))
        except (Retryable, NatsError):
            pass  # it ends by itself


def live_workers(servers: Servers) -> dict[str, dict[str, Any]]:
    """Return the reports of the workers with a lease, by name. Errors: Retryable, NatsError."""
    found = servers.changes(WORKERS)
    return {name: json.loads(entry.value) for name, entry in found.items() if entry.value is not None}


def worker_for(person: str, workers: Iterable[str]) -> str | None:
    """Return the worker that should have this person (rendezvous hashing); None without workers.

    When a worker comes or goes, only the people move that it gets or had.
    """

    def weight(worker: str) -> bytes:
        return hashlib.blake2b(f"{worker}\0{person}".encode(), digest_size=8).digest()

    return max(workers, key=weight, default=None)
