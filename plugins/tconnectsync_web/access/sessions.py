"""Signed cookies. The server stores no sessions, so they survive its restart; another secret or key ends all of them."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from enum import Enum
from pathlib import Path

from itsdangerous import BadData, URLSafeTimedSerializer

from tconnectsync_web.access.private_files import read_or_create

LIFETIME_S = 90 * 24 * 3600
"""After this time without a new sign-in a cookie ends."""
LONGEST_COOKIE = 512


class Role(Enum):
    """What a request may do."""

    NOBODY = "nobody"
    VIEWER = "viewer"
    """See the pages, change nothing."""
    OWNER = "owner"
    """Everything."""


def load_key(path: Path) -> bytes:
    """Return the key that signs cookies, created at first. If it cannot be stored, cookies end with this process."""
    try:
        return read_or_create(path, lambda: secrets.token_hex(32).encode())
    except OSError:
        return secrets.token_hex(32).encode()


class Sessions:
    """Issues and reads cookies. ``key`` signs them together with the secret."""

    def __init__(self, key: bytes, secret: bytes) -> None:
        signing = hmac.new(key, b"session\0" + secret, hashlib.sha256).hexdigest()
        self._signer = URLSafeTimedSerializer(signing, salt="tconnectsync-web")
        self.cookie = f"tconnectsync_{hashlib.sha256(key).hexdigest()[:8]}"
        """The cookie's name. Cookies ignore the port, so two installations on one computer need two names."""

    def issue(self, role: Role, view_token: str = "") -> str:
        """Return a cookie for the owner, or for whoever has the present view link."""
        return str(self._signer.dumps([role.value, _digest(view_token)]))

    def role_of(self, cookie: str | None, view_token: str | None) -> Role:
        """Return the role that the cookie gives now. ``view_token``: of the present view link; None if there is none."""
        if not cookie or len(cookie) > LONGEST_COOKIE:
            return Role.NOBODY
        try:
            role, digest = self._signer.loads(cookie, max_age=LIFETIME_S)
            found = Role(role)
        except (BadData, ValueError, TypeError):
            return Role.NOBODY
        if found is Role.VIEWER and (view_token is None or not hmac.compare_digest(str(digest), _digest(view_token))):
            return Role.NOBODY
        return found


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()[:32] if token else ""
