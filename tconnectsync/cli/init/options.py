"""The options that ``init`` and ``setup`` share: the answers about account and site, older settings, further keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

from_env_option = click.option(
    "--from-env",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Use the settings of an older bridge: its .env or secret.py.",
)
settings_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set another key, such as sinks.nightscout-cgm.enabled=true. Can be repeated.",
)


def account_options(function: F) -> F:
    """Add ``--timezone``, ``--email``, ``--region``, ``--url`` and ``--password-file``."""
    zone = click.option("--timezone", metavar="ZONE", help='Time zone where the wearer lives, such as "Europe/Berlin".')
    email = click.option("--email", help="Email address of the Tandem Source account.")
    region = click.option("--region", help="Region of the account: US or EU.")
    url = click.option("--url", help="Address of the Nightscout site.")
    password = click.option(
        "--password-file", type=click.Path(path_type=Path), help="File that contains only the password."
    )
    return zone(email(region(url(password(function)))))
