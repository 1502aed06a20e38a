"""Who delivers where: an entry in the bucket ``receivers`` for each address, so that two people do not get one site by mistake.

The key is a keyed hash of the address, the value has the names. A name counts only if the person's own entry has the hash, too: what an
interrupted command or an older release leaves behind is replaced.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping

import attrs
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue

from tconnectsync import Retryable
from tconnectsync_fleet.servers import RECEIVERS, Entry, Servers

BEING_ADDED_S = 20.0
"""So long after its receivers, a person's entry may come."""
_LOOK_S = 0.5
_ATTEMPTS = 20
_ADDRESS = re.compile(r"(?:([a-z][a-z0-9+.-]*)://)?([^/\s]+)(/.*)?")
_USUAL_PORTS = re.compile(r":(80|443)$")


def place_of(address: str) -> str | None:
    """Return what all addresses of one receiver have in common; None for a folder on the worker's disk."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        return None
    scheme, host, path = found.groups()
    if scheme is None and re.search(r":\d+$", host) is None:
        return None
    return _USUAL_PORTS.sub("", host.lower()) + (path or "").rstrip("/")


@attrs.frozen(kw_only=True)
class Taken:
    """Another person delivers to this address."""

    person: str
    address: str


@attrs.define
class Receivers:
    """The bucket. Its methods run in the loop of the connection. Errors of every method: NatsError, Retryable."""

    servers: Servers
    delivers: Callable[[str, str], Awaitable[bool | None]]
    """Whether this person's entry has this hash; None: there is no such person."""
    _bucket: KeyValue | None = None

    async def claim(self, name: str, addresses: Mapping[str, str], *, may_share: bool) -> Taken | None:
        """Note that this person delivers to these addresses, by their hash. Somebody else does: return that; nothing is changed then.

        ``may_share``: they are meant to be other people's, too.
        """
        done: list[str] = []
        for key, address in addresses.items():
            other = await self._claim(name, key, may_share=may_share)
            if other is not None:
                await self.release(name, [key for key in done if not await self.delivers(name, key)])
                return Taken(person=other, address=address)
            done.append(key)
        return None

    async def _claim(self, name: str, key: str, *, may_share: bool) -> str | None:
        bucket = await self._opened()
        for _ in range(_ATTEMPTS):
            entry = await _entry(bucket, key)
            present = _names_in(entry)
            others = [other for other in present if other != name and await self._delivers_soon(other, key)]
            if others and name not in present and not may_share:
                return others[0]
            wanted = sorted({*others, name})
            # Also if these names are there already: whoever waits for this person to be added must not replace the entry.
            if await _is_stored(bucket, key, wanted, entry):
                return None
        raise _busy(name)

    async def _delivers_soon(self, name: str, key: str) -> bool:
        for _ in range(int(BEING_ADDED_S / _LOOK_S)):
            found = await self.delivers(name, key)
            if found is not None:
                return found
            await asyncio.sleep(_LOOK_S)
        return False

    async def release(self, name: str, keys: Iterable[str]) -> None:
        """Note that this person no longer delivers to the addresses with these hashes."""
        for key in keys:
            await self._release(name, key)

    async def _release(self, name: str, key: str) -> None:
        bucket = await self._opened()
        for _ in range(_ATTEMPTS):
            entry = await _entry(bucket, key)
            left = [other for other in _names_in(entry) if other != name]
            if left == _names_in(entry) or await _is_stored(bucket, key, left, entry):
                return
        raise _busy(name)

    async def _opened(self) -> KeyValue:
        if self._bucket is None:
            self._bucket = await self.servers.bucket_or_new(RECEIVERS)
        return self._bucket


def _busy(name: str) -> Retryable:
    return Retryable(f"others change the receivers of {name} all the time", remedy="Run the same command again.")


async def _entry(bucket: KeyValue, key: str) -> Entry | None:
    try:
        found = await bucket.get(key)
    except KeyNotFoundError:
        return None
    return Entry(revision=found.revision or 0, value=found.value)


def _names_in(entry: Entry | None) -> list[str]:
    """Return the names in an entry; none if it cannot be read: then it is replaced."""
    try:
        return [] if entry is None else [str(name) for name in json.loads(entry.value or b"{}")["people"]]
    except (ValueError, KeyError, TypeError):
        return []


async def _is_stored(bucket: KeyValue, key: str, names: list[str], before: Entry | None) -> bool:
    """Store who delivers there. False: somebody else has changed it meanwhile."""
    value = json.dumps({"people": names}).encode()
    try:
        if before is None:
            await bucket.create(key, value)
        elif names:
            await bucket.update(key, value, before.revision)
        else:
            await bucket.delete(key, before.revision)
    except KeyWrongLastSequenceError:
        return False
    return True
