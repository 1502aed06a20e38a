"""The options of ``[sources.tconnect]``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from tconnectsync import Secret, option, pasted


def _address(text: str) -> str | None:
    return None if text.startswith(("https://", "http://")) else "an address that begins with https://"


def _few_days(least: int, most: int) -> Any:
    return lambda days: None if least <= days <= most else f"{least} to {most} days"


def _serial_list(pumps: tuple[str, ...]) -> str | None:
    if all(serial and serial.isalnum() for serial in pumps):
        return None
    return "a list of serial numbers as printed on the back of the pump"


@attrs.frozen(kw_only=True)
class TconnectEndpointOptions:
    """The address of each of the four services, with a slash at the end."""

    login: str = option("https://tconnect.tandemdiabetes.com/", check=_address, help="the website, with its login form")
    android: str = option(
        "https://tdcservices.tandemdiabetes.com/", check=_address, help="the phone app's service: newest upload, tokens"
    )
    controliq: str = option(
        "https://tdcservices.tandemdiabetes.com/", check=_address, help="basal, boluses and readings"
    )
    ws2: str = option(
        "https://tconnectws2.tandemdiabetes.com/",
        check=_address,
        help="the CSV export, infusion-site changes and suspensions",
    )


@attrs.frozen(kw_only=True)
class TconnectOptions:
    """The account, its pump, the length of history, and the services' addresses."""

    email: str | None = option(None, clean=pasted.text_or_none, help="e-mail address of the t:connect account")
    password: Secret | None = option(None, credential="tconnect-password", help="password of the account")
    pumps: tuple[str, ...] = option(
        (), check=_serial_list, help="serial numbers; all data is stored under the first one"
    )
    history_days: int = option(30, check=_few_days(1, 3660), help="days before the first start to fetch")
    client_id: str | None = option(None, clean=pasted.text_or_none, help="client id of the phone app")
    client_secret: Secret | None = option(
        None, credential="tconnect-client-secret", help="client secret of the phone app"
    )
    endpoints: TconnectEndpointOptions = option(TconnectEndpointOptions(), help="addresses of the services")


def problems_of(options: TconnectOptions) -> Sequence[str]:
    """Settings that are missing for an enabled source."""
    found = []
    if options.email is None:
        found.append("sources.tconnect.email: found nothing, expected the account's e-mail address")
    if options.password is None:
        found.append(
            "sources.tconnect.password: found nothing, expected the password, password_file or the systemd credential"
            " tconnect-password"
        )
    if not options.pumps:
        found.append(
            'sources.tconnect.pumps: found nothing, expected the serial number on the back of the pump: ["1234567"]'
        )
    if (options.client_id is None) != (options.client_secret is None):
        missing = "client_id" if options.client_id is None else "client_secret"
        found.append(f"sources.tconnect.{missing}: found nothing; client_id and client_secret must be set together")
    return found
