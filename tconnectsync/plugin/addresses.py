"""Checks web addresses that a person typed, and whether a host is in the local network."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from tconnectsync.plugin.pasted_text import without_unseen

EXAMPLE = "https://my-site.example/"
_TWICE = re.compile(r"https?:/*https?:?/", re.IGNORECASE)
_AT_HOME = (".local", ".lan", ".home", ".home.arpa", ".internal", ".localhost")
_NETWORKS = tuple(map(ipaddress.ip_network, (
    "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7",
    "fe80::/10",
)))  # fmt: skip
"""Addresses of hosts that are not on the public internet."""
_LONGEST_LABEL, _LONGEST_HOST = 63, 253


def web_address(text: str) -> SplitResult:
    """Return the parts of a web address. Raises ValueError with what was expected. The message does not contain the address."""
    text = without_unseen(text)
    if _TWICE.match(text):
        raise ValueError(f"an address with only one https://, such as {EXAMPLE}")
    if re.search(r"[\s\x00-\x1f\x7f]", text):
        raise ValueError(f"an address without blanks, such as {EXAMPLE}")
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        raise ValueError(f"an address whose host is a name or an IP address, such as {EXAMPLE}") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError(f"an address that begins with https://, such as {EXAMPLE}")
    wrong = _host_problem(host)
    if wrong is not None:
        raise ValueError(wrong)
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("a port after the colon between 1 and 65535") from None
    return parts


def address_problem(text: str | None) -> str | None:
    """Return what was expected instead of ``text``; None if it is a web address, or None."""
    try:
        return None if text is None else (web_address(text) and None)
    except ValueError as error:
        return str(error)


def is_at_home(host: str) -> bool:
    """Whether a host name or address is this machine or in the local network."""
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        name = host.rstrip(".").casefold()
        return "." not in name or name.endswith(_AT_HOME)
    return any(address in network for network in _NETWORKS)


def _host_problem(host: str) -> str | None:
    if ":" in host:
        return None  # an IPv6 address, which urlsplit has checked
    labels = host.removesuffix(".").split(".")
    if not all(labels):
        return "a host without two dots in a row or a dot at its beginning"
    if any(len(label) > _LONGEST_LABEL for label in labels):
        return f"a host whose parts between the dots have at most {_LONGEST_LABEL} letters"
    try:
        fits = len(host.encode("idna")) <= _LONGEST_HOST
    except UnicodeError:
        fits = False
    return None if fits else "a host that can be a name on the internet"
