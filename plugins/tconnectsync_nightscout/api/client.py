"""Nightscout's API version 1 over HTTP: read, create and delete, with time-outs and exact errors.

The secret is sent in the ``api-secret`` header only. Redirects are not followed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha1
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

import msgspec

from tconnectsync import (
    Clock,
    CredentialsRefused,
    HttpClient,
    HttpFailed,
    HttpFailure,
    HttpLimits,
    Retryable,
    Secret,
    TconnectsyncError,
    __version__,
    http_date,
)
from tconnectsync_nightscout.api.address import UNKNOWN, SiteStatus, read_status
from tconnectsync_nightscout.api.compression import REFUSED, Compression
from tconnectsync_nightscout.api.responses import SLOW, Answer, SiteRequestInfo, SiteToken, value_of

LIMITS = HttpLimits(connect_s=10.0, silence_s=60.0, whole_s=180.0, most_bytes=64 << 20)
IDLE_S = 4.0
"""Servers close idle connections after five seconds; a write on a closed one gets no answer."""
STATUS_S = 3600.0
REFUSED_S = 60.0
"""Requests are not repeated for this long after a refusal: newer servers delay all of an address after each failure."""

Find: TypeAlias = Sequence[tuple[str, str]]
"""Conditions: a path below ``find`` such as ``created_at[$gte]`` and its value."""

_OWN_CERTIFICATE = "Or, if you made the certificate yourself, set nightscout.verify_tls = false."
_REMEDIES: Mapping[HttpFailure, str] = {
    HttpFailure.BAD_ADDRESS: "The setting is nightscout.url (NS_URL).",
    HttpFailure.BAD_HEADER: "The setting is nightscout.token, or nightscout.api_secret (NS_SECRET).",
    HttpFailure.CERTIFICATE_BAD: _OWN_CERTIFICATE,
    HttpFailure.CERTIFICATE_EXPIRED: _OWN_CERTIFICATE,
    HttpFailure.CERTIFICATE_OTHER_HOST: _OWN_CERTIFICATE,
    HttpFailure.CERTIFICATE_UNKNOWN_AUTHORITY: _OWN_CERTIFICATE,
    HttpFailure.PLAIN_PORT: "The setting is nightscout.url (NS_URL).",
    HttpFailure.TLS_PORT: "The setting is nightscout.url (NS_URL).",
    HttpFailure.UNKNOWN_NAME: "The setting is nightscout.url (NS_URL).",
}
"""Addition to a remedy: the name of the setting."""

_SHA1 = re.compile(r"[0-9a-f]{40}")
_MONGO_ID = re.compile(r"[0-9a-f]{24}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def header_of(api_secret: Secret | None, token: Secret | None) -> Secret:
    """The value of the ``api-secret`` header: the secret's SHA-1 in lower case hex, or a token as it is."""
    if token is not None:
        return Secret(token.reveal())
    if api_secret is None:
        raise ValueError("neither a secret nor a token")
    return Secret(sha1(api_secret.reveal().encode()).hexdigest())


def is_mongo_id(value: object) -> bool:
    """Whether a server made this ``_id`` (MongoDB or UUID). Any other text in a DELETE may match several documents."""
    return isinstance(value, str) and _MONGO_ID.fullmatch(value) is not None


