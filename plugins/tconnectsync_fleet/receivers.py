"""Who delivers where, so that two people do not get one site by mistake: each person's entry has a keyed hash of each receiver's address."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Protocol

import attrs

_ADDRESS = re.compile(r"(?:([a-z][a-z0-9+.-]*)://)?([^/\s]+)(/.*)?", re.IGNORECASE)
_USUAL_PORTS = re.compile(r":(80|443)$")
_BROKER_PORTS = re.compile(r":\d+$")


def place_of(address: str) -> str | None:
    """Return what all addresses of one receiver have in common; None for a folder on the worker's disk."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        return None
    scheme, host, path = found.groups()
    if scheme is None and re.search(r":\d+$", host) is None:
        return None
    ports = (
        _BROKER_PORTS if (scheme or "").lower().startswith("mqtt") else _USUAL_PORTS
    )  # a broker has one for each kind
    return ports.sub("", host.lower()).rstrip(".") + (path or "").rstrip("/")


class HasReceivers(Protocol):
    """A person's entry."""

    @property
    def name(self) -> str: ...
    @property
    def receivers(self) -> Iterable[str]: ...


@attrs.define
class ReceiverOwners:
    """Who delivers to which receiver, by the hash of its address."""

    _names: dict[str, list[str]] = attrs.field(factory=dict)

    @classmethod
    def of(cls, people: Iterable[HasReceivers]) -> ReceiverOwners:
        """Return the owners of all receivers of these people."""
        owners = cls()
        for person in people:
            owners.add(person.name, person.receivers)
        return owners

    def add(self, name: str, receivers: Iterable[str]) -> None:
        """Note that this person delivers there."""
        for key in receivers:
            self._names.setdefault(key, []).append(name)

    def others(self, name: str, receivers: Mapping[str, str], *, shared: Iterable[str]) -> dict[str, str]:
        """Return the addresses of ``receivers`` (by hash) to which somebody else delivers, with that name. ``shared`` ones may be."""
        allowed, found = frozenset(shared), dict[str, str]()
        for key, address in receivers.items():
            owners = [owner for owner in self._names.get(key, ()) if owner != name]
            if owners and key not in allowed:
                found[address] = owners[0]
        return found
