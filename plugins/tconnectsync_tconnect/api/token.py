"""The result of a login, kept in memory while the process runs."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from urllib.parse import unquote

import attrs

from tconnectsync import Secret

RENEW_BEFORE = timedelta(minutes=5)
"""A token this close to its end is not used; of a short life, the last quarter."""
DEFAULT_LIFE = timedelta(minutes=30)


@attrs.frozen(kw_only=True)
class TconnectToken:
    """A bearer token. Times are UTC."""

    access: Secret
    obtained_at: datetime
    expires_at: datetime

    def good_at(self, now: datetime) -> bool:
        """Whether it is not close to its end, and not from the future (this clock may have been set back)."""
        margin = min(RENEW_BEFORE, (self.expires_at - self.obtained_at) / 4)
        return self.obtained_at - RENEW_BEFORE <= now < self.expires_at - margin


def token_of(access: str, expires_at: object, now: datetime) -> TconnectToken:
    """Return a token obtained now; without a readable end it is valid for half an hour."""
    return TconnectToken(access=Secret(access), obtained_at=now, expires_at=_utc(expires_at) or now + DEFAULT_LIFE)


def _utc(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    text = re.sub(r"\.(\d+)", lambda part: "." + part.group(1)[:6].ljust(6, "0"), unquote(text).strip('" '))
    try:
        found = datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] in "zZ" else text)
    except ValueError:
        return None
    return found.replace(tzinfo=timezone.utc) if found.tzinfo is None else found.astimezone(timezone.utc)
