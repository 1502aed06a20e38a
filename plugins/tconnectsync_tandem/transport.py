"""One HTTP request and its answer, with what went wrong as the product's errors. No body or address gets into a message."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import attrs
import requests

from tconnectsync import Clock, Retryable, SourceChanged

log = logging.getLogger("tconnectsync.tandem")

Body: TypeAlias = bytes | bytearray

TIMEOUTS_S = (10.0, 60.0)
"""To connect, and between two pieces of an answer."""

LONGEST_ANSWER_S = 300.0
MOST_BYTES = 128 * 1024 * 1024
CLOCK_TOLERANCE = timedelta(minutes=5)

BLOCKED_WAIT_S = 1800.0
CHANGED_WAIT_S = 3600.0

NEW_RELEASE = "Look whether there is a newer release of tconnectsync; until then it is tried again about hourly."
_TOO_MUCH = frozenset({413, 500})
"""What the server answers where it breaks off while it puts an answer together."""


class BrokenAnswer(Retryable):
    """No answer, half an answer, or one that the server could not put together; a smaller question may help."""


class ServerBusy(Retryable):
    """The server has trouble that passes (502, 503, 504): the same question later, not more of them."""


class BrokenShape(SourceChanged):
    """An answer that is not what was asked for (HTML, another shape); a smaller question may help."""


class TokenOver(Exception):
    """401: the server does not take the token (any more)."""


@attrs.frozen(kw_only=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: Body = attrs.field(repr=False)


@attrs.frozen
class Transport:
    """Asks over one ``requests`` session. ``clock`` is the host's, which every answer's ``Date`` is held against."""

    session: requests.Session
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
    ) -> Answer:
        """The answer, whatever its status; redirects are not followed. ``what`` names the request in messages.

        Errors: Retryable (no connection, or the host's clock is wrong), BrokenAnswer (a time-out, half an answer).
        """
        host = urlsplit(url).hostname or "the server"
        try:
            with self.session.request(
                method,
                url,
                params=params,
                data=form,
                json=document,
                headers=dict(headers),
                timeout=TIMEOUTS_S,
                allow_redirects=False,
                stream=True,
            ) as response:
                body = self._read(response, what)
                answer = Answer(status=response.status_code, headers=response.headers, body=body)
        except requests.exceptions.ConnectTimeout:
            raise Retryable(f"{host} does not answer (no connection within {TIMEOUTS_S[0]:.0f} s)") from None
        except requests.exceptions.SSLError:
            raise Retryable(
                f"the certificate of {host} is not good",
                remedy="Check this computer's date, and that no proxy stands between it and the internet.",
            ) from None
        except requests.exceptions.Timeout:
            raise BrokenAnswer(
                f"no answer to the request for {what} within {TIMEOUTS_S[1]:.0f} s", unsure=True
            ) from None
        except requests.exceptions.ConnectionError as error:
            raise _no_connection(error, host, what) from None
        except requests.exceptions.RequestException as error:
            raise BrokenAnswer(
                f"half an answer to the request for {what} ({type(error).__name__})", unsure=True
            ) from None
        except ValueError:  # requests looks at the address of a redirect even when it is not followed
            raise shape_changed(what, "a redirect to no address") from None
        check_clock(answer.headers, self.clock.now(), maybe_cached=maybe_cached)
        log.debug('answered what="%s" status=%d bytes=%d', what, answer.status, len(body))
        return answer

    def _read(self, response: requests.Response, what: str) -> Body:
        end = self.clock.monotonic() + LONGEST_ANSWER_S
        body = bytearray()
        for piece in response.iter_content(65536):
            body += piece
            if len(body) > MOST_BYTES:
                raise BrokenAnswer(f"the answer to the request for {what} is too large")
            if self.clock.monotonic() > end:
                raise BrokenAnswer(f"the answer to the request for {what} takes too long")
        return body  # a month's answer is not copied


def refusal(answer: Answer, what: str) -> Exception:
    """The error that a status other than 200 means, by how Tandem's service is known to fail."""
    status = answer.status
    if status == 401:
        return TokenOver()
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
    if status == 400:
        return SourceChanged(
            f"Tandem does not understand the request for {what} any more (status 400{_validation(answer)})",
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


def retry_after_s(answer: Answer) -> float | None:
    """Seconds that the server asks to wait: ``Retry-After`` as a number, or as a date against the server's own ``Date``."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(min(int(text[:9]), 86_400))
    until, now = _http_date(text), _http_date(answer.headers.get("Date", ""))
    if until is None or now is None:
        return None
    return min(max((until - now).total_seconds(), 0.0), 86_400.0)


def check_clock(headers: Mapping[str, str], now: datetime, *, maybe_cached: bool) -> None:
    """Raise Retryable if the host's clock is more than five minutes off the server's.

    A page may come out of a cache with an old ``Date``: then only a host that is behind can be told.
    """
    server = _http_date(headers.get("Date", ""))
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
        return f"{minutes} minutes"
    return f"{minutes // 60} hours" if minutes < 72 * 60 else f"{minutes // 1440} days"


def _http_date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return found.replace(tzinfo=timezone.utc) if found.tzinfo is None else found.astimezone(timezone.utc)


def _validation(answer: Answer) -> str:
    return ", unknown keys" if b"unrecognized_keys" in answer.body else ""


def _no_connection(error: requests.exceptions.ConnectionError, host: str, what: str) -> Retryable:
    """A request that never got out is not the same as one that was cut off."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    name = type(reason).__name__
    if name == "NameResolutionError":
        return Retryable(f"the address of {host} cannot be looked up: is this computer online?")
    if name == "NewConnectionError":
        return Retryable(f"no connection to {host}")
    return BrokenAnswer(f"{host} cut off the request for {what}", unsure=True)
