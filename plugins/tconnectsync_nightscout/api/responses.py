"""Turn an HTTP response of a Nightscout site into a value, or into the error that fits its status."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import attrs
import msgspec

from tconnectsync import (
    CredentialsRefused,
    HttpResponse,
    Rejected,
    Retryable,
    TconnectsyncError,
    host_of,
    retry_after_s,
)
from tconnectsync_nightscout.api.error_text import error_text

Answer: TypeAlias = HttpResponse
CHECK = "Run `tconnectsync check` to see what the site allows."
SLOW = frozenset({408, 502, 503, 504, *range(520, 528)})
"""Statuses of gateways that gave up on a request: a smaller one may be fast enough."""
BULKY = frozenset({403, 406, 411, 415, 431, 501}) | SLOW
"""Statuses of firewalls and proxies that reject a body as too large, or because they cannot read it."""


class ServerFault(Retryable):
    """The server itself failed, with a 5xx ``status``."""

    status: int

    def __init__(
        self, message: str, *, status: int, after_s: float | None, in_doubt: bool, narrow: bool, remedy: str
    ) -> None:
        super().__init__(message, after_s=after_s, in_doubt=in_doubt, narrow=narrow, remedy=remedy)
        self.status = status


@attrs.frozen(kw_only=True)
class SiteToken:
    """An access token was sent for ``collection``. ``in_use``: the sinks of this process, by collection."""

    collection: str
    in_use: Mapping[str, Sequence[str]]

    def unaffected_sinks(self) -> list[str]:
        """The sinks that use other collections only."""
        affected = set(self.in_use.get(self.collection, ()))
        return sorted({name for names in self.in_use.values() for name in names} - affected)


class SiteRequestInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The request, for error messages: the site's address, the subject, and the method.

    ``token`` is None if the API secret was sent.
    """

    site: str
    about: str
    method: str
    token: SiteToken | None = None

    @property
    def writing(self) -> bool:
        """Whether the request changes anything."""
        return self.method != "GET"


def value_of(answer: Answer, question: SiteRequestInfo, now: datetime) -> Any:
    """Return the parsed JSON of a successful response. Raises the error of any other."""
    if not 200 <= answer.status < 300:
        raise error_of(answer, question, now)
    if answer.status in {201, 204} and question.method == "POST" and not answer.body.strip():
        return []  # some compatible sites return nothing for what they store
    try:
        return _parsed(answer.body)
    except (ValueError, RecursionError):
        kind = answer.headers.get("Content-Type", "").split(";")[0].strip() or "something"
        kind = kind if answer.body.strip() else "nothing"
        if "json" in kind:
            raise Retryable(
                f"{question.site} sent an incomplete answer to a request about {question.about} (no complete JSON)",
                in_doubt=question.writing,
                narrow=question.writing,
                remedy="The daemon retries. If it continues, check the proxy or firewall in front of the site.",
            ) from None
        raise Retryable(
            f"{question.site} answered with {kind} instead of JSON to a request about {question.about}",
            in_doubt=question.writing,
            narrow=question.writing,
            remedy=f"Open {question.site} in a browser: is it this Nightscout site, and is it awake? If not, correct nightscout.url.",
        ) from None


