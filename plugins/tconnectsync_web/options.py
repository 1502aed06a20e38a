"""The configuration of this plugin: ``[web]``."""

from __future__ import annotations

import attrs

from tconnectsync import Secret, option, pasted


def _minutes(text: str) -> int:
    """An empty variable says the same as none: a deploy form leaves one behind for a field that nobody filled in."""
    try:
        return int(text.strip() or "0")
    except ValueError:
        raise ValueError("a whole number of minutes") from None


def _not_negative(value: object) -> str | None:
    return None if isinstance(value, int) and value >= 0 else "a whole number of minutes, 0 for never"


@attrs.frozen(kw_only=True)
class WebOptions:
    """``[web]``: who may ask, and how often it syncs unasked."""

    secret: Secret | None = option(
        None,
        env=("TCONNECTSYNC_HEROKU_SECRET",),
        credential="web-secret",
        clean=pasted.trim,  # a header loses the blanks around it, too
        help="what a request has to bring",
    )
    interval_mins: int = option(
        0,
        env=("TCONNECTSYNC_HEROKU_INTERVAL_MINS",),
        parse_env=_minutes,
        check=_not_negative,
        help="minutes between cycles that nobody asked for; 0: none",
    )
