"""What an HTTP answer of a Nightscout site means: a value, or the error that names the decision that follows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import attrs

from tconnectsync import (
    CredentialsRefused,
    HttpResponse,
    Rejected,
    Retryable,
    TconnectsyncError,
    host_of,
    retry_after_s,
)
from tconnectsync_nightscout.site.error_text import error_text

Answer: TypeAlias = HttpResponse
CHECK = "Run `tconnectsync check` to see what the site allows."
SLOW = frozenset({408, 502, 503, 504, *range(520, 528)})
"""Gateways that gave up on a request: a smaller one may be done in time."""
BULKY = frozenset({403, 406, 411, 415, 431, 501}) | SLOW
"""What firewalls and proxies answer to a body that they call too large, or cannot look into."""


class ServerFault(Retryable):
    """The server itself failed (5xx). ``status`` tells how."""

    status: int

    def __init__(
        self, message: str, *, status: int, after_s: float | None, unsure: bool, narrow: bool, remedy: str
    ) -> None:
        super().__init__(message, after_s=after_s, unsure=unsure, narrow=narrow, remedy=remedy)
        self.status = status


@attrs.frozen(kw_only=True)
class SiteToken:
    """An access token was shown for ``collection``. ``in_use`` are the collections of this process and the sinks that use them."""

    collection: str
    in_use: Mapping[str, Sequence[str]]

    def unaffected_sinks(self) -> list[str]:
        """The sinks that use other collections only."""
        affected = set(self.in_use.get(self.collection, ()))
        return sorted({name for names in self.in_use.values() for name in names} - affected)


@attrs.frozen(kw_only=True)
class SiteRequestInfo:
    """What was asked, for the words of errors: the site's address, what it is about, and the method.

    ``token`` is None if the site's own secret was shown.
    """

    site: str
    about: str
    method: str
    token: SiteToken | None = None

    @property
    def writing(self) -> bool:
        """Whether it changes anything."""
        return self.method != "GET"


def value_of(answer: Answer, question: SiteRequestInfo, now: datetime) -> Any:
    """The parsed JSON of a good answer. Raises what a bad one means."""
    if not 200 <= answer.status < 300:
        raise error_of(answer, question, now)
    if answer.status in {201, 204} and question.method == "POST" and not answer.body.strip():
        return []  # a compatible site that stores and names nothing
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        kind = answer.headers.get("Content-Type", "").split(";")[0].strip() or "something"
        kind = kind if answer.body.strip() else "nothing"
        if "json" in kind:
            raise Retryable(
                f"{question.site} sent an incomplete answer to a request about {question.about} (no complete JSON)",
                unsure=question.writing,
                narrow=question.writing,
                remedy="It is tried again by itself. If it stays, look at what stands between here and the site.",
            ) from None
        raise Retryable(
            f"{question.site} answered with {kind} instead of JSON to a request about {question.about}",
            unsure=question.writing,
            narrow=question.writing,
            remedy=f"Open {question.site} in a browser: is it this Nightscout site, and is it awake? If not, mend nightscout.url.",
        ) from None


_RIGHTS = {"GET": "read", "POST": "create", "PUT": "update", "DELETE": "delete"}


def _refusal(question: SiteRequestInfo) -> CredentialsRefused:
    """Of the site's secret, or of a token, which may lack this one right."""
    if question.token is None:
        return CredentialsRefused(
            f"{question.site} refused the secret or token for {question.about} (HTTP 401)",
            remedy="Check nightscout.api_secret (NS_SECRET) against the site's API_SECRET; an access token belongs into"
            " nightscout.token, and its role needs the rights to create, read and delete. Then run `tconnectsync check`.",
        )
    right = f"api:{question.token.collection}:{_RIGHTS[question.method]}"
    unaffected = question.token.unaffected_sinks()
    rest = f". Not affected: {', '.join(unaffected)}" if unaffected else ""
    return CredentialsRefused(
        f"{question.site} refused the secret or token for {question.about} (HTTP 401): the token is unknown there, or it"
        f" lacks the right {right}{rest}",
        remedy=f"Add {right} to the token's role in Nightscout's Admin Tools, or check nightscout.token."
        " Then run `tconnectsync check`.",
    )


def error_of(answer: Answer, question: SiteRequestInfo, now: datetime) -> TconnectsyncError:
    """The error that a status other than success means."""
    status, site, about, writing = answer.status, question.site, question.about, question.writing
    after_s = retry_after_s(answer, now)
    words = error_text(answer)
    said = f'; it says "{words}"' if words else ""
    narrow = status in (BULKY if writing else SLOW)
    if 300 <= status < 400:
        target = host_of(answer.headers.get("Location", ""))
        place = f" to {target}" if target else ""
        return Retryable(
            f"{site} redirects{place} (HTTP {status}); the secret is not sent on to another address",
            remedy="Set nightscout.url (NS_URL) to the address where the site really is.",
        )
    if status == 401:
        return _refusal(question)
    if status in {400, 422} and writing:
        return Rejected(f"Nightscout cannot read this request about {about} (HTTP {status}){said}")
    if status == 413 and writing:
        return Rejected(f"Nightscout calls this request about {about} too large (HTTP 413)", narrow=True)
    if status == 403:
        return Retryable(
            f"{site} forbids the request about {about} (HTTP 403){said}",
            narrow=narrow,
            remedy="Something in front of the site (a firewall, a bot check) blocks it, or the token lacks the right. "
            + CHECK,
        )
    if status in {404, 405}:
        cause = (
            "Add careportal to the site's ENABLE setting and restart it: without it nothing can be written. "
            if writing
            else "Is nightscout.url (NS_URL) the address of the Nightscout site itself? "
        )
        return Retryable(
            f"{site} knows no way to {'write' if writing else 'read'} {about} (HTTP {status})", remedy=cause + CHECK
        )
    if status == 429:
        return Retryable(
            f"{site} asks for fewer requests (HTTP 429)",
            after_s=after_s,
            remedy="Nothing to do: there will be a retry.",
        )
    if status >= 500:
        return ServerFault(
            f"{site} failed on a request about {about} (HTTP {status}){said}",
            status=status,
            after_s=after_s,
            unsure=writing,
            narrow=narrow,
            remedy=f"Open {site} in a browser: do the site and its database answer? Nothing is lost; it is tried again.",
        )
    return Retryable(
        f"{site} refused the request about {about} (HTTP {status}){said}",
        after_s=after_s,
        unsure=writing,
        narrow=narrow,
        remedy=CHECK,
    )
