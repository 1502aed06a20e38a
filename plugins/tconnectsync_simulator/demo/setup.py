"""Write a configuration that points the product at the simulated cloud and site."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tconnectsync_simulator.cloud.accounts import SimulatedAccount
from tconnectsync_simulator.cloud.tconnect import LegacyCloud


def config_text(
    *,
    data_dir: Path,
    zone: str,
    endpoints: Mapping[str, str],
    site_url: str,
    site_secret: str,
    account: SimulatedAccount | None = None,
    history_days: int = 30,
    poll_s: tuple[int, int] = (300, 1500),
    more: str = "",
    plugins_dir: Path | None = None,
) -> str:
    """Return the text of a ``config.toml``. ``more``: TOML tables to add at the end."""
    account = SimulatedAccount() if account is None else account
    source = f"""[sources.tandem]
email = "{account.email}"
password = {_quoted(account.password)}
region = "{account.region}"
history_days = {history_days}

[sources.tandem.endpoints]
{_places(endpoints)}
"""
    own = "" if plugins_dir is None else f'plugins_dir = "{plugins_dir}"\n'
    return _whole(source, data_dir, zone, site_url, site_secret, poll_s, more, own)


def older_config_text(
    *,
    data_dir: Path,
    zone: str,
    cloud: LegacyCloud,
    site_url: str,
    site_secret: str,
    history_days: int = 30,
    poll_s: tuple[int, int] = (300, 1500),
    more: str = "",
) -> str:
    """The same with the older t:connect as the only source."""
    account = cloud.account
    source = f"""[sources.tconnect]
enabled = true
email = "{account.email}"
password = {_quoted(account.password)}
client_id = {_quoted(account.client_id)}
client_secret = {_quoted(account.client_secret)}
pumps = ["{cloud.pump.plan.serial}"]
history_days = {history_days}

[sources.tconnect.endpoints]
{_places(cloud.endpoints)}
"""
    return _whole(source, data_dir, zone, site_url, site_secret, poll_s, more, "")


def _whole(
    source: str,
    data_dir: Path,
    zone: str,
    site_url: str,
    site_secret: str,
    poll_s: tuple[int, int],
    more: str,
    own: str,
) -> str:
    return f"""timezone = "{zone}"
data_dir = "{data_dir}"
{own}
{source}
[nightscout]
url = "{site_url}"
api_secret = {_quoted(site_secret)}

[daemon]
poll_min = {poll_s[0]}
poll_max = {poll_s[1]}
{more}"""


def _places(endpoints: Mapping[str, str]) -> str:
    return "\n".join(f'{name} = "{address}"' for name, address in endpoints.items())


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
