"""Addresses per region: facts about Tandem Source as of November 2026."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from tconnectsync_tandem.options import TandemEndpointOptions

USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
"""The firewall in front of the data host expects a browser."""

SCOPE = "openid profile email"


@attrs.frozen(kw_only=True)
class Endpoints:
    """Addresses and names of one region. ``data`` ends with a slash."""

    region: str
    login_page: str
    login_api: str
    authorize: str
    token: str
    jwks: str
    issuer: str
    client_id: str
    redirect_uri: str
    data: str

    @property
    def other_region(self) -> str:
        """The other region, where the account may be instead."""
        return "EU" if self.region == "US" else "US"

    @property
    def data_headers(self) -> Mapping[str, str]:
        """The headers of every data request: the firewall refuses any origin but the data host's."""
        return {
            "Accept": "application/json",
            "Origin": self.data.rstrip("/"),
            "Referer": self.data,
            "User-Agent": USER_AGENT,
        }


def _accounts(host: str) -> dict[str, str]:
    base = f"https://{host}/accounts/api"
    return {
        "login_api": f"{base}/login",
        "authorize": f"{base}/connect/authorize",
        "token": f"{base}/connect/token",
        "jwks": f"{base}/.well-known/openid-configuration/jwks",
        "issuer": base,
    }


REGIONS: Mapping[str, Endpoints] = {
    "US": Endpoints(
        region="US",
        login_page="https://sso.tandemdiabetes.com/",
        client_id="0oa4wnbvtladeyVZX4h7",
        redirect_uri="https://sso.tandemdiabetes.com/auth/callback",
        data="https://source.tandemdiabetes.com/",
        **_accounts("tdcservices.tandemdiabetes.com"),
    ),
    "EU": Endpoints(
        region="EU",
        login_page="https://sso.tandemdiabetes.com/",
        client_id="1519e414-eeec-492e-8c5e-97bea4815a10",
        redirect_uri="https://source.eu.tandemdiabetes.com/authorize/callback",
        data="https://source.eu.tandemdiabetes.com/",
        **_accounts("tdcservices.eu.tandemdiabetes.com"),
    ),
}


def endpoints_of(region: str, overrides: TandemEndpointOptions) -> Endpoints:
    """The region's endpoints, with those from the configuration."""
    given = {name: value for name, value in attrs.asdict(overrides).items() if value is not None}
    if "data" in given:
        given["data"] = given["data"].rstrip("/") + "/"
    return attrs.evolve(REGIONS[region], **given)
