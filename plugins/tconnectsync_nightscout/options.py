"""The configuration of this plugin: ``[nightscout]``, which its sinks share, and one table per sink."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from tconnectsync import Secret, option

_ON = frozenset({"1", "true", "yes", "on"})
_OFF = frozenset({"", "0", "false", "no", "off"})


def _verify_unless(text: str) -> bool:
    """``NS_SKIP_TLS_VERIFY`` says the opposite of ``verify_tls``."""
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
    return None if isinstance(value, str) and value.strip() else "a text that is not empty"


@attrs.frozen(kw_only=True)
class NightscoutOptions:
    """``[nightscout]``: the site and who may write there. Either ``api_secret`` or ``token``."""

    url: str | None = option(
        None, env=("NS_URL",), help="the site's address, as a browser shows it: https://my-site.example/"
    )
    api_secret: Secret | None = option(
        None, env=("NS_SECRET", "API_SECRET"), credential="nightscout-api-secret", help="the site's API_SECRET"
    )
    token: Secret | None = option(
        None, credential="nightscout-token", help="an access token (name-0123456789abcdef) instead of the API_SECRET"
    )
    verify_tls: bool = option(
        True, env=("NS_SKIP_TLS_VERIFY",), parse_env=_verify_unless, help="false: accept any certificate"
    )
    entered_by: str = option("tconnectsync", check=_words, help="who Nightscout shows as the one who entered it")


@attrs.frozen(kw_only=True)
class TreatmentsOptions:
    """``[sinks.nightscout-treatments]``: insulin and carbs."""

    basal: bool = option(True, help="Temp Basal treatments")
    bolus: bool = option(True, help="boluses")
    glucose: bool = option(True, help="the glucose value that a bolus was calculated with")
    carbs: str = option(
        "on", check=_one_of("on", "note", "off"), help="carbs as carbs, in the notes only, or not at all"
    )


@attrs.frozen(kw_only=True)
class IobOptions:
    """``[sinks.nightscout-iob]``: insulin on board as the pump reports it."""

    device_status: bool = option(True, help="also as a devicestatus, which Nightscout's IOB pill shows")


@attrs.frozen(kw_only=True)
class PumpEventsOptions:
    """``[sinks.nightscout-pump-events]``: fills, suspensions, modes, alarms, sensor sessions."""

    cannula: str = option("Site Change", check=_words, help="event type of a filled cannula")
    cartridge: str = option("Insulin Change", check=_words, help="event type of a filled cartridge")
    tubing: str = option("Note", check=_words, help="event type of filled tubing")
    announce: tuple[str, ...] = option((), help="alarms that Nightscout announces too, by name")
    alerts: bool = option(False, help="notes for alerts")
    control_modes: bool = option(False, help="notes when the control loop changes its state")
    sensor_alerts: bool = option(False, help="notes for sensor alerts")


@attrs.frozen(kw_only=True)
class CgmOptions:
    """``[sinks.nightscout-cgm]``: the sensor's readings and typed finger sticks, as late as the pump uploads them."""

    alerts: bool = option(False, help="notes for sensor alerts (not together with sensor_alerts of the pump events)")


@attrs.frozen(kw_only=True)
class ProfilesOptions:
    """``[sinks.nightscout-profiles]``: the pump's profiles as the site's."""

    mode: str = option(
        "add",
        check=_one_of("add", "replace"),
        help="a changed profile as a new one, or in the place of the current one",
    )


@attrs.frozen(kw_only=True)
class DeviceStatusOptions:
    """``[sinks.nightscout-device-status]``: battery, reservoir, suspended or not, insulin on board."""
