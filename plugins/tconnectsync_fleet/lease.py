"""A worker's lease: an entry in the bucket ``workers`` that disappears when it is not renewed. And who works for whom."""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import time
from collections.abc import Callable, Collection, Container, Iterable, Mapping
from datetime import datetime
from typing import Any

import attrs
from nats.errors import Error as NatsError
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError, NotFoundError
from nats.js.kv import KeyValue

from tconnectsync import Retryable
from tconnectsync_fleet import formats
from tconnectsync_fleet.folder_check import FOLDER_ERROR
from tconnectsync_fleet.nats_errors import meaning_of
from tconnectsync_fleet.servers import PEOPLE, WORKERS, Servers

log = logging.getLogger("tconnectsync.fleet")
SAFE_SHARE = 0.7
"""After this share of the lease's life without a renewal, the worker stops; the servers end the lease later than that."""
STREAM_NOT_FOUND = 10059
RENEWALS = 4
"""How often a lease is renewed in its life."""
RENEW_AGAIN_S = 1.0
"""After a renewal that failed, it is tried again this soon: the servers may have elected a new leader meanwhile."""
STOPPING = "stopping"
"""In a worker's report while it gives its people back. Workers of older releases do not know it."""


def waking_and_sleeping() -> float:
    """Return the seconds of a clock that nobody sets and that counts on while the computer is suspended, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@attrs.define
class WorkerLease:
    """One lease of a worker. It ends for good when it could not be renewed in time; then the worker begins another one."""

    servers: Servers
    worker: str
    monotonic: Callable[[], float] = waking_and_sleeping
    owner: str = attrs.field()
    """The name of this lease, which no other lease ever has."""
    life_s: float = 0.0
    _revision: int = 0
    _safe_until: float = 0.0
    _lost: bool = False
    _last_failed: bool = False
    _bucket: KeyValue | None = None

    @owner.default
    def _new_name(self) -> str:
        return f"{self.worker}.{secrets.token_hex(6)}"

    def begin(self, report: Mapping[str, Any]) -> None:
        """Take the lease. ``report["disk"]`` identifies the worker's folder, which one process at a time uses.

        Errors: Retryable; NewerRelease if a newer release changed the whole fleet.
        """
        self.servers.bucket_state(PEOPLE).check_format()
        bucket = self._bucket = self.servers.bucket(WORKERS)
        self.life_s = float(self.servers.call(bucket.status()).ttl or 0.0)
        asked = self.monotonic()
        value = self._value(report)
        try:
            try:
                before = self.servers.call(bucket.get(self.worker))
                if _report(before.value).get("disk") != report["disk"]:
                    raise Retryable(
                        f"another worker named {self.worker} has a lease: give this one another --name. If this computer was just"
                        f" restarted, wait: the worker begins within {self.life_s:.0f} s"
                    )
                self._revision = self.servers.call(bucket.update(self.worker, value, before.revision))
            except KeyNotFoundError:
                self._revision = self.servers.call(bucket.create(self.worker, value))
        except NatsError as error:
            found = meaning_of(error)
            raise Retryable(f"{self.worker} has no lease: {found.message}", remedy=found.remedy) from error
        self._safe_until = asked + self.life_s * SAFE_SHARE

    def _value(self, report: Mapping[str, Any]) -> bytes:
        own = {"owner": self.owner, "release": formats.RELEASE, formats.KEY: formats.FORMAT}
        return json.dumps({**report, **own}).encode()

    def renew(self, report: Mapping[str, Any]) -> bool:
        """Prolong the lease, and publish the worker's report. False if it is lost."""
        asked = self.monotonic()
        self._last_failed = True
        try:
            try:
                self._update(report)
            except KeyWrongLastSequenceError:  # also if an earlier renewal was stored, and its answer lost
                self._revision = lease_of(self.servers, self.owner)
                if self._revision:
                    self._update(report)
                else:
                    self._lost = True
        except (Retryable, NatsError):
            pass  # not known: the deadline decides
        else:
            if self.holds():
                self._safe_until = asked + self.life_s * SAFE_SHARE
                self._last_failed = False
        return self.holds()

    @property
    def next_renewal_s(self) -> float:
        """Seconds from the last renewal to the next one."""
        usual = self.life_s / RENEWALS
        return min(usual, RENEW_AGAIN_S) if self._last_failed else usual

    def _update(self, report: Mapping[str, Any]) -> None:
        if self._bucket is None:
            raise RuntimeError("the lease was not taken")
        renewal = self._bucket.update(self.worker, self._value(report), self._revision)
        self._revision = self.servers.call(renewal, max(1.0, self.life_s / RENEWALS))

    def holds(self) -> bool:
        """Whether nobody else can have taken this worker's people."""
        if self.monotonic() >= self._safe_until:
            self._lost = True
        return not self._lost

    def end(self) -> None:
        """Give the lease back, so that other workers need not wait for its end."""
        self._lost = True
        try:
            if self._bucket is not None:
                self.servers.call(self._bucket.delete(self.worker, self._revision))
        except (Retryable, NatsError):
            pass  # it ends by itself


