"""The view link: whoever has it may see the pages and change nothing, until it is revoked.

The token is after the ``#`` of the address. Browsers do not send that part, so no server, proxy or log gets it in an
address; the page sends it in a form.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import attrs

from tconnectsync_web.access.private_files import read_or_create, read_private


@attrs.frozen
class ViewLink:
    """The view link that is stored in a file. Each call reads the file: another process may revoke the link."""

    path: Path

    def token(self) -> str | None:
        """The token; None if there is no link. A file that cannot be read is no link."""
        try:
            found = read_private(self.path)
        except OSError:
            return None
        return None if found is None else found.decode("ascii", "replace")

    def create(self) -> str:
        """Return the token of the link; a new one if there is none. Errors: OSError."""
        return read_or_create(self.path, lambda: secrets.token_urlsafe(24).encode()).decode("ascii", "replace")

    def revoke(self) -> bool:
        """Delete the link. Returns False if there was none. Errors: OSError."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        return True
