"""One HTTP request and its answer, with what went wrong as the product's errors. No body or address gets into a message."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import attrs
import requests

from tconnectsync import Clock, Retryable, SourceChanged

TIMEOUTS_S = (10.0, 60.0)
"""To connect, and between two pieces of an answer."""
LONGEST_ANSWER_S = 300.0
MOST_BYTES = 64 * 1024 * 1024
BLOCKED_WAIT_S = 1800.0
CHANGED_WAIT_S = 3600.0
NEW_RELEASE = "Look whether there is a newer release of tconnectsync; until then it is tried again about hourly."
_FIREWALL = (b"Web Page Blocked!", b"Attack ID:")


class ServerFailed(Retryable):
    """No whole answer, or a status of 500 and more."""


class AskedTooMuch(Retryable):
    """The firewall, or a status of 429: no more questions for now."""


class TokenOver(Exception):
    """401: the server does not take the token (any more)."""


class NotThere(Exception):
    """404: for days before there was such data, "no data"."""


@attrs.frozen(kw_only=True)
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)


@attrs.frozen
class Transport:
    """Asks over one ``requests`` session."""

    session: requests.Session
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
        timeouts_s: tuple[float, float] = TIMEOUTS_S,
    ) -> Answer:
        """The answer, whatever its status; redirects are not followed. ``params`` are sent in their order.

        Errors: Retryable (no connection, the firewall), ServerFailed (a time-out, half an answer).
        """
        host = urlsplit(url).hostname or "the server"
        try:
            with self.session.request(
                method,
                url,
                params=list(params),
                data=form,
                headers=dict(headers),
                auth=basic,
                timeout=timeouts_s,
                allow_redirects=False,
                stream=True,
            ) as response:
                body = self._read(response, what)
                answer = Answer(status=response.status_code, headers=response.headers, body=body)
        except requests.exceptions.ConnectTimeout:
            raise ServerFailed(f"{host} does not answer (no connection within {timeouts_s[0]:.0f} s)") from None
        except requests.exceptions.SSLError:
            raise Retryable(
                f"the certificate of {host} is not good",
                remedy="Check this computer's date, and that no proxy stands between it and the internet.",
            ) from None
        except requests.exceptions.Timeout:
            raise ServerFailed(f"no answer to the request for {what} within {timeouts_s[1]:.0f} s") from None
        except (requests.exceptions.RequestException, ValueError) as error:
            raise ServerFailed(
                f"no whole answer of {host} to the request for {what} ({type(error).__name__})"
            ) from None
        if b"__VIEWSTATE" not in body and any(mark in body for mark in _FIREWALL):
            raise _blocked(what)
        return answer

    def _read(self, response: requests.Response, what: str) -> bytes:
        end = self.clock.monotonic() + LONGEST_ANSWER_S
        body = bytearray()
        for piece in response.iter_content(65536):
            body += piece
            if len(body) > MOST_BYTES:
                raise ServerFailed(f"the answer to the request for {what} is too large")
            if self.clock.monotonic() > end:
                raise ServerFailed(f"the answer to the request for {what} takes too long")
        return bytes(body)


def _blocked(what: str) -> AskedTooMuch:
    return AskedTooMuch(
        f"Tandem's firewall blocks the request for {what}",
        after_s=BLOCKED_WAIT_S,
        remedy="Nothing to do at first: it is tried again after half an hour. If it stays, stop other programs that ask"
        " t:connect from this address.",
    )


def good(answer: Answer, what: str) -> bytes:
    """The body of an answer with status 200. Errors: TokenOver, NotThere, and what any other status means."""
    status = answer.status
    if status == 200:
        return answer.body
    if status == 401:
        raise TokenOver
    if status == 404:
        raise NotThere
    if status == 403:
        raise _blocked(what)
    if status in (408, 429) or status >= 500:
        wait = answer.headers.get("Retry-After", "").strip()
        after_s = float(min(int(wait[:9]), 86_400)) if wait.isdigit() else None
        kind = AskedTooMuch if status == 429 else ServerFailed
        raise kind(f"t:connect has trouble (status {status} for {what})", after_s=after_s)
    raise changed(what, f"status {status}")


def changed(what: str, how: str) -> SourceChanged:
    """The error for an answer that this release does not know."""
    return SourceChanged(
        f"t:connect answers the request for {what} with something new: {how}",
        after_s=CHANGED_WAIT_S,
        remedy=NEW_RELEASE,
    )


def read_json(body: bytes, what: str) -> Any:
    """A JSON answer; numbers that the log could not write are texts. Errors: SourceChanged (a web page), ServerFailed."""
    if body.lstrip()[:1] == b"<":
        raise changed(what, "a web page")
    try:
        return json.loads(body.decode("utf-8", "replace"), parse_constant=str, parse_int=_whole, parse_float=_finite)
    except (ValueError, RecursionError):
        raise ServerFailed(f"half an answer to the request for {what} (no whole JSON)") from None


def _whole(text: str) -> int | str:
    number = int(text) if len(text) <= 20 else 2**64
    return number if -(2**63) <= number < 2**63 else text


def _finite(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text
