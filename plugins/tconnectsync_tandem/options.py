"""The options of ``[sources.tandem]``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import attrs

from tconnectsync import Secret, addresses, option, pasted

_ALL_PUMPS = "11111111"
"""The serial number that means "any pump" in settings of older bridges."""


def _few_days(least: int, most: int) -> Any:
    return lambda days: None if least <= days <= most else f"{least} to {most} days"


def _serials(text: str) -> str | list[str]:
    return "all" if text.strip() in (_ALL_PUMPS, "all", "") else [text.strip()]


def _serial_list(pumps: str | tuple[str, ...]) -> str | None:
    if pumps == "all" or (pumps and all(serial and serial.isalnum() for serial in pumps)):
        return None
    return '"all", or a list of serial numbers as printed on the back of the pump'


@attrs.frozen(kw_only=True)
class TandemEndpointOptions:
    """Addresses other than the region's: for tests, or if Tandem changes one before a release knows it."""

    login_page: str | None = option(
        None, check=addresses.address_problem, help="page that is opened first, for its cookies"
    )
    login_api: str | None = option(
        None, check=addresses.address_problem, help="address that takes user name and password"
    )
    authorize: str | None = option(None, check=addresses.address_problem, help="OpenID Connect authorization endpoint")
    token: str | None = option(None, check=addresses.address_problem, help="OpenID Connect token endpoint")
    jwks: str | None = option(None, check=addresses.address_problem, help="keys that sign the id_token")
    issuer: str | None = option(None, help="required issuer of the id_token")
    client_id: str | None = option(None, help="the web page's client id")
    redirect_uri: str | None = option(
        None, check=addresses.address_problem, help="where the authorization redirects to"
    )
    data: str | None = option(None, check=addresses.address_problem, help="host of the data, with a slash at the end")


@attrs.frozen(kw_only=True)
class TandemOptions:
    """The account, its region, which pumps, and how far back."""

    email: str | None = option(
        None, env=["TCONNECT_EMAIL"], clean=pasted.text_or_none, help="e-mail address of the Tandem Source account"
    )
    password: Secret | None = option(
        None, env=["TCONNECT_PASSWORD"], credential="tandem-password", help="password of the account"
    )
    region: Literal["US", "EU"] | None = option(
        None,
        env=["TCONNECT_REGION"],
        default_with_env={"TCONNECT_EMAIL": "US"},
        help="region in which the account was created; the other region does not know it",
    )
    pumps: Literal["all"] | tuple[str, ...] = option(
        "all",
        env=["PUMP_SERIAL_NUMBER"],
        parse_env=_serials,
        check=_serial_list,
        help='"all", or a list of serial numbers',
    )
    history_days: int = option(30, check=_few_days(1, 3660), help="days before the first start to fetch")
    window_days: int = option(28, check=_few_days(1, 28), help="days in one request; the server takes about four weeks")
    endpoints: TandemEndpointOptions = option(TandemEndpointOptions(), help="addresses to use instead of the region's")


def problems_of(options: TandemOptions) -> Sequence[str]:
    """Required settings that are missing although there is an account."""
    found = []
    if options.email is None:
        found.append("sources.tandem.email: found nothing, expected the account's e-mail address (or TCONNECT_EMAIL)")
    if options.password is None:
        found.append(
            "sources.tandem.password: found nothing, expected the password, password_file, the systemd credential"
            " tandem-password or TCONNECT_PASSWORD"
        )
    if options.region is None:
        found.append(
            'sources.tandem.region: found nothing, expected "US" or "EU": the region in which the account was created'
        )
    return found
