"""``[alerts]`` and ``[heartbeat]``: where to report trouble, and after how long."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Literal

import attrs

from tconnectsync.plugin.options import Secret, option
from tconnectsync.plugin.pasted_text import without_unseen
from tconnectsync.text.durations import parse_duration

_ALERT_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_WEB_URL = re.compile(r"https?://[^/\s]+\S*", re.IGNORECASE)
_SHORTEST = timedelta(minutes=30)


def _split(text: str) -> list[str]:
    return [part for part in re.split(r"[,\s]+(?=[a-zA-Z][a-zA-Z0-9+.-]*://)|\s+", text.strip()) if part]


def _addresses(urls: tuple[Secret, ...]) -> str | None:
    if all(_ALERT_URL.fullmatch(url.reveal().strip()) for url in urls):
        return None
    return 'addresses such as "ntfy://ntfy.sh/my-secret-topic" or "mailto://user:password@example.org"'


def _web_address(url: Secret | None) -> str | None:
    if url is None or _WEB_URL.fullmatch(url.reveal()):
        return None
    return 'an address such as "https://hc-ping.com/…"'


def _duration(text: str) -> str | None:
    span = parse_duration(text)
    return None if span is not None and span >= _SHORTEST else 'a duration of at least 30m, such as "3h"'


def _between(least: float, most: float) -> Callable[[Any], str | None]:
    return lambda value: None if value is None or least <= value <= most else f"a number from {least:g} to {most:g}"


@attrs.frozen(kw_only=True)
class AlertOptions:
    """``[alerts]``: Apprise addresses, and what is reported to them."""

    urls: tuple[Secret, ...] = option(
        (),
        env=("TCONNECTSYNC_ALERT_URLS",),
        credential="alert-urls",
        parse_env=_split,
        check=_addresses,
        help="Apprise addresses that get notifications",
    )
    no_data_after: str = option("3h", check=_duration, help="notify when no new pump data has arrived for this long")
    repeat_after: str = option("12h", check=_duration, help="notify again after this long while a problem lasts")

    pump_alarms: tuple[str, ...] = option((), help="alarms of the pump that are reported, by name")
    low_reservoir_u: float | None = option(
        None, check=_between(1, 200), help="notify when less insulin is left, in units"
    )
    low_battery_percent: float | None = option(
        None, check=_between(1, 90), help="notify when the battery has less charge"
    )
    site_older_than_days: float | None = option(
        None, check=_between(0.5, 14), help="notify when the infusion site is older"
    )

    @property
    def no_data_span(self) -> timedelta:
        """``no_data_after`` as a duration."""
        return parse_duration(self.no_data_after) or timedelta(hours=3)

    @property
    def repeat_span(self) -> timedelta:
        """``repeat_after`` as a duration."""
        return parse_duration(self.repeat_after) or timedelta(hours=12)


@attrs.frozen(kw_only=True)
class HeartbeatOptions:
    """``[heartbeat]``: an address that is requested after each good cycle."""

    url: Secret | None = option(
        None,
        env=("TCONNECTSYNC_HEARTBEAT_URL",),
        credential="heartbeat-url",
        clean=without_unseen,
        check=_web_address,
        help="address of a check at Healthchecks.io, Uptime Kuma or another monitor",
    )
    kind: Literal["healthchecks", "uptime-kuma", "plain"] | None = option(
        None, help="how a failure is reported to the monitor; guessed from the address"
    )


CORE_SECRETS: dict[str, type[Any]] = {"alerts": AlertOptions, "heartbeat": HeartbeatOptions}
"""The tables of the engine that may hold secrets."""
