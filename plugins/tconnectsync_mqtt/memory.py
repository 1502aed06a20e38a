"""What the receiver keeps over a restart: where the device was announced, and the newest values of each topic."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

_ONE_DEVICE = "device discovery"
"""What an earlier release kept when it had announced the device, under the prefix that was configured then."""


@attrs.frozen(kw_only=True)
class BrokerMemory:
    """``announced``: the discovery prefix of the device's message; "" if discovery was off, None if there was no such message yet.

    ``address``: the broker that knows this. ``values``: the newest content by topic, since nobody else keeps it: the broker retains only a part, and loses that too.
    """

    address: str = ""
    announced: str | None = None
    values: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)

    def text(self) -> str:
        """Return it as text for the outbox."""
        return (
            "" if self == BrokerMemory(address=self.address) else json.dumps(attrs.asdict(self), separators=(",", ":"))
        )

    @classmethod
    def of(cls, text: str, discovery_prefix: str, address: str) -> BrokerMemory:
        """Return the memory of a text; empty if it cannot be read. ``discovery_prefix`` and ``address`` are the configured ones.

        It is empty for another broker too, which may be somebody else's: it gets nothing before the user confirms the address.
        """
        empty = cls(address=address)
        if text == _ONE_DEVICE:
            return attrs.evolve(empty, announced=discovery_prefix)
        try:
            found = json.loads(text)
            if found.get("address", address) != address:
                return empty
            return attrs.evolve(empty, announced=found["announced"], values=dict(found["values"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            return empty
