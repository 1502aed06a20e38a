"""What a login without success means. Only whole words of the response decide: "blocked" is not "locked".

A refusal stops the source, because an account is locked after some attempts with a wrong password. All else is temporary.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tconnectsync import CredentialsRefused, Retryable, retry_after_s
from tconnectsync_tandem.api.endpoints import Endpoints
from tconnectsync_tandem.api.transport import (
    BLOCKED_WAIT_S,
    Blocked,
    TandemResponse,
    TokenExpired,
    login_changed,
    refusal,
    shape_changed,
)

UNCLEAR_WAIT_S = 3600.0
"""The first wait after an unclear response; the next ones are longer, so that no account is locked by them."""


class Meaning(enum.Enum):
    """Why a login has no success, if the response names the account."""

    LOCKED = enum.auto()
    CODE = enum.auto()
    CREDENTIALS = enum.auto()
    NEW_PASSWORD = enum.auto()
    TERMS = enum.auto()


_PHRASES: Mapping[Meaning, Sequence[str]] = {
    Meaning.LOCKED: ("locked", "lockout", "max attempted", "max attempts", "many attempts", "account disabled"),
    Meaning.CODE: ("mfa", "otp", "2 fa", "two factor", "multi factor", "second factor", "verification code"),
    Meaning.CREDENTIALS: (
        "account invalid",
        "credentials invalid",
        "credentials incorrect",
        "credentials wrong",
        "credentials bad",
        "password invalid",
        "password incorrect",
        "password wrong",
        "user exist",
        "user found",
    ),
    Meaning.NEW_PASSWORD: ("password expired", "password change", "password reset"),
    Meaning.TERMS: ("terms", "consent"),
}
"""The response has all words of one phrase, in any order. The first that fits decides."""

_CODE = re.compile(r"account/[a-z_]{3,40}")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_NOT_OF_THE_ACCOUNT = frozenset({404, 408, 429})


def login_error(answer: TandemResponse, endpoints: Endpoints) -> Exception:
    """Return the error for a login without success."""
    found, status = json_of(answer), answer.status
    if status == 200 or (400 <= status < 500 and status not in _NOT_OF_THE_ACCOUNT):
        texts = tuple(_texts(found))
        code = _CODE.search(" ".join(texts))
        meaning = Meaning.LOCKED if status == 423 else _meaning(texts)
        if meaning is not None or code is not None:
            return _of_account(meaning or Meaning.CREDENTIALS, code, endpoints)
    if status == 200 and not (isinstance(found, dict) and "status" in found):
        return shape_changed("login", "it has no status")
    if status == 429:
        return Blocked("Tandem asks to wait (status 429 for login)", after_s=retry_after_s(answer) or BLOCKED_WAIT_S)
    if status in (200, 401):
        return _unclear(status, found, endpoints)
    return refused_step(answer, "login")


def refused_step(answer: TandemResponse, what: str) -> Exception:
    """Return the error for a step of the login by its status."""
    error = refusal(answer, what)
    if isinstance(error, TokenExpired):
        return login_changed(f"the {what} asks for a login (status 401)")
    return error


def terms_remedy(endpoints: Endpoints) -> str:
    """What to do if a login ends before its end."""
    return (
        f"Log in once at {endpoints.data} in a browser: you may have to accept new terms there."
        " If that works, check for a newer release of tconnectsync."
    )


def _meaning(texts: Sequence[str]) -> Meaning | None:
    if any("zoderror" in text.lower() for text in texts):  # about the request
        return None
    words = {word.lower() for text in texts for word in _WORD.findall(text)}
    for meaning, phrases in _PHRASES.items():
        if any(words.issuperset(phrase.split()) for phrase in phrases):
            return meaning
    return None


def _texts(found: Any) -> Iterator[str]:
    """Yield all texts of a JSON object, and the keys that are true. Others are names of what may be."""
    if isinstance(found, str):
        yield found
    elif isinstance(found, list):
        for each in found:
            yield from _texts(each)
    elif isinstance(found, dict):
        for key, value in found.items():
            yield from (key,) if value is True else _texts(value)


def _of_account(meaning: Meaning, code: re.Match[str] | None, endpoints: Endpoints) -> Exception:
    here, other = endpoints.region, endpoints.other_region
    if meaning is Meaning.LOCKED:
        return CredentialsRefused(
            f"Tandem has locked the account after too many attempts to log in (region {here})",
            remedy="Wait an hour, log in once in a browser (set a new password if necessary), then run `tconnectsync check`.",
        )
    if meaning is Meaning.CODE:
        return CredentialsRefused(
            f"Tandem asks for a code beside the password (MFA) at the login of region {here}; tconnectsync cannot give one",
            remedy=f"Log in once at {endpoints.data} in a browser, and turn the second factor off for this account. Then run"
            " `tconnectsync check`.",
        )
    if meaning is Meaning.NEW_PASSWORD:
        return CredentialsRefused(
            f"Tandem asks for a new password (region {here})",
            remedy=f"Log in once at {endpoints.data} in a browser and set a new password. Put it into [sources.tandem]"
            " (TCONNECT_PASSWORD). Then run `tconnectsync check`.",
        )
    if meaning is Meaning.TERMS:
        return login_changed("Tandem asks to accept its terms", terms_remedy(endpoints))
    words = f" ({code.group()})" if code else ""
    return CredentialsRefused(
        f"Tandem refuses the user name or the password{words} at the login of region {here}",
        remedy=f"Check email and password of [sources.tandem] (TCONNECT_EMAIL, TCONNECT_PASSWORD). If the account was"
        f' created in the other region, set region = "{other}" (TCONNECT_REGION). Then run `tconnectsync check`.',
    )


def _unclear(status: int, found: Any, endpoints: Endpoints) -> Retryable:
    named = str(found.get("status", "")) if isinstance(found, dict) else ""
    words = f", {named}" if re.fullmatch(r"[A-Za-z0-9_]{1,30}", named) else ""
    return Retryable(
        f"Tandem's login failed without a known reason (status {status}{words})",
        after_s=UNCLEAR_WAIT_S,
        remedy="Nothing to do at first: the daemon retries after an hour, later every four hours, so that the account is not"
        f" locked. If it stays so, log in once at {endpoints.data} in a browser. If that fails too, check email and password of"
        " [sources.tandem].",
    )


def json_of(answer: TandemResponse) -> Any:
    """Return the body's JSON value; None if it is none."""
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
