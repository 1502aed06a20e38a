"""The people of the fleet: an entry in the bucket ``people`` for each, with a sealed configuration."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs
import click
from nats.errors import Error as NatsError
from nats.js.errors import BadRequestError, KeyNotFoundError, KeyWrongLastSequenceError

from tconnectsync import Retryable
from tconnectsync_fleet import formats
from tconnectsync_fleet.receivers import ReceiverOwners
from tconnectsync_fleet.servers import ANSWER_S, PEOPLE, Entry, Servers, has_data, last_purges

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_AT_ONCE = 200
"""So many entries are on their way to the servers at once."""
_ADD_S = 120.0
_LOOK_AGAIN_S = 0.1
_RECEIVERS, _PURGED = "receivers", "purged"


class NotPossible(click.ClickException):
    """The request cannot be done; nothing was changed."""

    exit_code = 2


@attrs.frozen(kw_only=True)
class CheckedConfig:
    """A configuration that was checked.

    ``sealed``: for the workers' key only. ``receivers``: where it delivers, addresses by keyed hash. ``shared``: the hashes of those that
    are meant to be other people's, too.
    """

    sealed: bytes = attrs.field(repr=False)
    receivers: Mapping[str, str] = attrs.field(factory=dict)
    shared: frozenset[str] = frozenset()


@attrs.frozen(kw_only=True)
class Member:
    """One person's entry. ``sealed``: the configuration file, for the workers' key only."""

    name: str
    sealed: bytes = attrs.field(repr=False)
    paused: bool = False
    revision: int = 0
    changed: datetime | None = None
    """When the entry was stored, by the servers' clocks."""
    format: int = 1
    more: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """What else is in the entry: another release may know it."""

    def value(self) -> bytes:
        """Return the entry as it is stored."""
        config = base64.b64encode(self.sealed).decode()
        return json.dumps({**self.more, "paused": self.paused, "config": config, formats.KEY: formats.FORMAT}).encode()

    @property
    def receivers(self) -> list[str]:
        """The hashes of the receivers' addresses; none if an older release has added the person."""
        found = self.more.get(_RECEIVERS)
        return [str(each) for each in found] if isinstance(found, list) else []

    @property
    def purged(self) -> int:
        """The revision at which the data of this name was last deleted: older data may be another person's. 0: not known."""
        found = self.more.get(_PURGED)
        return found if isinstance(found, int) and self.format <= formats.FORMAT else 0

    def with_config(self, config: CheckedConfig) -> Member:
        """Return the entry with another configuration."""
        more = {key: value for key, value in self.more.items() if key != _RECEIVERS}
        if config.receivers:
            more[_RECEIVERS] = sorted(config.receivers)
        return attrs.evolve(self, sealed=config.sealed, more=more)

    def check_format(self) -> None:
        """Check that this release knows the entry's format. Errors: NewerRelease."""
        formats.check_format(self.format, f"{self.name}: the fleet's data")


