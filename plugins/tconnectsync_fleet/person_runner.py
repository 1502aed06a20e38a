"""One person's data on one worker: take the log over, do what is due, give it back."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import attrs
from nacl.public import PrivateKey, SealedBox
from nats.errors import Error as NatsError

from tconnectsync import LogEnd, Replica, ReplicaFailed, Retryable, TconnectsyncError
from tconnectsync_fleet.folder_entry import delete_folder, delete_purged, is_purged, note_entry
from tconnectsync_fleet.lease import WorkerLease, may_have_lease
from tconnectsync_fleet.people import CheckedConfig, Member
from tconnectsync_fleet.portable_config import with_secrets_inside
from tconnectsync_fleet.private_file import private_file
from tconnectsync_fleet.receivers import place_of
from tconnectsync_fleet.sealing import opened
from tconnectsync_fleet.servers import Entry, Servers, delete_data
from tconnectsync_fleet.snapshot_plan import NO_SNAPSHOT, SnapshotPlan, delivered_from, offered_by
from tconnectsync_fleet.snapshots import QUICK_S, clear, restore_snapshot, store_snapshot
from tconnectsync_fleet.stream_replica import OlderSnapshot, StreamReplica, TakenOver

log = logging.getLogger("tconnectsync.fleet")
OWNERS = "fleet-owners"
"""The file with the claims under which this disk's outboxes were written. They are used only if the last claim is among them."""
MOST_ENDED = 1000
"""How many ended leases are remembered."""


class TurnOutcome(Protocol):
    """The outcome of a person's turn."""

    @property
    def status(self) -> int:
        """The exit status that ``tconnectsync sync`` would have."""

    @property
    def lines(self) -> tuple[str, ...]:
        """What is wrong."""

    @property
    def due_s(self) -> float:
        """Seconds until something is due again."""

    @property
    def records(self) -> int:
        """The last position of the log."""

    @property
    def last_fetch(self) -> datetime | None:
        """When the source that was read longest ago was read to its end."""


class PersonContext(Protocol):
    """What the engine does for one person."""

    def config(self) -> object:
        """Load the configuration. Errors: ConfigError."""

    def work(self, stops: Callable[[], bool]) -> TurnOutcome:
        """Do what is due. Errors: TconnectsyncError, OSError."""

    def perform(self, command: str, arguments: Mapping[str, Any], show: Callable[[Any], None]) -> Any:
        """Run a request, such as ``replay``; ``show`` gets its progress. Returns exit status and lines. Errors: TconnectsyncError."""

    def receiver_addresses(self) -> tuple[str, ...]:
        """Return the addresses to which the configuration delivers."""

    def read_status(self) -> dict[str, Any]:
        """Return what ``status --json`` prints."""


class FleetContext(Protocol):
    """What the command line gives to the fleet."""

    def for_person(
        self, path: Path, *, data_dir: Path, replica: Replica | None, pace: Callable[[], None] = lambda: None
    ) -> PersonContext:
        """Return the context of one person, whose configuration is not read yet."""

    def resting_log(self, source: Path) -> AbstractContextManager[Path]:
        """Give a data folder that nobody else uses: ``source`` itself, locked, or the backup file ``source`` unpacked."""

    def log_after(self, data_dir: Path, end: LogEnd, *, remedy: str) -> Iterator[tuple[bytes, LogEnd]]:
        """Yield what a log has after ``end``, in batches for a replica. Errors: TconnectsyncError, OSError."""

    def has_all_of(self, replica: Replica, end: LogEnd, data_dir: Path) -> bool:
        """Whether the replica, which ends at ``end``, has all of the log in ``data_dir``. Errors: ReplicaFailed, OSError."""

    def mark_older(self, data_dir: Path, since: datetime) -> None:
        """Mark the outboxes as older copies: everything that was delivered later was from ``since`` (UTC) on.

        Errors: TconnectsyncError.
        """

    def back_up_replica(self, replica: Replica, target: Path) -> tuple[Path, int]:
        """Write a replica's log to a backup file; return its path and its last position. Errors: TconnectsyncError."""

    def redact(self, text: str) -> str:
        """Return the text without the secrets of all people whose configuration was loaded."""

    def serve(self, shorten: Callable[[str], str]) -> None:
        """Become a service: write log lines, each as ``shorten`` returns it; share memory between threads."""


class NotReadable(TconnectsyncError):
    """The configuration was sealed for another key."""


