"""The access token, stored between runs so that each token needs one login only.

One small JSON file (mode 0600) in the source's private folder. If it is deleted, the next poll logs in again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import attrs

from tconnectsync import Secret
from tconnectsync_tandem.api.endpoints import Endpoints

log = logging.getLogger("tconnectsync.tandem")

RENEW_BEFORE = timedelta(minutes=5)
"""A token this close to its end is not used; of a short life, the last quarter."""


@attrs.frozen(kw_only=True)
class TandemToken:
    """The result of a login. Times are UTC."""

    access: Secret
    pumper_id: str = attrs.field(repr=False)
    obtained_at: datetime
    expires_at: datetime

    def good_at(self, now: datetime) -> bool:
        """Whether it is not close to its end, and not from the future (this clock may have been set back)."""
        margin = min(RENEW_BEFORE, (self.expires_at - self.obtained_at) / 4)
        return self.obtained_at - RENEW_BEFORE <= now < self.expires_at - margin


def account_key(email: str, endpoints: Endpoints) -> str:
    """A hash of account and region, so that a token is never used for another account."""
    text = "\n".join((email.strip().lower(), endpoints.issuer, endpoints.client_id, endpoints.data))
    return hashlib.sha256(text.encode()).hexdigest()


@attrs.frozen
class TokenFile:
    """The file with the token of one account."""

    path: Path
    account: str

    def load(self) -> TandemToken | None:
        """Return the stored token; None if there is none of this account, or the file is unreadable."""
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
            if found["account"] != self.account:
                return None
            texts = found["access_token"], found["pumper_id"]
            times = datetime.fromisoformat(found["obtained_at"]), datetime.fromisoformat(found["expires_at"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("token_file_unreadable file=%s reason=%s", self.path, type(error).__name__)
            return None
        if not all(isinstance(text, str) and text for text in texts) or any(time.tzinfo is None for time in times):
            log.warning("token_file_unreadable file=%s reason=shape", self.path)
            return None
        return TandemToken(access=Secret(texts[0]), pumper_id=texts[1], obtained_at=times[0], expires_at=times[1])

    def save(self, token: TandemToken) -> None:
        """Write the file atomically. If that fails, a restart needs one more login."""
        text = json.dumps(
            {
                "account": self.account,
                "access_token": token.access.reveal(),
                "pumper_id": token.pumper_id,
                "obtained_at": token.obtained_at.isoformat(),
                "expires_at": token.expires_at.isoformat(),
            }
        )
        draft = self.path.with_name(f"{self.path.name}.new")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft.unlink(missing_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
            draft.replace(self.path)
        except OSError as error:
            log.warning("token_not_kept file=%s reason=%s", self.path, error.strerror)

    def forget(self) -> None:
        """Delete the file, because the server refuses the token."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
