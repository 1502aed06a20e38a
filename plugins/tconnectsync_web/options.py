"""The options of ``[web]``."""

from __future__ import annotations

import attrs

from tconnectsync import Secret, option, pasted


def _minutes(text: str) -> int:
    """Treat an empty variable as unset: a deploy form creates one for a field that nobody filled in."""
    try:
        return int(text.strip() or "0")
    except ValueError:
        raise ValueError("a whole number of minutes") from None


def _not_negative(value: object) -> str | None:
    return None if isinstance(value, int) and value >= 0 else "a whole number of minutes, 0 for never"


@attrs.frozen(kw_only=True)
class WebOptions:
    """``[web]``: the secret of requests, and the interval of automatic cycles."""

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