def person_of(name: str, entry: Entry) -> Member | None:
    """Return the person of an entry; None if it was removed or cannot be read."""
    if entry.value is None or NAME.fullmatch(name) is None:
        return None
    try:
        stored: Mapping[str, Any] = json.loads(entry.value)
        found, paused = formats.format_of(stored), bool(stored.get("paused"))
        more = {key: value for key, value in stored.items() if key not in {"config", "paused", formats.KEY}}
        sealed = b"" if found > formats.FORMAT else base64.b64decode(stored["config"], validate=True)
        return Member(
            name=name, sealed=sealed, paused=paused, revision=entry.revision, changed=entry.at, format=found, more=more
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def check_name(name: str) -> str:
    """Return the name. Errors: NotPossible."""
    if NAME.fullmatch(name) is None:
        raise NotPossible(f"{name!r} is not a valid name: use small letters, digits and hyphens, at most 63 of them.")
    return name


class People:
    """The bucket of people, for commands. Errors of every method: Retryable if the servers do not answer."""

    def __init__(self, servers: Servers) -> None:
        """Look at the bucket. Errors: NewerRelease if a newer release changed the whole fleet."""
        self._servers = servers
        servers.bucket_state(PEOPLE).check_format()
        self._bucket = servers.bucket(PEOPLE)

    def all(self) -> dict[str, Member | None]:
        """Return everybody, by name. None: the entry cannot be read."""
        found = sorted(self._servers.changes(PEOPLE).items())
        return {
            name: person_of(name, entry) for name, entry in found if entry.value is not None and NAME.fullmatch(name)
        }

    def has(self, name: str) -> bool:
        """Whether there is an entry of that name, readable or not. Errors: NotPossible if it is no name."""
        return self._entry(name) is not None

    def _entry(self, name: str) -> Entry | None:
        try:
            found = self._servers.call(self._bucket.get(check_name(name)))
        except KeyNotFoundError:
            return None
        return Entry(revision=found.revision or 0, value=found.value)

    def get(self, name: str) -> Member:
        """Return one person. Errors: NotPossible if there is nobody of that name, or the entry cannot be read; NewerRelease."""
        person = person_of(name, self._present(name))
        if person is None:
            raise NotPossible(
                f"The entry of {name} cannot be read. Add it again: `tconnectsync fleet add --replace {name} …`,"
                f" or remove it: `tconnectsync fleet remove {name}`."
            )
        person.check_format()
        return person

    def _present(self, name: str) -> Entry:
        entry = self._entry(name)
        if entry is None:
            raise NotPossible(f"There is nobody named {name}. List them: `tconnectsync fleet status`.")
        return entry

    def check_new(self, name: str) -> None:
        """Check that the stream has no log of a name that nobody has: it may be another person's. Errors: NotPossible."""
        if not self.has(name) and has_data(self._servers, name):
            raise NotPossible(
                f"The fleet still has an event log of {name}, perhaps another person's. Nothing was added."
                f" The same person: add `--continue-log`. Otherwise delete it first: `tconnectsync fleet remove --data {name}`."
            )

    def add(self, name: str, config: CheckedConfig, *, replace: bool) -> Member:
        """Add a person, or replace the configuration; return the entry. Errors: NotPossible (also if somebody else has the site), NewerRelease."""
        person, before = Member(name=check_name(name), sealed=b""), None
        if replace:
            entry = self._present(name)
            before = person_of(name, entry) or attrs.evolve(person, revision=entry.revision)
            before.check_format()
        elif self.has(name):
            raise _exists(name)
        else:
            person = self._new([name])[name]
        kept = () if before is None else before.receivers  # what was shared before may stay
        self.check_receivers(name, config, kept)
        wanted = (before or person).with_config(config)
        with self._undone_on_error([wanted], before):
            try:
                revision = self._servers.call(self._put(wanted))
            except KeyWrongLastSequenceError:
                raise _exists(name) if before is None else _changed(name) from None
            self.check_receivers(name, config, kept, since=revision)
        return wanted

    def check_receivers(self, name: str, config: CheckedConfig, kept: Iterable[str] = (), *, since: int = 0) -> None:
        """Check that nobody else delivers where this person will. Errors: NotPossible.

        Called before an entry is stored, and again with its revision ``since``: whoever stored an entry at the same time does
        that, too, so two people cannot both pass.
        """
        taken = self._owners(since).others(name, config.receivers, shared={*config.shared, *kept})
        if taken:
            raise NotPossible(_words(name, taken))

    def _owners(self, since: int = 0) -> ReceiverOwners:
        deadline: float | None = None
        while True:
            entries = self._servers.changes(PEOPLE)
            if max((entry.revision for entry in entries.values()), default=0) >= since:
                break  # else a server answered that lags behind
            deadline = deadline or time.monotonic() + ANSWER_S  # to read everybody once may take longer
            if time.monotonic() > deadline:
                raise Retryable(
                    "the NATS servers do not show what was just stored", remedy="Run the same command again."
                )
            time.sleep(_LOOK_AGAIN_S)
        people = (person_of(name, entry) for name, entry in entries.items())
        return ReceiverOwners.of(person for person in people if person is not None)

    def add_all(self, configs: Mapping[str, CheckedConfig]) -> dict[str, str]:
        """Add many people; return who was not added, with the reason: "" if that name exists already. Errors: NotPossible."""
        refused: dict[str, str] = {}
        owners, new = self._owners(), self._new(configs)
        for name, config in configs.items():
            taken = owners.others(name, config.receivers, shared=config.shared)
            if taken:
                refused[name] = _words(name, taken)
                del new[name]
            else:
                owners.add(name, config.receivers)
                new[name] = new[name].with_config(config)
        with self._undone_on_error(list(new.values())):
            revisions = self._create_all(list(new.values()))
            refused |= {name: "" for name in new if name not in revisions}
            owners = self._owners(max(revisions.values(), default=0))
            for name in revisions:
                taken = owners.others(name, configs[name].receivers, shared=configs[name].shared)
                if taken:
                    self._servers.call(self._put_back([new[name]]))
                    refused[name] = _words(name, taken)
        return refused

    def _create_all(self, people: Sequence[Member]) -> dict[str, int]:
        """Return the revisions of those who were not there before."""

        async def create(person: Member) -> int | None:
            with contextlib.suppress(KeyWrongLastSequenceError):
                return await self._put(person)
            return None

        async def create_each(some: Sequence[Member]) -> list[int | None]:
            return await asyncio.gather(*map(create, some))

        found: dict[str, int] = {}
        for first in range(0, len(people), _AT_ONCE):
            some = people[first : first + _AT_ONCE]
            revisions = self._servers.call(create_each(some), _ADD_S)
            found |= {
                person.name: revision for person, revision in zip(some, revisions, strict=True) if revision is not None
            }
        return found

    def _new(self, names: Collection[str]) -> dict[str, Member]:
        """Return entries for new people. They say when data of their names was deleted: not every worker may have seen that."""
        purges = last_purges(self._servers, PEOPLE, [check_name(name) for name in names])
        return {
            name: Member(name=name, sealed=b"", more={_PURGED: purged} if purged else {})
            for name, purged in purges.items()
        }

    async def _put(self, person: Member) -> int:
        """Store an entry in the place of the one with its revision (0: there is none). Errors: KeyWrongLastSequenceError."""
        if not person.revision:
            return await self._bucket.create(person.name, person.value())
        return await self._bucket.update(person.name, person.value(), person.revision)

    @contextlib.contextmanager
    def _undone_on_error(self, entries: Sequence[Member], before: Member | None = None) -> Iterator[None]:
        """If the block fails, undo what it stored of these entries: nobody may stay who was not compared with everybody else.

        Errors: the block's; Retryable if that was not possible either.
        """
        try:
            yield
        except BaseException as error:
            try:
                self._servers.call(self._put_back(entries, before), _ADD_S)
            except (Retryable, NatsError) as failure:
                raise _left(entries, error, failure) from error
            raise

    async def _put_back(self, entries: Sequence[Member], before: Member | None = None) -> None:
        """Put ``before`` in the place of these entries, or nothing; not if somebody else has changed one meanwhile."""

        async def put_back(entry: Member) -> None:
            with contextlib.suppress(KeyNotFoundError, BadRequestError):  # somebody else was quicker
                found = await self._bucket.get(entry.name)
                if found.value == entry.value() and before is None:
                    await self._servers.delete_entry(PEOPLE, entry.name, found.revision or 0, entry.purged)
                elif found.value == entry.value() and before is not None:
                    await self._bucket.update(entry.name, before.value(), found.revision)

        for first in range(0, len(entries), _AT_ONCE):
            together = map(put_back, entries[first : first + _AT_ONCE])
            # each is tried, also after one that failed
            for failure in await asyncio.gather(*together, return_exceptions=True):
                if isinstance(failure, BaseException):
                    raise failure

    def store(self, person: Member) -> None:
        """Store a changed entry. Errors: NotPossible if somebody else changed it meanwhile."""
        try:
            self._servers.call(self._bucket.update(person.name, person.value(), person.revision))
        except KeyWrongLastSequenceError:
            raise _changed(person.name) from None

    def remove(self, name: str, *, with_data: bool = False) -> None:
        """Remove a person. The marker that stays tells the workers whether the log is deleted, too. Errors: NotPossible."""
        entry = self._entry(name) if with_data else self._present(name)
        if with_data:
            self._servers.call(self._bucket.purge(name))
        elif entry is not None:
            person = person_of(name, entry)
            purged = 0 if person is None else person.purged
            self._servers.call(self._servers.delete_entry(PEOPLE, name, entry.revision, purged))


def _exists(name: str) -> NotPossible:
    return NotPossible(f"{name} exists. To change the configuration: `tconnectsync fleet add --replace {name} …`.")


def _changed(name: str) -> NotPossible:
    return NotPossible(f"Somebody else has just changed {name}. Run the command again.")


def _left(entries: Sequence[Member], error: BaseException, failure: Exception) -> Retryable:
    """Return what is said if entries may have stayed that were not compared with everybody else's."""
    names = ", ".join(entry.name for entry in entries)
    return Retryable(
        f"{names}: possibly added or changed. It could not be checked whether somebody else delivers to the same address ({error}),"
        f" and undoing it failed ({failure})",
        remedy="When the NATS servers answer again, remove each of them that `tconnectsync fleet status --json` lists"
        " (`tconnectsync fleet remove NAME` keeps the log), and add it again.",
    )


def _words(name: str, taken: Mapping[str, str]) -> str:
    there = ", ".join(f"{owner} already delivers to {address}" for address, owner in taken.items())
    meant = " ".join(f"--shared-receiver {address}" for address in taken)
    return (
        f"{there}. Two people's doses would mix there, so {name} was not added or changed. Correct the address in the"
        f" configuration. Only if both are meant to deliver there: add `{meant}`."
    )
