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
from tconnectsync_fleet.servers import PEOPLE, Entry, Servers, has_data

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SECRET_FILE = re.compile(r"""^(\s*)([A-Za-z0-9_]+)_file(\s*=\s*)(["'])(.+?)\4\s*(?:#.*)?$""", re.MULTILINE)
_AT_ONCE = 200
"""So many entries are on their way to the servers at once."""
_OF_THE_MACHINE = ("plugins_dir", "blocked_plugins", "web")


class NotPossible(click.ClickException):
    """The request cannot be done; nothing was changed."""

    exit_code = 2


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

    def add(self, name: str, sealed: bytes, *, replace: bool) -> None:
        """Add a person, or replace the configuration. Errors: NotPossible, NewerRelease."""
        person = Member(name=check_name(name), sealed=sealed)
        try:
            if replace:
                entry = self._present(name)
                before = person_of(name, entry) or attrs.evolve(person, revision=entry.revision)
                before.check_format()
                self.store(attrs.evolve(before, sealed=sealed))
            else:
                self._servers.call(self._bucket.create(name, person.value()))
        except KeyWrongLastSequenceError:
            raise NotPossible(f"{name} exists. To change the configuration: `fleet add --replace {name} …`.") from None

    def add_all(self, sealed: Mapping[str, bytes]) -> list[str]:
        """Add many people; return the names that exist already, which stay as they were. Errors: NotPossible."""
        people = [Member(name=check_name(name), sealed=content) for name, content in sealed.items()]

        async def create(person: Member) -> str | None:
            try:
                await self._bucket.create(person.name, person.value())
            except KeyWrongLastSequenceError:
                return person.name
            return None

        async def create_each(some: Sequence[Member]) -> list[str | None]:
            return await asyncio.gather(*map(create, some))

        existing: list[str] = []
        for first in range(0, len(people), _AT_ONCE):
            found = self._servers.call(create_each(people[first : first + _AT_ONCE]), 60.0)
            existing += [name for name in found if name is not None]
        return existing

    def store(self, person: Member) -> None:
        """Store a changed entry. Errors: NotPossible if somebody else changed it meanwhile."""
        try:
            self._servers.call(self._bucket.update(person.name, person.value(), person.revision))
        except KeyWrongLastSequenceError:
            raise NotPossible(f"Somebody else has just changed {person.name}. Try again.") from None

    def remove(self, name: str, *, with_data: bool = False) -> None:
        """Remove a person. The marker that stays tells the workers whether the log is deleted, too. Errors: NotPossible."""
        if with_data:
            self._servers.call(self._bucket.purge(check_name(name)))
        else:
            self._servers.call(self._bucket.delete(name, self._present(name).revision))
