"""Write a configuration that points the product at the simulated cloud and site."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tconnectsync_simulator.cloud.accounts import SimulatedAccount


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
    source: str | None = None,
) -> str:
    """Return the text of a ``config.toml``. ``source``: a table to use instead of Tandem's; ``more``: tables to add."""
    account = SimulatedAccount() if account is None else account
    tandem = f"""[sources.tandem]
email = "{account.email}"
password = {quoted(account.password)}
region = "{account.region}"
history_days = {history_days}

[sources.tandem.endpoints]
{address_lines(endpoints)}
"""
    own = "" if plugins_dir is None else f'plugins_dir = "{plugins_dir}"\n'
    return f"""timezone = "{zone}"
data_dir = "{data_dir}"
{own}
{tandem if source is None else source}
[nightscout]
url = "{site_url}"
api_secret = {quoted(site_secret)}

[daemon]
poll_min = {poll_s[0]}
poll_max = {poll_s[1]}
{more}"""


def address_lines(endpoints: Mapping[str, str]) -> str:
    """The lines of a table of addresses."""
    return "\n".join(f'{name} = "{address}"' for name, address in endpoints.items())


def quoted(text: str) -> str:
    """A text as TOML."""
    return json.dumps(text, ensure_ascii=False)