def _parsed(body: bytes | bytearray) -> Any:
    """Parse JSON. What msgspec refuses, such as a number that is too large, is for the tolerant and slower parser."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return json.loads(body)


_RIGHTS = {"GET": "read", "POST": "create", "PUT": "update", "DELETE": "delete"}


def _is_of_proxy(answer: Answer) -> bool:
    """Whether a 401 names a way to log in, as a proxy must. Nightscout names none."""
    return bool(answer.headers.get("WWW-Authenticate", "").strip())


def _login_of_proxy(question: SiteRequestInfo) -> Retryable:
    """The error for something in front of the site that asks for a login of its own."""
    return Retryable(
        f"Something in front of {question.site} asks for a login of its own (HTTP 401)",
        remedy="nightscout.api_secret may be right: a proxy refuses the request before the site sees it."
        " Let requests to the path /api/ pass the proxy without its login. " + CHECK,
    )


def _refusal(question: SiteRequestInfo) -> CredentialsRefused:
    """The error for a refused secret, or for a token, which may lack only this right."""
    if question.token is None:
        return CredentialsRefused(
            f"{question.site} refused the secret or token for {question.about} (HTTP 401)",
            remedy="Check nightscout.api_secret (NS_SECRET) against the site's API_SECRET; an access token belongs in"
            " nightscout.token, and its role needs the rights to create, read and delete. Then run `tconnectsync check`.",
        )
    right = f"api:{question.token.collection}:{_RIGHTS[question.method]}"
    unaffected = question.token.unaffected_sinks()
    rest = f". Not affected: {', '.join(unaffected)}" if unaffected else ""
    return CredentialsRefused(
        f"{question.site} refused the secret or token for {question.about} (HTTP 401): the token is unknown there, or it"
        f" lacks the right {right}{rest}",
        remedy=f"Add {right} to the token's role in Nightscout's Admin Tools, or check nightscout.token."
        " A Nightscout before version 14 takes no token here: set nightscout.api_secret instead."
        " Then run `tconnectsync check`.",
    )


def _no_such_way(status: int, question: SiteRequestInfo) -> Retryable:
    """The error for a path or method that is missing, or that something in front of the site forbids."""
    site, about, method = question.site, question.about, question.method
    if status == 405 and method in {"PUT", "DELETE"}:  # a site without careportal answers 404
        return Retryable(
            f"{site} does not allow {method} for {about} (HTTP 405)",
            remedy=f"A firewall or proxy in front of the site forbids {method}: allow it there. Until then, changed and"
            f" withdrawn documents wait. {CHECK}",
        )
    cause = (
        "Add careportal to the site's ENABLE setting and restart it. Without careportal nothing can be written. "
        if question.writing
        else "Is nightscout.url (NS_URL) the address of the Nightscout site itself? "
    )
    return Retryable(
        f"{site} offers no way to {'write' if question.writing else 'read'} {about} (HTTP {status})",
        remedy=cause + CHECK,
    )


def error_of(answer: Answer, question: SiteRequestInfo, now: datetime) -> TconnectsyncError:
    """Return the error for a status other than success."""
    status, site, about, writing = answer.status, question.site, question.about, question.writing
    after_s = retry_after_s(answer, now)
    words = error_text(answer)
    quoted = f'; it says "{words}"' if words else ""
    narrow = status in (BULKY if writing else SLOW)
    if 300 <= status < 400:
        target = host_of(answer.headers.get("Location", ""))
        place = f" to {target}" if target else ""
        return Retryable(
            f"{site} redirects{place} (HTTP {status}); the secret is not sent to another address",
            remedy="Set nightscout.url (NS_URL) to the address that the site redirects to, if it is yours.",
        )
    if status == 401:
        return _login_of_proxy(question) if _is_of_proxy(answer) else _refusal(question)
    if status in {400, 422} and writing:
        return Rejected(f"Nightscout cannot read the request about {about} (HTTP {status}){quoted}")
    if status == 413 and writing:
        return Rejected(f"The request about {about} is too large for Nightscout (HTTP 413)", narrow=True)
    if status == 403:
        return Retryable(
            f"{site} forbids the request about {about} (HTTP 403){quoted}",
            narrow=narrow,
            remedy="A firewall or a bot check in front of the site blocks it, or the token lacks the right. " + CHECK,
        )
    if status in {404, 405}:
        return _no_such_way(status, question)
    if status == 429:
        return Retryable(
            f"{site} asks for fewer requests (HTTP 429)",
            after_s=after_s,
            remedy="Nothing to do: the daemon retries.",
        )
    if status >= 500:
        return ServerFault(
            f"{site} failed on a request about {about} (HTTP {status}){quoted}",
            status=status,
            after_s=after_s,
            in_doubt=writing,
            narrow=narrow,
            remedy=f"Open {site} in a browser: do the site and its database answer? Nothing is lost: the daemon retries.",
        )
    return Retryable(
        f"{site} refused the request about {about} (HTTP {status}){quoted}",
        after_s=after_s,
        in_doubt=writing,
        narrow=narrow,
        remedy=CHECK,
    )
