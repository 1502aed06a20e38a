"""The people of the fleet: an entry in the bucket ``people`` for each, with a sealed configuration."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import click
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError

from tconnectsync_fleet import formats
from tconnectsync_fleet.receivers import Receivers, Taken
from tconnectsync_fleet.servers import PEOPLE, Entry, Servers, has_data

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SECRET_FILE = re.compile(r"""^(\s*)([A-Za-z0-9_]+)_file(\s*=\s*)(["'])(.+?)\4\s*(?:#.*)?$""", re.MULTILINE)
_AT_ONCE = 200
"""So many entries are on their way to the servers at once."""
_CLAIM_S = 120.0
_RECEIVERS = "receivers"
_OF_THE_MACHINE = ("plugins_dir", "blocked_plugins", "web")


class NotPossible(click.ClickException):
    """The request cannot be done; nothing was changed."""

    exit_code = 2


@attrs.frozen(kw_only=True)
class CheckedConfig:
    """A configuration that was checked. ``sealed``: for the workers' key only. ``receivers``: where it delivers, addresses by keyed hash."""

    sealed: bytes = attrs.field(repr=False)
    receivers: Mapping[str, str] = attrs.field(factory=dict)


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
        if found > formats.FORMAT:
            return Member(name=name, sealed=b"", paused=paused, revision=entry.revision, changed=entry.at, format=found)
        sealed = base64.b64decode(stored["config"], validate=True)
        more = {key: value for key, value in stored.items() if key not in {"config", "paused", formats.KEY}}
        return Member(
            name=name, sealed=sealed, paused=paused, revision=entry.revision, changed=entry.at, format=found, more=more
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def check_name(name: str) -> str:
    """Return the name. Errors: NotPossible."""
    if NAME.fullmatch(name) is None:
        raise NotPossible(f"{name!r} is no name: use small letters, digits and hyphens, at most 63 of them.")
    return name


def with_secrets_inside(path: Path) -> str:
    """Return the text of a configuration file, with the content of every secret file in the place of its path.

    Errors: NotPossible if a key is about the machine, or a secret file cannot be read.
    """
    import tomli

    text = path.read_text(encoding="utf-8-sig")

    def inside(found: re.Match[str]) -> str:
        indent, key, equals, _, name = found.groups()
        try:
            lines = (path.parent / Path(name).expanduser()).read_text(encoding="utf-8-sig").strip("\r\n").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise NotPossible(f"{path}: {key}_file: {name} cannot be read ({error}).") from error
        value: str | list[str] = lines[0] if len(lines) == 1 else lines
        return f"{indent}{key}{equals}{json.dumps(value, ensure_ascii=False)}"

    text = _SECRET_FILE.sub(inside, text)
    tables = tomli.loads(text)
    machine = [key for key in _OF_THE_MACHINE if key in tables]
    if machine:
        raise NotPossible(f"{path}: {machine[0]}: this is about one computer. Remove it: workers have their own.")
    left = list(_paths_left(tables))
    if left:
        raise NotPossible(f"{path}: {left[0]}: write the secret itself into the file; workers cannot read this path.")
    return text


def _paths_left(table: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for key, value in table.items():
        if isinstance(value, dict):
            found += _paths_left(value, f"{prefix}{key}.")
        elif key.endswith("_file"):
            found.append(prefix + key)
    return found


class People:
    """The bucket of people, for commands. Errors of every method: Retryable if the servers do not answer."""

    def __init__(self, servers: Servers) -> None:
        """Look at the bucket. Errors: NewerRelease if a newer release changed the whole fleet."""
        self._servers = servers
        servers.bucket_state(PEOPLE).check_format()
        self._bucket = servers.bucket(PEOPLE)
        self._receivers = Receivers(servers, self._delivers)

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

    def add(self, name: str, config: CheckedConfig, *, replace: bool, may_share: bool = False) -> None:
        """Add a person, or replace the configuration. Errors: NotPossible, NewerRelease.

        ``may_share``: another person may deliver to the same receivers.
        """
        person = Member(name=check_name(name), sealed=b"")
        before = None
        if replace:
            entry = self._present(name)
            before = person_of(name, entry) or attrs.evolve(person, revision=entry.revision)
            before.check_format()
        elif self.has(name):
            raise _exists(name)
        self.claim_receivers(name, config, may_share=may_share)
        if before is None:
            try:
                self._servers.call(self._bucket.create(name, person.with_config(config).value()))
            except KeyWrongLastSequenceError:
                raise _exists(name) from None
        else:
            self.store(before.with_config(config))
            gone = [key for key in before.receivers if key not in config.receivers]
            self._servers.call(self._receivers.release(name, gone))

    def claim_receivers(self, name: str, config: CheckedConfig, *, may_share: bool) -> None:
        """Note where a person will deliver. Errors: NotPossible if another person delivers there, unless ``may_share``."""
        taken = self._servers.call(self._receivers.claim(name, config.receivers, may_share=may_share), _CLAIM_S)
        if taken is not None:
            raise NotPossible(_words(name, taken))

    def add_all(self, configs: Mapping[str, CheckedConfig], *, may_share: bool = False) -> dict[str, str]:
        """Add many people; return who was not added, with the reason: "" if that name exists already. Errors: NotPossible."""

        async def create(name: str) -> tuple[str, str | None]:
            config = configs[name]
            taken = await self._receivers.claim(name, config.receivers, may_share=may_share)
            if taken is not None:
                return name, _words(name, taken)
            try:
                await self._bucket.create(name, Member(name=name, sealed=b"").with_config(config).value())
            except KeyWrongLastSequenceError:
                return name, ""
            return name, None

        async def create_each(some: Sequence[str]) -> list[tuple[str, str | None]]:
            return await asyncio.gather(*map(create, some))

        names = [check_name(name) for name in configs]
        refused: dict[str, str] = {}
        for first in range(0, len(names), _AT_ONCE):
            found = self._servers.call(create_each(names[first : first + _AT_ONCE]), _CLAIM_S)
            refused |= {name: reason for name, reason in found if reason is not None}
        return refused

    def store(self, person: Member) -> None:
        """Store a changed entry. Errors: NotPossible if somebody else changed it meanwhile."""
        try:
            self._servers.call(self._bucket.update(person.name, person.value(), person.revision))
        except KeyWrongLastSequenceError:
            raise NotPossible(f"Somebody else has just changed {person.name}. Try again.") from None

    def remove(self, name: str, *, with_data: bool = False) -> None:
        """Remove a person. The marker that stays tells the workers whether the log is deleted, too. Errors: NotPossible."""
        entry = self._entry(name) if with_data else self._present(name)
        if with_data:
            self._servers.call(self._bucket.purge(name))
        elif entry is not None:
            self._servers.call(self._bucket.delete(name, entry.revision))
        person = None if entry is None else person_of(name, entry)
        if person is not None:
            self._servers.call(self._receivers.release(name, person.receivers), _CLAIM_S)

    async def _delivers(self, name: str, key: str) -> bool | None:
        try:
            found = await self._bucket.get(name)
        except KeyNotFoundError:
            return None
        person = person_of(name, Entry(revision=found.revision or 0, value=found.value))
        return person is None or key in person.receivers  # one that cannot be read may deliver there


def _exists(name: str) -> NotPossible:
    return NotPossible(f"{name} exists. To change the configuration: `fleet add --replace {name} …`.")


def _words(name: str, taken: Taken) -> str:
    return (
        f"{taken.person} already delivers to {taken.address}. Two people's doses would mix there, so nothing was changed for {name}."
        f" Correct the address in the configuration, or remove the other: `tconnectsync fleet remove {taken.person}`."
        " Only if both are meant to be there: add `--shared-receiver`."
    )
