"""Who may come in: one secret, compared in constant time; who guesses is slowed down, and nobody else."""

from __future__ import annotations

import hmac
import ipaddress
import math
import threading
from collections import OrderedDict
from collections.abc import Callable

import attrs

FREE_FAILURES = 3
"""So many wrong secrets in a row are mistakes."""
LONGEST_WAIT_S = 60.0
MOST_CLIENTS = 10_000
"""So many clients with a wrong secret are remembered, in a few megabytes."""


@attrs.define
class _Failures:
    """Wrong secrets of one client, in a row."""

    many: int = 0
    shut_until: float = 0.0


class SecretGate:
    """Counts for each client by itself. ``monotonic`` answers seconds; a client is what :func:`client_of` says."""

    def __init__(self, secret: bytes, monotonic: Callable[[], float], *, most_clients: int = MOST_CLIENTS) -> None:
        self._secret = secret
        self._monotonic = monotonic
        self._most = most_clients
        self._lock = threading.Lock()
        self._failed: OrderedDict[str, _Failures] = OrderedDict()  # the latest to fail is last

    def wait_s(self, client: str) -> int:
        """Whole seconds until its next secret is looked at; 0: now."""
        with self._lock:
            failures = self._failed.get(client)
            return 0 if failures is None else max(0, math.ceil(failures.shut_until - self._monotonic()))

    def admits(self, offered: bytes, client: str) -> bool:
        """Whether this is the secret. From the fourth wrong one in a row on, each shuts the client out for twice as long.

        The right one is refused, too, to whoever is shut out: else waiting would cost a guesser nothing.
        """
        with self._lock:
            now = self._monotonic()
            failures = self._failed.get(client)
            if failures is not None and now < failures.shut_until:
                return False
            if hmac.compare_digest(offered, self._secret):
                self._failed.pop(client, None)
                return True
            self._note(client, failures or _Failures(), now)
            return False

    def _note(self, client: str, failures: _Failures, now: float) -> None:
        failures.many = min(failures.many + 1, 30)
        if failures.many > FREE_FAILURES:
            failures.shut_until = now + min(LONGEST_WAIT_S, 2.0 ** (failures.many - FREE_FAILURES))
        self._failed[client] = failures
        self._failed.move_to_end(client)
        if len(self._failed) > self._most:
            self._failed.popitem(last=False)


def client_of(address: str) -> str:
    """Who is counted together: an IPv4 address; of IPv6 the /64 network, for one line has all of its addresses.

    The port, which some routers add, is another one with each connection and tells nobody apart.
    """
    address = _without_port(address)
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if found.version == 4:
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))


def _without_port(address: str) -> str:
    """``a.b.c.d:port`` and ``[v6]:port`` without port and brackets."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address
