"""``[sinks.influxdb]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import attrs

from tconnectsync import Secret, addresses, option, pasted


def _name(value: object) -> str | None:
    fits = value is None or (isinstance(value, str) and value.strip() and value.isprintable())
    return None if fits else "a name without line breaks"


@attrs.frozen(kw_only=True)
class InfluxOptions:
    """The server, and the database (InfluxDB 1.x) or the bucket (2.x) to write to."""

    url: str | None = option(
        None,
        clean=pasted.without_unseen,
        check=addresses.address_problem,
        help="the server, such as http://localhost:8086",
    )
    org: str | None = option(None, check=_name, help="InfluxDB 2: the organization")
    bucket: str | None = option(None, check=_name, help="InfluxDB 2: the bucket")
    token: Secret | None = option(
        None,
        credential="influxdb-token",
        clean=pasted.trim,
        help="InfluxDB 2: a token that may read and write the bucket",
    )
    database: str | None = option(None, check=_name, help="InfluxDB 1: the database")
    username: str | None = option(
        None, clean=pasted.text_or_none, help="InfluxDB 1: the user, if the server requires one"
    )
    password: Secret | None = option(None, credential="influxdb-password", help="InfluxDB 1: the password of that user")
    verify_tls: bool = option(True, help="false: accept any certificate")

    @property
    def is_v2(self) -> bool:
        """Whether the API of InfluxDB 2 is used."""
        return self.database is None and (self.bucket is not None or self.org is not None or self.token is not None)

    @property
    def base_url(self) -> str:
        """The address without a slash at its end."""
        return (self.url or "").rstrip("/")

    @property
    def port(self) -> int | None:
        """The port in the address; None if it names none."""
        return urlsplit(self.base_url).port

    @property
    def port_used(self) -> int:
        """The port in the address, or the usual one of ``http`` or ``https``."""
        return self.port or (443 if urlsplit(self.base_url).scheme == "https" else 80)


def problems(options: InfluxOptions, _sections: Mapping[str, Any]) -> Sequence[str]:
    """Settings that are missing or do not fit together."""
    found = []
    if not options.url:
        found.append("sinks.influxdb.url: missing; set it to the server's address, such as http://localhost:8086")
    if options.database is not None and options.bucket is not None:
        found.append("sinks.influxdb.bucket: give either database (InfluxDB 1) or org, bucket and token (InfluxDB 2)")
    elif options.is_v2:
        missing = [name for name in ("org", "bucket", "token") if getattr(options, name) is None]
        found += [f"sinks.influxdb.{name}: missing; InfluxDB 2 needs org, bucket and token" for name in missing]
    elif options.database is None:
        found.append("sinks.influxdb.database: missing; set it for InfluxDB 1, or org, bucket and token for InfluxDB 2")
    if options.password is not None and not options.username:
        found.append("sinks.influxdb.username: missing; a password needs a user name")
    return found


def notes(options: InfluxOptions) -> Sequence[str]:
    """Settings that work but are not safe."""
    parts = urlsplit(options.base_url)
    secret = options.token or options.password
    if secret is None or parts.scheme != "http" or addresses.is_at_home(parts.hostname or ""):
        return ()
    return [
        "sinks.influxdb.url: token or password is sent unencrypted to a host outside your own network; use https://"
    ]
