"""One HTTP request and its answer, with what went wrong as the product's errors. No body or address gets into a message."""

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

NEW_RELEASE = "Look whether there is a newer release of tconnectsync; until then it is tried again about hourly."
_REFUSED = frozenset({400, 422})
_TOO_MUCH = frozenset({413, 500})
"""What the server answers where it breaks off while it puts an answer together."""


class BrokenAnswer(Retryable):
    """No answer, half an answer, or one that the server could not put together; a smaller question may help."""


class ServerBusy(Retryable):
    """The server has trouble that passes (502, 503, 504): the same question later, not more of them."""


class BrokenShape(SourceChanged):
    """An answer that is not what was asked for (HTML, another shape); a smaller question may help."""


class WindowRefused(SourceChanged):
    """400 or 422: the server does not take the question as it is; a smaller one may help."""


class TokenExpired(Exception):
    """401: the server does not take the token (any more)."""


@attrs.frozen
class TandemTransport:
    """Asks over one HTTP client. ``clock`` is the host's, which every answer's ``Date`` is held against."""

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
        """The answer, whatever its status; redirects are not followed. ``what`` names the request in messages.

        Errors: Retryable (no connection, or the host's clock is wrong), BrokenAnswer (a time-out, half an answer).
        """
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
                raise BrokenAnswer(error.message, unsure=error.in_doubt, remedy=error.remedy) from error
            raise
        check_clock(answer.headers, self.clock.now(), maybe_cached=maybe_cached)
        log.debug('answered what="%s" status=%d bytes=%d', what, answer.status, len(answer.body))
        return answer


def refusal(answer: TandemResponse, what: str) -> Exception:
    """The error that a status other than 200 means, by how Tandem's service is known to fail."""
    status = answer.status
    if status == 401:
        return TokenExpired()
    if status == 403:
        return Retryable(
            f"Tandem's firewall blocks the request for {what} (status 403)",
            after_s=BLOCKED_WAIT_S,
            remedy="Nothing to do at first: it is tried again after half an hour or more. If it stays, stop other programs"
            " that ask Tandem from this address.",
        )
    if status == 429:
        return Retryable(f"Tandem asks to wait (status 429 for {what})", after_s=retry_after_s(answer))
    if status in _TOO_MUCH:
        return BrokenAnswer(
            f"Tandem's server failed on the request for {what} (status {status})", after_s=retry_after_s(answer)
        )
    if status == 408 or status >= 500:
        return ServerBusy(f"Tandem's server has trouble (status {status} for {what})", after_s=retry_after_s(answer))
    if status in _REFUSED:
        unknown_keys = b"unrecognized_keys" in answer.body
        error = SourceChanged if unknown_keys else WindowRefused
        return error(
            f"Tandem does not understand the request for {what} any more (status {status}"
            f"{', unknown keys' if unknown_keys else ''})",
            after_s=CHANGED_WAIT_S,
            remedy=NEW_RELEASE,
        )
    return SourceChanged(
        f"Tandem's {what} is not where it was (status {status})", after_s=CHANGED_WAIT_S, remedy=NEW_RELEASE
    )


def shape_changed(what: str, how: str) -> BrokenShape:
    """The error for a good status with something else in it."""
    return BrokenShape(
        f"Tandem answers the request for {what} with something new: {how}", after_s=CHANGED_WAIT_S, remedy=NEW_RELEASE
    )


def login_changed(words: str, remedy: str | None = None) -> SourceChanged:
    """The error for a step of the login that went another way than is known."""
    return SourceChanged(
        f"Tandem's login is not as it was: {words}", after_s=CHANGED_WAIT_S, remedy=remedy or NEW_RELEASE
    )


def check_clock(headers: Mapping[str, str], now: datetime, *, maybe_cached: bool) -> None:
    """Raise Retryable if the host's clock is more than five minutes off the server's.

    A page may come out of a cache with an old ``Date``: then only a host that is behind can be told.
    """
    server = http_date(headers.get("Date", ""))
    if server is None:
        return
    age = headers.get("Age", "").strip()
    if age.isdigit():
        server += timedelta(seconds=int(age[:9]))
    ahead = now - server
    if -CLOCK_TOLERANCE <= ahead <= CLOCK_TOLERANCE or (maybe_cached and ahead > CLOCK_TOLERANCE):
        return
    way = "ahead of" if ahead > timedelta(0) else "behind"
    raise Retryable(
        f"this computer's clock ({now:%Y-%m-%d %H:%M} UTC) is {_span(abs(ahead))} {way} Tandem's ({server:%Y-%m-%d %H:%M} UTC)",
        after_s=60.0,
        remedy="Set this computer's time: `timedatectl` tells whether it is synchronised.",
    )


def _span(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    if minutes < 120:
        return counted(minutes, "minute")
    return counted(minutes // 60, "hour") if minutes < 72 * 60 else counted(minutes // 1440, "day")
