"""Check the secret of a request in constant time. A client that guesses must wait; others need not."""

from __future__ import annotations

import hmac
import ipaddress
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

import attrs

FREE_FAILURES = 3
"""This many wrong secrets in a row are treated as mistakes."""
LONGEST_WAIT_S = 60.0
MOST_CLIENTS = 10_000
"""How many clients with a wrong secret are remembered (a few megabytes)."""


@attrs.define
class _Failures:
    """Wrong secrets of one client in a row."""

    many: int = 0
    shut_until: float = 0.0


class SecretGate:
    """Counts wrong secrets per client, as :func:`client_of` defines it. ``monotonic`` returns seconds."""

    def __init__(self, secret: bytes, monotonic: Callable[[], float], *, most_clients: int = MOST_CLIENTS) -> None:
        self._secret = secret
        self._monotonic = monotonic
        self._most = most_clients
        self._lock = threading.Lock()
        self._failed: OrderedDict[str, _Failures] = OrderedDict()  # the most recent failure is last

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """What :meth:`admits` accepts."""
        return (self._secret,)

    def wait_s(self, client: str) -> int:
        """Whole seconds until the client may try again; 0: now."""
        with self._lock:
            failures = self._failed.get(client)
            return 0 if failures is None else max(0, math.ceil(failures.shut_until - self._monotonic()))

    def admits(self, offered: bytes, client: str) -> bool:
        """Whether this is the secret. From the fourth wrong one in a row, each doubles the client's waiting time.

        While a client must wait, the right secret is refused too; otherwise waiting would cost a guesser nothing.
        """
        return self.admits_either(self.secrets, offered, client)

    def admits_either(self, right: Sequence[bytes], offered: bytes, client: str) -> bool:
        """Like :meth:`admits`, for any of these secrets.

        Only the gate's own secret ends a row of wrong ones: whoever has the view link may not guess it without limit.
        """
        with self._lock:
            now = self._monotonic()
            failures = self._failed.get(client)
            if failures is not None and now < failures.shut_until:
                return False
            if any(hmac.compare_digest(offered, each) for each in right):
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
    """The client of an address: an IPv4 address, or the /64 network of IPv6, since one line has all of its addresses.

    The port, which some routers add, changes with each connection and is ignored.
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
    """Remove port and brackets from ``a.b.c.d:port`` and ``[v6]:port``."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address
