"""The access token, kept between runs so that a login happens once in a token's life.

One small JSON file (mode 0600) in the source's private folder. It can be deleted at any time: then there is a login more.
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
"""A token this near its end is not used any more."""


@attrs.frozen(kw_only=True)
class TandemToken:
    """What a login gave. Times are UTC."""

    access: Secret
    pumper_id: str = attrs.field(repr=False)
    obtained_at: datetime
    expires_at: datetime

    def good_at(self, now: datetime) -> bool:
        """Whether it can be used: not near its end, and not obtained in the future of a clock that was put back."""
        return self.obtained_at - RENEW_BEFORE <= now < self.expires_at - RENEW_BEFORE


def account_key(email: str, endpoints: Endpoints) -> str:
    """Names account and region without telling them: a token of another one is never used."""
    text = "\n".join((email.strip().lower(), endpoints.issuer, endpoints.client_id, endpoints.data))
    return hashlib.sha256(text.encode()).hexdigest()


@attrs.frozen
class TokenFile:
    """The file that keeps the token of one account."""

    path: Path
    account: str

    def load(self) -> TandemToken | None:
        """The kept token; None if there is none, or none of this account, or the file cannot be read."""
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
        """Write the file, all or nothing. That it cannot be written only costs a login after a restart."""
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
        """Delete the file: the server does not take the token any more."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
