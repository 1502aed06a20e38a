"""One HTTP request and its response; failures become the product's errors.

Messages never contain bodies or addresses.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from tconnectsync import (
    Clock,
    HttpClient,
    HttpFailed,
    HttpFailure,
    HttpLimits,
    HttpResponse,
    Retryable,
    SourceChanged,
    retry_after_s,
)

TconnectResponse: TypeAlias = HttpResponse

LIMITS = HttpLimits(connect_s=10.0, silence_s=60.0, whole_s=300.0, most_bytes=64 << 20)
BLOCKED_WAIT_S = 1800.0
CHANGED_WAIT_S = 3600.0
NEW_RELEASE = "Check for a newer release of tconnectsync. Until then the daemon retries about once an hour."
_FIREWALL = (b"Web Page Blocked!", b"Attack ID:")


class ServerFailed(Retryable):
    """An incomplete response, or a status of 500 and above."""


class RateLimited(Retryable):
    """Blocked by the firewall, or status 429: no more requests for now."""


class TconnectTokenExpired(Exception):
    """Status 401: the server refuses the token."""


class NotFound(Exception):
    """Status 404: for days before there was such data, "no data"."""


@attrs.frozen
class TconnectTransport:
    """Requests over one HTTP client."""

    client: HttpClient
    clock: Clock

    def ask(
        self,
        method: str,
        url: str,
        *,
        what: str,
        headers: Mapping[str, str],
        params: Sequence[tuple[str, str]] = (),
        form: Mapping[str, str] | None = None,
        basic: tuple[str, str] | None = None,
        limits: HttpLimits = LIMITS,
    ) -> TconnectResponse:
        """Return the response with any status. Redirects are not followed. ``params`` are sent in their order.

        Errors: Retryable (no connection, the firewall), ServerFailed (a time-out, a truncated response).
        """
        try:
            answer = self.client.request(
                method, url, what=what, headers=headers, params=params, form=form, basic=basic, limits=limits
            )
        except HttpFailed as error:
            if error.broke_off or error.reason is HttpFailure.CONNECT_TIMEOUT:
                raise ServerFailed(error.message, remedy=error.remedy) from error
            raise
        if b"__VIEWSTATE" not in answer.body and any(mark in answer.body for mark in _FIREWALL):
            raise _blocked(what)
        return answer


def _blocked(what: str) -> RateLimited:
    return RateLimited(
        f"Tandem's firewall blocks the request for {what}",
        after_s=BLOCKED_WAIT_S,
        remedy="Nothing to do at first: the daemon retries after half an hour. If it stays blocked, stop other programs that query"
        " t:connect from this address.",
    )


def body_of(answer: TconnectResponse, what: str) -> bytes:
    """Return the body of a response with status 200.

    Errors: TconnectTokenExpired, NotFound, and those of other statuses.
    """
    status = answer.status
    if status == 200:
        return bytes(answer.body)
    if status == 401:
        raise TconnectTokenExpired
    if status == 404:
        raise NotFound
    if status == 403:
        raise _blocked(what)
    if status in (408, 429) or status >= 500:
        kind = RateLimited if status == 429 else ServerFailed
        raise kind(f"t:connect has an error (status {status} for {what})", after_s=retry_after_s(answer))
    raise response_changed(what, f"status {status}")


def response_changed(what: str, how: str) -> SourceChanged:
    """The error for an unknown response format."""
    return SourceChanged(
        f"t:connect's response to the request for {what} has changed: {how}",
        after_s=CHANGED_WAIT_S,
        remedy=NEW_RELEASE,
    )


def read_json(body: bytes, what: str) -> Any:
    """Parse a JSON response; numbers too long for the log become text.

    Errors: SourceChanged (a web page), ServerFailed.
    """
    if body.lstrip()[:1] == b"<":
        raise response_changed(what, "a web page")
    try:
        return json.loads(body.decode("utf-8", "replace"), parse_constant=str, parse_int=_whole, parse_float=_finite)
    except (ValueError, RecursionError):
        raise ServerFailed(f"a truncated response to the request for {what} (incomplete JSON)") from None


def _whole(text: str) -> int | str:
    number = int(text) if len(text) <= 20 else 2**64
    return number if -(2**63) <= number < 2**63 else text


def _finite(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text
