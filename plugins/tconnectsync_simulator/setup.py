"""A configuration that points the product at the simulated cloud and site."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tconnectsync_simulator.accounts import Account


def config_text(
    *,
    data_dir: Path,
    zone: str,
    endpoints: Mapping[str, str],
    site_url: str,
    site_secret: str,
    account: Account | None = None,
    history_days: int = 30,
    poll_s: tuple[int, int] = (300, 1500),
    more: str = "",
    plugins_dir: Path | None = None,
) -> str:
    """The text of a ``config.toml``. ``more`` is added at the end, as TOML tables."""
    account = Account() if account is None else account
    places = "\n".join(f'{name} = "{address}"' for name, address in endpoints.items())
    own = "" if plugins_dir is None else f'plugins_dir = "{plugins_dir}"\n'
    return f"""timezone = "{zone}"
data_dir = "{data_dir}"
{own}
[sources.tandem]
email = "{account.email}"
password = {_quoted(account.password)}
region = "{account.region}"
history_days = {history_days}

[sources.tandem.endpoints]
{places}

[nightscout]
url = "{site_url}"
api_secret = {_quoted(site_secret)}

[daemon]
poll_min = {poll_s[0]}
poll_max = {poll_s[1]}
{more}"""


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
