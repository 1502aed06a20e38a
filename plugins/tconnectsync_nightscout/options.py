"""The configuration of this plugin: ``[nightscout]``, which its sinks share, and one table per sink."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit, urlunsplit

import attrs

from tconnectsync import Secret, option, parse_duration, pasted

_ON = frozenset({"1", "true", "yes", "on"})
_OFF = frozenset({"", "0", "false", "no", "off"})
_ACCESS_TOKEN = re.compile(r"[a-z0-9_]{0,10}-[0-9a-f]{16}")
"""An access token: part of the subject's name, and 16 hexadecimal digits."""
_SHA1 = re.compile(r"[0-9a-fA-F]{40}")


def _verify_unless(text: str) -> bool:
    """``NS_SKIP_TLS_VERIFY`` is the opposite of ``verify_tls``."""
    word = text.strip().lower()
    if word in _ON:
        return False
    if word in _OFF:
        return True
    raise ValueError("true or false")


def _one_of(*words: str) -> Callable[[object], str | None]:
    expected = " or ".join(f'"{word}"' for word in words)
    return lambda value: None if value in words else expected


def _words(value: object) -> str | None:
    return None if isinstance(value, str) and value.strip() else "text that is not empty"


def _silence(value: object) -> str | None:
    span = parse_duration(value) if isinstance(value, str) else None
    wrong = value is not None and (span is None or span < timedelta(minutes=30))
    return 'a duration of at least 30m, such as "3h"' if wrong else None


def _sendable(token: Secret | None) -> str | None:
    odd = None if token is None else pasted.odd_character(token.reveal())
    return (
        None if odd is None else f"an access token such as name-0123456789abcdef ({odd}); copy it from the site again"
    )


@attrs.frozen(kw_only=True)
class NightscoutOptions:
    """``[nightscout]``: the site and its credentials. Set either ``api_secret`` or ``token``.

    An access token counts as ``token`` also if it was given as the API secret, or in the address (``?token=…``).
    """

    url: str | None = option(
        None,
        env=("NS_URL",),
        clean=pasted.without_unseen,
        help="the site's address, as a browser shows it: https://my-site.example/",
    )
    api_secret: Secret | None = option(
        None,
        env=("NS_SECRET", "API_SECRET", "NS_API_SECRET"),
        credential="nightscout-api-secret",
        clean=pasted.trim,
        help="the site's API_SECRET",
    )
    token: Secret | None = option(
        None,
        env=("NS_TOKEN",),
        credential="nightscout-token",
        clean=pasted.plain_token,
        check=_sendable,
        help="an access token (name-0123456789abcdef) instead of the API_SECRET; Nightscout 14 or newer",
    )
    verify_tls: bool = option(
        True, env=("NS_SKIP_TLS_VERIFY",), parse_env=_verify_unless, help="false: accept any certificate"
    )
    entered_by: str = option("tconnectsync", check=_words, help="name that Nightscout shows as the author")

    def __attrs_post_init__(self) -> None:
        url, from_url = _without_token(self.url)
        from_secret = None if self.api_secret is None else as_token(self.api_secret.reveal())
        if from_url is not None:
            object.__setattr__(self, "url", url)
        if from_secret is not None and self.token in (None, Secret(from_secret)):
            object.__setattr__(self, "api_secret", None)
            object.__setattr__(self, "token", Secret(from_secret))
        if from_url is not None and self.token is None and self.api_secret is None:
            object.__setattr__(self, "token", Secret(from_url))

    @property
    def doubt(self) -> str | None:
        """A likely mistake in the API secret, shown if the site refuses it."""
        secret = "" if self.api_secret is None else self.api_secret.reveal()
        if _SHA1.fullmatch(secret):
            return "It looks like a SHA-1 hash: give the API_SECRET itself, not its hash."
        if not secret.isascii():
            return "It contains characters that a word processor inserts, such as a long hyphen: type it again."
        return None


def as_token(text: str) -> str | None:
    """The access token in ``text``; None if it is something else."""
    token = pasted.plain_token(text)
    return token if _ACCESS_TOKEN.fullmatch(token) else None


def _without_token(url: str | None) -> tuple[str | None, str | None]:
    """The address without an access token, and the token. The rest of the query stays."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return url, None
    given = parse_qs(parts.query)
    token = as_token(given["token"][0]) if given.keys() == {"token"} and len(given["token"]) == 1 else None
    return (url, None) if token is None else (urlunsplit((*parts[:3], "", parts.fragment)), token)


@attrs.frozen(kw_only=True)
class TreatmentsOptions:
    """``[sinks.nightscout-treatments]``: insulin and carbs."""

    basal: bool = option(True, help="Temp Basal treatments")
    bolus: bool = option(True, help="boluses")
    glucose: bool = option(True, help="the glucose value used to calculate a bolus")
    carbs: str = option(
        "on", check=_one_of("on", "note", "off"), help="carbs as carbs, in the notes only, or not at all"
    )


@attrs.frozen(kw_only=True)
class IobOptions:
    """``[sinks.nightscout-iob]``: insulin on board as the pump reports it."""

    device_status: bool = option(True, help="also as a devicestatus, for Nightscout's IOB pill")


@attrs.frozen(kw_only=True)
class PumpEventsOptions:
    """``[sinks.nightscout-pump-events]``: fills, suspensions, modes, alarms, sensor sessions."""

    cannula: str = option("Site Change", check=_words, help="event type of a filled cannula")
    cartridge: str = option("Insulin Change", check=_words, help="event type of a filled cartridge")
    tubing: str = option("Note", check=_words, help="event type of filled tubing")
    announce: tuple[str, ...] = option((), help="alarms that Nightscout also announces, by name")
    alerts: bool = option(False, help="notes for alerts")
    control_modes: bool = option(False, help="notes when the control loop changes its state")
    sensor_alerts: bool = option(False, help="notes for sensor alerts")
    announce_silence: str | None = option(
        None, check=_silence, help="announce when no pump data has arrived for this long, for example 3h"
    )


@attrs.frozen(kw_only=True)
class CgmOptions:
    """``[sinks.nightscout-cgm]``: sensor readings and typed finger sticks, delivered when the pump uploads them."""

    alerts: bool = option(False, help="notes for sensor alerts (not together with sensor_alerts of the pump events)")


@attrs.frozen(kw_only=True)
class ProfilesOptions:
    """``[sinks.nightscout-profiles]``: the pump's profiles, written to the site."""

    mode: str = option(
        "add",
        check=_one_of("add", "replace"),
        help="add a changed profile, or replace the current one",
    )


@attrs.frozen(kw_only=True)
class DeviceStatusOptions:
    """``[sinks.nightscout-device-status]``: battery, reservoir, suspended or not, insulin on board."""