def live_workers(servers: Servers) -> dict[str, dict[str, Any]]:
    """Return the reports of the workers with a lease, by name; any server answers, perhaps a moment late. Errors: Retryable, NatsError."""
    found = servers.newest(WORKERS)
    reports = {name: _report(entry.value) for name, entry in found.items()}
    return {name: report for name, report in reports.items() if "owner" in report}


def lease_of(servers: Servers, owner: str) -> int:
    """Return the revision of the lease with this owner, as the leader of the bucket has it; 0 if it has ended, which is for good.

    Errors: Retryable, NatsError.
    """
    revision, value = _newest_entry(servers, owner)
    return revision if _report(value).get("owner") == owner else 0


def may_have_lease(servers: Servers, owner: str) -> bool:
    """Whether this owner has a lease, or something in its place that this release cannot read. Errors: Retryable, NatsError."""
    _, value = _newest_entry(servers, owner)
    return bool(value) and _report(value).get("owner", owner) == owner


def _newest_entry(servers: Servers, owner: str) -> tuple[int, bytes | None]:
    """Return the newest entry of an owner's worker: its revision and value; without a value it was deleted, or never was."""
    worker = owner.rpartition(".")[0]
    if not worker:
        return 0, None
    try:
        found = servers.call(servers.js.get_last_msg(f"KV_{WORKERS}", f"$KV.{WORKERS}.{worker}"))
    except NotFoundError as error:
        if error.err_code == STREAM_NOT_FOUND:  # that says nothing about any lease
            raise Retryable(
                "the NATS servers have no bucket of workers, so nobody's people are taken over",
                remedy="Restore it from a backup, or create it again: `tconnectsync fleet init`.",
            ) from error
        return 0, None
    return found.seq or 0, found.data


def _report(value: bytes | None) -> dict[str, Any]:
    """Return a worker's report; empty if it was deleted, or somebody else wrote it."""
    try:
        found = json.loads(value or b"{}")
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {}


class _Everybody(Container[str]):
    def __contains__(self, _: object) -> bool:
        return True


@attrs.define
class LeaseBucketWatch:
    """Notices that the bucket of workers was created again. Then the leases of workers that live are gone until each takes a new one."""

    servers: Servers
    ended: set[str]
    """Owners whose lease has ended for good."""
    monotonic: Callable[[], float] = time.monotonic
    _created: datetime | None = None
    _counts_from: float = 0.0

    def look(self, life_s: float) -> None:
        """Look at the bucket. ``life_s``: of a lease. Errors: Retryable, NatsError."""
        created = self.servers.bucket_state(WORKERS).created
        if self._created not in (None, created):
            log.warning("leases_lost the bucket of workers was created again: nobody is taken over for %.0f s", life_s)
            self._counts_from = self.monotonic() + life_s
            self.ended.clear()
        self._created = created

    def alive(self, owners: Collection[str]) -> Container[str]:
        """Return who may be alive: these owners with a lease; everybody, for one lease after the bucket was created again."""
        return owners if self.monotonic() >= self._counts_from else _Everybody()


def serving(workers: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the names of the workers that should have people: those with a lease that do not stop, and can write to their folder.

    If none of them can write, that is no reason. Others still own whom they have not given back.
    """
    going = {name for name, report in workers.items() if not report.get(STOPPING)}
    return {name for name in going if FOLDER_ERROR not in workers[name]} or going


def worker_for(person: str, workers: Iterable[str]) -> str | None:
    """Return the worker that should have this person (rendezvous hashing); None without workers.

    When a worker comes or goes, only the people move that it gets or had.
    """

    def weight(worker: str) -> bytes:
        return hashlib.blake2b(f"{worker}\0{person}".encode(), digest_size=8).digest()

    return max(workers, key=weight, default=None)