def checked_config(
    engine: FleetContext, file: Path, box: SealedBox[Any], hashed: Callable[[str], str], *, shared: Iterable[str] = ()
) -> CheckedConfig:
    """Return a configuration file with its secret files inside, checked and sealed. Errors: ConfigError, NotPossible.

    ``shared``: the addresses that are meant to be other people's, too.
    """
    folder = file.parent.resolve()
    person = engine.for_person(file, data_dir=folder, replica=None)
    person.config()
    text = with_secrets_inside(file).encode()
    if text != file.read_bytes():
        with private_file(file.name, text) as path:
            person = engine.for_person(path, data_dir=folder, replica=None)
            person.config()

    def by_hash(addresses: Iterable[str]) -> dict[str, str]:
        return {hashed(place): address for address in addresses if (place := place_of(address)) is not None}

    receivers = by_hash(person.receiver_addresses())
    return CheckedConfig(sealed=box.encrypt(text), receivers=receivers, shared=frozenset(by_hash(shared)))


@attrs.define
class PersonRunner:
    """One person's data at work on this worker. One thread at a time uses it."""

    person: Member
    folder: Path
    servers: Servers
    box: SealedBox[PrivateKey]
    engine: FleetContext
    pace: Callable[[], None] = lambda: None
    """What a source calls before each request to its vendor."""
    ended_leases: set[str] = attrs.field(factory=set, repr=False)
    """Owners whose lease has ended, which is for good: all runners of a worker share this set."""
    snapshot_plan: SnapshotPlan = attrs.field(factory=SnapshotPlan)
    _replica: StreamReplica | None = None
    _context: tuple[Member, PersonContext] | None = None
    """With the entry that it was loaded from: another thread may change the entry at any time."""
    _is_doubtful: bool = False
    _taken_purged: int = 0
    """Of the entry with which the person was taken: with another one, this may be another person."""

    def take(self, lease: WorkerLease, live: Container[str]) -> bool:
        """Own the log from now on. False: a live worker has it. Errors: ReplicaFailed, Retryable, NatsError, OSError, NewerRelease.

        ``live``: the owners of the leases that all workers had a moment ago.
        """
        person = self.person
        person.check_format()
        is_same = self._taken_purged == person.purged
        if self._replica is not None and self._replica.owner == lease.owner and is_same and not self._is_doubtful:
            return True
        replica = StreamReplica(self.servers, self.person.name, lease.owner, lease.holds)
        last = replica.look()
        if last.owner != lease.owner and not last.snapshot and self._is_alive(last.owner, live):
            self._replica = self._context = None
            return False
        replica.check_format()
        delete_purged(self.folder, person.purged)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        note_entry(self.folder, person.revision)
        self._taken_purged = person.purged
        owners, older = self._owners(), offered_by(last)
        if last.owner not in owners:
            if owners:
                self._write_owners()
            clear(self.folder)
            older = self._restored(older, is_current=last.snapshot not in ("", NO_SNAPSHOT))
            # Not the earlier owner: if it claims the log once more before this worker does, these outboxes are too old.
            self._write_owners(lease.owner)
        elif lease.owner not in owners:
            self._write_owners(last.owner, lease.owner)
        # From here on the log may be this worker's, also if the answer is lost: then it must be given back like any other.
        self._replica, self._context, self._is_doubtful = replica, None, True
        replica.claim(older)
        self._is_doubtful = False
        return True

    def _restored(self, offered: OlderSnapshot | None, *, is_current: bool) -> OlderSnapshot | None:
        """Restore the outboxes of a snapshot, and return it; None if there is none. ``is_current``: nothing was delivered after it."""
        name, folder = self.person.name, self.folder
        if offered is None or not restore_snapshot(self.servers, name, folder, self.box, offered.checksum):
            return None
        if not is_current:
            self.engine.mark_older(folder, offered.since)
        return offered

    def _is_alive(self, owner: str, live: Container[str]) -> bool:
        """Whether this owner has a lease. It may have begun since ``live`` was read; its claim came after its lease."""
        return owner in live or self._has_lease(owner)

    def _has_lease(self, owner: str) -> bool:
        if owner in self.ended_leases:
            return False
        has_lease = may_have_lease(self.servers, owner)
        if not has_lease:
            if len(self.ended_leases) >= MOST_ENDED:
                self.ended_leases.clear()  # they are asked for again
            self.ended_leases.add(owner)
        return has_lease

    def work(self, stops: Callable[[], bool]) -> TurnOutcome:
        """Do what is due. :meth:`take` comes before. Errors: TconnectsyncError, OSError."""
        outcome = self.context().work(stops)
        replica = self._replica
        if replica is not None and not stops() and self.snapshot_plan.is_due(replica.last.older, outcome.records):
            self._store_snapshot(replica, outcome.records)
        return outcome

    def perform(self, command: str, arguments: Mapping[str, Any], show: Callable[[Any], None]) -> Any:
        """Run an operator's request; see :meth:`PersonContext.perform`. Errors: TconnectsyncError.

        Snapshots before it know nothing of what it changes, and no longer count.
        """
        context, replica = self.context(), self._replica
        if replica is not None and command != "sync":
            replica.forget_snapshot()
        return context.perform(command, arguments, show)

    def _store_snapshot(self, replica: StreamReplica, records: int) -> None:
        """Store a snapshot for the case that this worker never gives the log back. Errors: ReplicaFailed."""
        is_named = False
        try:
            if replica.lease_holds():
                since = delivered_from()
                checksum = store_snapshot(self.servers, self.person.name, self.folder, self.box, QUICK_S)
                replica.name_snapshot(OlderSnapshot(checksum, since))
                is_named = True
        except ReplicaFailed:
            raise
        except (Retryable, NatsError, OSError) as error:
            log.warning('snapshot_not_stored message="%s"', error)
        finally:
            self.snapshot_plan.ended(records if is_named else None)

    def context(self) -> PersonContext:
        """Return the person's context, with the configuration loaded. Errors: TconnectsyncError."""
        if self._replica is None:
            raise RuntimeError("nobody owns the log")
        person, loaded = self.person, self._context
        if person.purged != self._taken_purged:
            raise TakenOver(f"{person.name} was removed and added again", remedy="The next turn begins anew.")
        if loaded is None or loaded[0] is not person:
            loaded = self._context = person, self._loaded(person, self._replica)
        return loaded[1]

    def _loaded(self, person: Member, replica: StreamReplica) -> PersonContext:
        text = opened(self.box, person.sealed)
        if text is None:
            raise NotReadable(
                "the configuration was sealed for another key",
                remedy=f"Add it again with this fleet's key: `tconnectsync fleet add --replace {person.name} …`.",
            )
        with private_file(f"{person.name}.toml", text) as path:
            context = self.engine.for_person(path, data_dir=self.folder, replica=replica, pace=self.pace)
            context.config()
        return context

    def release(self) -> None:
        """Give the log back, with a snapshot of the outboxes. Errors: ReplicaFailed; then it is still owned: try again.

        If none can be stored, the one before may still count. Without any, the next worker looks at the receiver.
        """
        replica = self._replica
        if replica is not None and replica.lease_holds() and replica.is_held():
            snapshot, self._is_doubtful = NO_SNAPSHOT, True  # if the answer is lost, another worker may have the log
            with contextlib.suppress(Retryable, NatsError, OSError):
                snapshot = store_snapshot(self.servers, self.person.name, self.folder, self.box)
            replica.release(snapshot, replica.last.older if snapshot == NO_SNAPSHOT else None)
        delete_purged(self.folder, self.person.purged)
        self._replica = self._context = None

    def forget(self, removal: Entry) -> bool:
        """Delete this disk's copies of a removed person, after :meth:`release` unless the data is to be deleted, too.

        False: they are kept, because they may be the last ones: the log was not to be deleted, and the stream does not have
        all of this disk's log.
        Errors: ReplicaFailed, Retryable, NatsError, OSError; then try again.
        """
        replica = self._replica or StreamReplica(self.servers, self.person.name, owner="")
        last = replica.look()
        delete_purged(self.folder, removal.last_purge)
        may_delete = (
            removal.purged
            or not self.folder.exists()
            or (last.end.position > 0 and self.engine.has_all_of(replica, last.end, self.folder))
        )
        if removal.purged and last.owner in ("", replica.owner):
            delete_data(self.servers, self.person.name, up_to=last.seq)  # what a turn has stored after the removal
        if may_delete and self.folder.exists():
            delete_folder(self.folder)
        self._replica = self._context = None
        return may_delete

    def doubt(self) -> None:
        """Look at the stream before the next turn: the log may have another owner, or an end that is not known here."""
        self._is_doubtful = True

    def is_held_under(self, lease: WorkerLease) -> bool:
        """Whether the log was last taken under this lease. It does not look at the stream."""
        return self._replica is not None and self._replica.owner == lease.owner

    @property
    def is_owned(self) -> bool:
        """Whether the log may be this worker's: it has sent a claim, perhaps without an answer, and has not given the log back."""
        return self._replica is not None

    @property
    def is_to_be_left(self) -> bool:
        """Whether :meth:`release` has something to do if another worker should have the person."""
        return self.is_owned or is_purged(self.folder, self.person.purged)

    def configure(self, person: Member) -> None:
        """Use a changed entry from the next turn on."""
        self.person = person

    def _owners(self) -> list[str]:
        try:
            return (self.folder / OWNERS).read_text(encoding="utf-8").split()
        except FileNotFoundError:
            return []

    def _write_owners(self, *owners: str) -> None:
        path = self.folder / OWNERS
        temporary = path.with_suffix(".tmp")
        with temporary.open("w", encoding="utf-8") as file:
            file.write("".join(f"{owner}\n" for owner in owners if owner))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