class NightscoutClient:
    """A client for one site.

    ``url`` is in the form of :func:`tconnectsync_nightscout.api.address.site_url`; ``key`` is from :func:`header_of`;
    ``doubt`` is a likely mistake in it, added to the message if the site refuses it.

    ``clock_ahead_s`` is how far this computer's clock was ahead of the site's at the last response. ``changed_count``
    counts the requests that changed the site, or may have. ``in_use`` names the sinks of each collection, for messages
    about a missing right. Not thread-safe: the server may duplicate a document that is posted over two connections at
    once.
    """

    def __init__(
        self,
        *,
        url: str,
        key: Secret,
        clock: Clock,
        verify_tls: bool = True,
        in_use: Mapping[str, Sequence[str]] | None = None,
        doubt: str | None = None,
    ) -> None:
        self.url = url
        self.verify_tls = verify_tls
        self.clock = clock
        self.clock_ahead_s: float | None = None
        self.changed_count = 0
        self.compression = Compression()
        self.drops_identifier: set[str] = set()
        """Collections in which responses lack our ``identifier``: the site may drop it."""
        self._key, self._doubt = key, doubt
        self._http = HttpClient(clock=clock, verify_tls=verify_tls)
        self._last_use: float | None = None
        self._status: tuple[float, SiteStatus] | None = None
        self._refused: dict[str, tuple[float, CredentialsRefused]] = {}
        self._in_use: Mapping[str, Sequence[str]] = {} if in_use is None else in_use

    @property
    def uses_token(self) -> bool:
        """Whether it uses an access token, which may lack single rights, and not the API_SECRET, which has all rights."""
        return _SHA1.fullmatch(self._key.reveal()) is None

    def __repr__(self) -> str:
        return f"NightscoutClient(url={self.url!r})"

    def close(self) -> None:
        """Close the connections. The client can be used again."""
        self._http.close()
        self._last_use = None

    def status(self) -> SiteStatus:
        """Return version, units and plugins of the site.

        Read again hourly and after every error, since sites get upgraded. If the site is private and the token may not
        read its status, the version and units are unknown: delivery needs neither.
        """
        now_s = self.clock.monotonic()
        if self._status is not None and 0 <= now_s - self._status[0] < STATUS_S:
            return self._status[1]
        try:
            answer = self._request("GET", "status.json", about="its status")
        except CredentialsRefused:
            if not self.uses_token:
                raise
            self._status = (now_s, SiteStatus(version=UNKNOWN, is_hidden=True))
            return self._status[1]
        if not isinstance(answer, dict) or not ({"version", "settings", "apiEnabled"} & answer.keys()):
            raise Retryable(
                f"{self.url} answered, but not with the status of a Nightscout site",
                remedy="Is nightscout.url (NS_URL) the address of the Nightscout site itself?",
            )
        self._status = (now_s, read_status(answer))
        return self._status[1]

    @property
    def known_units(self) -> str | None:
        """The site's units if they are known from a recent response; makes no request."""
        return None if self._status is None else self._status[1].units

    def read(self, collection: str, find: Find, *, count: int) -> list[dict[str, Any]]:
        """Read at most ``count`` documents, newest first. ``find`` must bound ``created_at``, else the site searches
        four days only.

        A response that is not a list of documents is an error: a database that is down answers ``null``.
        """
        query = [*((_bracketed(path), value) for path, value in find), ("count", str(count))]
        answer = self._request("GET", collection, query=query, about=collection)
        if not isinstance(answer, list) or not all(isinstance(item, dict) for item in answer):
            raise self._failed(
                Retryable(
                    f"{self.url} answered a request about {collection} with {_shape(answer)} instead of a list:"
                    " its database is down or did not understand the request",
                    remedy=f"Open {self.url} in a browser: does its database answer? Nothing is lost: the daemon retries.",
                )
            )
        return answer

    def create(self, collection: str, documents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Post the documents in one request; return those that the server reports as stored. Never retried here."""
        body = msgspec.json.encode(documents)
        answer = self._request("POST", collection, body=body, about=collection)
        if isinstance(answer, dict):  # from a compatible site: the one document, or none
            return [answer]
        if not isinstance(answer, list):
            raise self._unclear(f"{_shape(answer)} to new {collection}: it is unknown what it stored")
        return [item for item in answer if isinstance(item, dict)]

    def read_current_profile(self) -> dict[str, Any] | None:
        """Return the active profile document; None if the site has none."""
        answer = self._request("GET", "profile/current", about="its profile")
        if answer is None or (isinstance(answer, dict) and not answer):
            return None
        if not isinstance(answer, dict):
            raise self._failed(Retryable(f"{self.url} answered {_shape(answer)} instead of a profile"))
        return answer

    def replace(self, collection: str, document: Mapping[str, Any]) -> None:
        """Replace the document with the same ``_id``. Repeating it is safe."""
        if not is_mongo_id(document.get("_id")):
            raise ValueError(f"not an _id made by the server: {document.get('_id')!r}")
        body = json.dumps(dict(document), allow_nan=False, separators=(",", ":")).encode()
        if self._request("PUT", collection, body=body, about=collection) is None:
            raise self._unclear(f"`null` to a changed {collection}: it is unknown whether it was stored")

    def delete(self, collection: str, mongo_id: str) -> None:
        """Delete one document by the server's ``_id``. A document that is already deleted is no error.

        Every server answers an object. Any other response came from a proxy in between.
        """
        if not is_mongo_id(mongo_id):
            raise ValueError(f"not an _id made by the server: {mongo_id!r}")
        answer = self._request("DELETE", f"{collection}/{mongo_id}", about=collection)
        if not isinstance(answer, dict):
            raise self._unclear(f"{_shape(answer)} to deleting {collection}: it is unknown whether it was deleted")

    @property
    def is_refused(self) -> bool:
        """Whether the secret, or the token for some collection, was refused recently."""
        return bool(self._refused)

    def forget_refusal(self) -> None:
        """Allow requests although the secret was refused recently."""
        self._refused.clear()

    def _request(
        self, method: str, path: str, *, about: str, query: Find = (), body: bytes | None = None
    ) -> Any:  # any JSON that the server answers
        now_s = self.clock.monotonic()
        collection = path.partition("/")[0].removesuffix(".json")
        key = collection if self.uses_token else ""  # a secret has all rights or none, a token has some
        since_s, refusal = self._refused.get(key, (0.0, None))
        if refusal is not None and 0 <= now_s - since_s < REFUSED_S:
            raise CredentialsRefused(refusal.message, asked=False, remedy=refusal.remedy)
        token = SiteToken(collection=collection, in_use=self._in_use) if self.uses_token else None
        question = SiteRequestInfo(site=self.url, about=about, method=method, token=token)
        try:
            answer = self._exchange(method, path, query, body, about)
            found = value_of(answer, question, self.clock.now())
        except TconnectsyncError as error:
            self.changed_count += isinstance(error, Retryable) and error.in_doubt
            self._status = None
            if isinstance(error, CredentialsRefused):
                error.remedy = " ".join(part for part in (self._doubt, error.remedy) if part)
                self._refused[key] = (now_s, error)
            raise
        self._refused.pop(key, None)
        self.changed_count += question.writing
        return found

    def _failed(self, error: TconnectsyncError) -> TconnectsyncError:
        self._status = None
        return error

    def _unclear(self, answered: str) -> TconnectsyncError:
        """The error for a response that does not show whether the site was changed."""
        remedy = f"Open {self.url} in a browser. The documents are checked and retried later."
        return self._failed(Retryable(f"{self.url} answered {answered}", in_doubt=True, remedy=remedy))

    def _exchange(self, method: str, path: str, query: Find, body: bytes | None, about: str) -> Answer:
        url = f"{self.url}api/v1/{path}"
        if query:
            url += "?" + urlencode(query, quote_via=quote, safe="")
        if self._last_use is None or not 0 <= self.clock.monotonic() - self._last_use < IDLE_S:
            self._http.close()
        try:
            return self._send(method, url, body, about)
        except HttpFailed as error:
            self.close()
            if error.broke_off and body is not None:
                self.compression.failed(body)
            if method == "POST" or error.reason is not HttpFailure.CUT_OFF:
                raise _with_remedy(error) from error
        # Reading, and deleting by _id, can be repeated: retry once after a broken connection.
        try:
            return self._send(method, url, body, about)
        except HttpFailed as error:
            self.close()
            raise _with_remedy(error) from error

    def _send(self, method: str, url: str, body: bytes | None, about: str) -> Answer:
        headers = {
            "api-secret": self._key.reveal(),
            "Accept": "application/json",
            "User-Agent": f"tconnectsync/{__version__}",
        }
        asked = self.clock.now()
        if body is None:
            answer = self._http.request(method, url, what=about, headers=headers, limits=LIMITS)
        else:
            headers["Content-Type"] = "application/json"
            answer = self._send_body(method, url, body, about, headers)
        self._last_use = self.clock.monotonic()
        self._note_date(answer, asked)
        return answer

    def _send_body(self, method: str, url: str, body: bytes, about: str, headers: Mapping[str, str]) -> Answer:
        """Send a large body compressed; uncompressed if the site refuses that before it executes the request."""
        small = self.compression.compressed(body)
        if small is not None:
            packed = {**headers, "Content-Encoding": "gzip"}
            answer = self._http.request(method, url, what=about, headers=packed, body=small, limits=LIMITS)
            if answer.status not in REFUSED:
                if answer.status in SLOW:
                    self.compression.failed(body)
                return answer
        answer = self._http.request(method, url, what=about, headers=headers, body=body, limits=LIMITS)
        if answer.status < 300:
            self.compression.passed_plain(body, after_refusal=small is not None)
        elif small is None and answer.status in {*SLOW, 413}:
            self.compression.failed(body)
        return answer

    def _note_date(self, answer: Answer, asked: datetime) -> None:
        server = http_date(answer.headers.get("Date", ""))
        if server is not None:
            middle = asked + (self.clock.now() - asked) / 2
            self.clock_ahead_s = (middle - server).total_seconds()


def _bracketed(path: str) -> str:
    name, bracket, rest = path.partition("[")
    return f"find[{name}]{bracket}{rest}"


def _shape(answer: object) -> str:
    return "`null`" if answer is None else "an object" if isinstance(answer, dict) else "something"


def _with_remedy(error: HttpFailed) -> HttpFailed:
    """The error of the failed request, with a remedy that fits a Nightscout site."""
    error.narrow = error.broke_off
    if error.reason in _REMEDIES:
        error.remedy = f"{error.remedy} {_REMEDIES[error.reason]}"
    return error
