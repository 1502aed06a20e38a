"""What a Nightscout site is: its address, its version and what follows from that."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import attrs

from tconnectsync import addresses

_API_TAIL = re.compile(r"/api(/v\d+)?(/[a-z]+(\.json)?)?/*$")
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(-?)")
_KEYED_BY_IDENTIFIER = (15, 0, 7)


def site_url(text: str) -> str:
    """The address of a site in its one form: scheme, host in lower case, path, a slash at the end.

    Raises ValueError with what is wrong; neither the error nor the answer holds anything secret.
    """
    try:
        parts = addresses.web_address(text)
    except ValueError as error:
        raise ValueError(f"expected {error}") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("a user name or password does not belong into the address; set nightscout.api_secret instead")
    if parts.query or parts.fragment:
        raise ValueError("nothing may follow the path (no ?token=…); set nightscout.token instead")
    name = parts.hostname or ""
    host = f"[{name}]" if ":" in name else name
    netloc = host if parts.port is None else f"{host}:{parts.port}"
    path = _API_TAIL.sub("", parts.path).rstrip("/") + "/"
    return urlunsplit((parts.scheme, netloc, path, "", ""))


def is_exposed(url: str) -> bool:
    """Whether the address carries the secret unencrypted over a network that is not the user's own."""
    parts = urlsplit(url)
    return parts.scheme != "https" and not addresses.is_at_home(parts.hostname or "")


@attrs.frozen(kw_only=True)
class SiteStatus:
    """What ``status.json`` tells. ``enabled`` are the names of the site's plugins, None where it does not say."""

    version: str
    units: str | None = None
    enabled: frozenset[str] | None = None
    careportal: bool | None = None

    @property
    def identifier_is_key(self) -> bool:
        """Whether a treatment is known by its ``identifier`` (15.0.7 and later), else by created_at and eventType.

        A version that cannot be read, and a pre-release of 15.0.7 itself, count as old: those rules are right on both.
        """
        found = _VERSION.match(self.version)
        if found is None:
            return False
        number = (int(found[1]), int(found[2]), int(found[3]))
        return number > _KEYED_BY_IDENTIFIER or (number == _KEYED_BY_IDENTIFIER and not found[4])


def read_status(answer: Mapping[str, Any]) -> SiteStatus:
    """From the parsed ``status.json``; what is missing or odd there is None."""
    settings = answer.get("settings")
    settings = settings if isinstance(settings, Mapping) else {}
    enabled = settings.get("enable")
    units = settings.get("units")
    careportal = answer.get("careportalEnabled")
    names = frozenset(map(str, enabled)) if isinstance(enabled, list) else None
    return SiteStatus(
        version=str(answer.get("version") or "unknown"),
        units=units if isinstance(units, str) else None,
        enabled=names,
        careportal=careportal if isinstance(careportal, bool) else None if names is None else "careportal" in names,
    )
