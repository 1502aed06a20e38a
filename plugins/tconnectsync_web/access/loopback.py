"""Addresses that only this computer reaches."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches an address: a name or IP address without a port."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host_is_loopback(header: str) -> bool:
    """Whether a ``Host`` header names this computer.

    A foreign site can make its own name point to 127.0.0.1 (DNS rebinding). The browser then sends that name.
    """
    name = header.partition("]")[0] + "]" if header.startswith("[") else header.partition(":")[0]
    return is_loopback(name)
