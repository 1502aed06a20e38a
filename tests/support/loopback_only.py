"""Tests may connect only to this machine: a test that connects to another one fails, even if it catches the error."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

import pytest

# Names that are reserved for examples never resolve; asking for them is fine, answering is done here.
_RESERVED = (".invalid", ".test", ".example", "example.com", "example.net", "example.org")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in {"", "localhost"}


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse connections and name lookups that would leave this machine, and fail the test that tried."""
    tried: list[str] = []
    connect, connect_ex, lookup = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def forbid(family: int, address: Any) -> None:
        if family in {socket.AF_INET, socket.AF_INET6} and not _is_loopback(str(address[0])):
            tried.append(str(address[0]))
            raise ConnectionRefusedError(f"tests may not connect to {address[0]}")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        forbid(self.family, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        forbid(self.family, address)
        return connect_ex(self, address)

    def guarded_lookup(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host or ""
        if _is_loopback(name):
            return lookup(host, *arguments, **options)
        if not name.endswith(_RESERVED):
            tried.append(name)
        raise socket.gaierror(socket.EAI_NONAME, "tests may not look up names")

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_lookup)
    yield
    if tried:
        pytest.fail(f"this test tried to reach {', '.join(sorted(set(tried)))}")
