"""A Nightscout site's address and version, and the rules that follow from the version."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from tconnectsync import addresses

_API_TAIL = re.compile(r"/api(/v\d+)?(/[a-z]+(\.json)?)?/*$")
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(-?)")
_KEYED_BY_IDENTIFIER = (15, 0, 7)
_TAKES_TOKENS = 14
UNKNOWN = "unknown"
"""The version of a site that does not name one."""


def site_url(text: str) -> str:
    """Return the address in normal form: scheme, host in lower case, path, a slash at the end.

    Raises ValueError with the reason. Neither the error nor the result contains a secret.
    """
    try:
        parts = addresses.web_address(text)
    except ValueError as error:
        raise ValueError(f"expected {error}") from None
    if parts.username is not None or parts.password is not None:
        raise ValueError("the address must not contain a user name or password; set nightscout.api_secret instead")
    if parts.query or parts.fragment:
        raise ValueError("the address must end after the path (no ?token=…); set nightscout.token instead")
    name = parts.hostname or ""
    host = f"[{name}]" if ":" in name else name
    netloc = host if parts.port is None else f"{host}:{parts.port}"
    path = _API_TAIL.sub("", parts.path).rstrip("/") + "/"
    return urlunsplit((parts.scheme, netloc, path, "", ""))


def is_exposed(url: str) -> bool:
    """Whether the secret is sent unencrypted over a network that is not the user's own."""
    parts = urlsplit(url)
    return parts.scheme != "https" and not addresses.is_at_home(parts.hostname or "")


class SiteStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of ``status.json``. ``is_hidden``: the site does not show it to this token."""

    version: str
    units: str | None = None
    careportal: bool | None = None
    is_hidden: bool = False

    @property
    def identifier_is_key(self) -> bool:
        """Whether the key of a treatment is its ``identifier`` (15.0.7 and later), else created_at and eventType.

        An unreadable version and a pre-release of 15.0.7 count as old: those rules work on both.
        """
        found = _VERSION.match(self.version)
        if found is None:
            return False
        number = (int(found[1]), int(found[2]), int(found[3]))
        return number > _KEYED_BY_IDENTIFIER or (number == _KEYED_BY_IDENTIFIER and not found[4])

    @property
    def is_before_tokens(self) -> bool:
        """Whether its version is too old for access tokens in the ``api-secret`` header. False if the version is unreadable."""
        found = _VERSION.match(self.version)
        return found is not None and int(found[1]) < _TAKES_TOKENS


def read_status(answer: Mapping[str, Any]) -> SiteStatus:
    """Read the parsed ``status.json``. Missing or invalid values are None."""
    settings = answer.get("settings")
    settings = settings if isinstance(settings, Mapping) else {}
    enabled = settings.get("enable")
    units = settings.get("units")
    careportal = answer.get("careportalEnabled")
    if not isinstance(careportal, bool):
        careportal = "careportal" in enabled if isinstance(enabled, list) else None
    return SiteStatus(
        version=str(answer.get("version") or UNKNOWN),
        units=units if isinstance(units, str) else None,
        careportal=careportal,
    )
