"""The options of ``[web]``."""

from __future__ import annotations

import attrs

from tconnectsync import Secret, option, pasted
from tconnectsync_web.access.path_prefix import clean_prefix


def _minutes(text: str) -> int:
    """Treat an empty variable as unset: a deploy form creates one for a field that nobody filled in."""
    try:
        return int(text.strip() or "0")
    except ValueError:
        raise ValueError("a whole number of minutes") from None


def _not_negative(value: object) -> str | None:
    return None if isinstance(value, int) and value >= 0 else "a whole number of minutes, 0 for never"


def _port(value: object) -> str | None:
    return None if isinstance(value, int) and 0 <= value <= 65535 else "a port from 0 to 65535; 0: any free one"


def _path(value: object) -> str | None:
    return None if isinstance(value, str) and clean_prefix(value) is not None else 'a path such as "/glucose"'


@attrs.frozen(kw_only=True)
class WebOptions:
    """``[web]``: where the page is, who may see it, and the interval of automatic cycles."""

    host: str = option("127.0.0.1", clean=pasted.trim, help="the address to listen on; 0.0.0.0: all interfaces")
    port: int = option(8080, check=_port, help="the port to listen on; 0: any free one")
    base_path: str = option("", check=_path, help="the path under which a reverse proxy serves the page")
    behind_router: bool = option(False, help="all requests come through one reverse proxy or router")

    secret: Secret | None = option(
        None,
        env=("TCONNECTSYNC_HEROKU_SECRET",),
        credential="web-secret",
        clean=pasted.trim,  # a header loses surrounding blanks too
        help="the secret that each request must contain",
    )
    interval_mins: int = option(
        0,
        env=("TCONNECTSYNC_HEROKU_INTERVAL_MINS",),
        parse_env=_minutes,
        check=_not_negative,
        help="minutes between automatic cycles; 0: none",
    )
