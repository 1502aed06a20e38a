"""Access control of the simulated Nightscout: the secret, access tokens, and public reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha1

import attrs

from tests.support.simulated_nightscout.values import Body


@attrs.define(kw_only=True)
class SiteAccess:
    """``tokens`` maps access tokens to rights such as ``api:treatments:create`` or ``api:*:read``."""

    secret: str = attrs.field(repr=False)
    tokens: Mapping[str, Sequence[str]] = attrs.field(repr=False)
    public: bool
    refusals: int = 0
    refused_last: bool = False

    def rights(self, given: str, *, modern: bool) -> Sequence[str] | None:
        """Return the rights of a text in the ``api-secret`` header; None if it is refused.

        Before 14, servers accepted no tokens there, and a wrong secret could still read what is public.
        """
        default = ("*:*:read",) if self.public else ()
        if not given:
            return default
        if given == sha1(self.secret.encode()).hexdigest():
            self.refused_last = False
            return ("*",)
        if modern and given in self.tokens:
            self.refused_last = False
            return (*default, *self.tokens[given])
        self.refusals += 1
        self.refused_last = True
        return None if modern else default


def permits(rights: Sequence[str], wanted: str) -> bool:
    """Whether one of the rights covers the wanted one, such as ``api:treatments:create``; ``*`` covers all of a part."""
    return any(_covers(right.split(":"), wanted.split(":")) for right in rights)


def _covers(right: Sequence[str], wanted: Sequence[str]) -> bool:
    for index, part in enumerate(wanted):
        if index >= len(right):
            return True
        allowed = right[index].split(",")
        if "*" not in allowed and part not in allowed:
            return False
    return True


def verdict(rights: Sequence[str] | None, *, modern: bool) -> Body:
    """The response of ``verifyauth``: status 200 for any rights."""
    rights = rights or ()
    if not modern:
        return {"status": 200, "message": "OK" if "*" in rights else "UNAUTHORIZED"}
    can_read, can_write = permits(rights, "*:*:read"), permits(rights, "*:*:write")
    message = {
        "canRead": can_read,
        "canWrite": can_write,
        "isAdmin": "*" in rights,
        "message": "OK" if can_read or can_write else "UNAUTHORIZED",
        "rolefound": "FOUND" if rights else "NOTFOUND",
        "permissions": "ROLE" if rights else "DEFAULT",
    }
    return {"status": 200, "message": message}
