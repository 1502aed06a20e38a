"""One HTTP request and its response; failures become the product's errors.

Messages never contain bodies or addresses.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import attrs

from tconnectsync import (
    Clock,
    HttpClient,
    HttpFailed,
    HttpLimits,
    HttpResponse,
    Retryable,
    SourceChanged,
    counted,
    http_date,
    retry_after_s,
)

log = logging.getLogger("tconnectsync.tandem")

TandemResponse: TypeAlias = HttpResponse
Body: TypeAlias = bytes | bytearray

LIMITS = HttpLimits(connect_s=10.0, silence_s=60.0, whole_s=300.0, most_bytes=128 << 20)
CLOCK_TOLERANCE = timedelta(minutes=5)

BLOCKED_WAIT_S = 1800.0
CHANGED_WAIT_S = 3600.0

NEW_RELEASE = "Check for a newer release of tconnectsync. Until then the daemon retries about once an hour."
_REFUSED = frozenset({400, 413, 414, 416, 422})
_TOO_MUCH = frozenset({500})
"""The start of a response that the server aborted."""


class BrokenAnswer(Retryable):
    """No response, a truncated one, or one that the server aborted; a smaller request may work."""


class ServerBusy(Retryable):
    """A temporary server error (502, 503, 504): repeat the request later, do not split it."""


class Blocked(Retryable):
    """Status 403 or 429: no further request may be made for a while."""


class BrokenShape(SourceChanged):
    """An unexpected response (HTML, another format); a smaller request may work."""


class WindowRefused(SourceChanged):
    """Status 400, 413, 422 and the like: the server refuses the request; a smaller one may work."""


class TokenExpired(Exception):
    """Status 401: the server refuses the token."""


@attrs.frozen
class TandemTransport:
    """Requests over one HTTP client. ``clock`` is this computer's, compared with the ``Date`` of each response."""

    client: HttpClient
    clock: Clock

    def ask(
        self,
        method: str,
        url: str,
        *,
        what: str,
        headers: Mapping[str, str],
        params: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        document: Mapping[str, Any] | None = None,
        maybe_cached: bool = False,
    ) -> TandemResponse:
        """Return the response with any status. Redirects are not followed. ``what`` names the request in messages.

        Errors: Retryable (no connection, or this computer's clock is wrong), BrokenAnswer (a time-out, a truncated
        response).
        """
        began = self.clock.now()
        try:
            answer = self.client.request(
                method,
                url,
                what=what,
                headers=headers,
                params=params or {},
                form=form,
                document=document,
                limits=LIMITS,
            )
        except HttpFailed as error:
            if error.broke_off:
                raise BrokenAnswer(error.message, in_doubt=error.in_doubt, remedy=error.remedy) from error
            raise
        check_clock(answer.headers, began, self.clock.now(), maybe_cached=maybe_cached)
        log.debug('answered what="%s" status=%d bytes=%d', what, answer.status, len(answer.body))
        return answer


def refusal(answer: TandemResponse, what: str) -> Exception:
    """The error for a status other than 200, by the known failures of Tandem's service."""
    status = answer.status
    if status == 401:
        return TokenExpired()
    if status == 403:
        return Blocked(
            f"Tandem's firewall blocks the request for {what} (status 403)",
            after_s=BLOCKED_WAIT_S,
            remedy="Nothing to do at first: the daemon retries after half an hour or more. If it stays blocked, stop other"
            " programs that query Tandem from this address.",
        )
    if status == 429:
        return Blocked(f"Tandem asks to wait (status 429 for {what})", after_s=retry_after_s(answer))
    if status in _TOO_MUCH:
        return BrokenAnswer(
            f"Tandem's server failed on the request for {what} (status {status})", after_s=retry_after_s(answer)
        )
    if status == 408 or status >= 500:
        return ServerBusy(f"Tandem's server has an error (status {status} for {what})", after_s=retry_after_s(answer))
    if status in _REFUSED:
        unknown_keys = b"unrecognized_keys" in answer.body
        error = SourceChanged if unknown_keys else WindowRefused
        return error(
            f"Tandem no longer understands the request for {what} (status {status}"
            f"{', unknown keys' if unknown_keys else ''})",
            after_s=CHANGED_WAIT_S,
            remedy=NEW_RELEASE,
        )
    return SourceChanged(f"Tandem's {what} has moved (status {status})", after_s=CHANGED_WAIT_S, remedy=NEW_RELEASE)


def shape_changed(what: str, how: str) -> BrokenShape:
    """The error for a successful status with unexpected content."""
    return BrokenShape(
        f"Tandem's response to the request for {what} has changed: {how}", after_s=CHANGED_WAIT_S, remedy=NEW_RELEASE
    )


def login_changed(words: str, remedy: str | None = None) -> SourceChanged:
    """The error for a login step that ended in an unknown way."""
    return SourceChanged(f"Tandem's login has changed: {words}", after_s=CHANGED_WAIT_S, remedy=remedy or NEW_RELEASE)


def check_clock(headers: Mapping[str, str], began: datetime, ended: datetime, *, maybe_cached: bool) -> None:
    """Raise Retryable if this computer's clock differs from the server's by more than five minutes.

    The server wrote its ``Date`` between the begin of the request and the end of its response, which may be minutes on a
    slow line. A page may come from a cache with an old ``Date``: then only a clock that is behind can be detected.
    """
    server = http_date(headers.get("Date", ""))
    if server is None:
        return
    age = headers.get("Age", "").strip()
    if age.isdigit():
        server += timedelta(seconds=int(age[:9]))
    now = min(max(server, began), ended)
    ahead = now - server
    if -CLOCK_TOLERANCE <= ahead <= CLOCK_TOLERANCE or (maybe_cached and ahead > CLOCK_TOLERANCE):
        return
    way = "ahead of" if ahead > timedelta(0) else "behind"
    raise Retryable(
        f"this computer's clock ({now:%Y-%m-%d %H:%M} UTC) is {_span(abs(ahead))} {way} Tandem's ({server:%Y-%m-%d %H:%M} UTC)",
        after_s=60.0,
        remedy="Set this computer's clock: `timedatectl` shows whether it is synchronised.",
    )


def _span(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    if minutes < 120:
        return counted(minutes, "minute")
    return counted(minutes // 60, "hour") if minutes < 72 * 60 else counted(minutes // 1440, "day")
