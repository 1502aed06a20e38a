"""Nightscout's API version 1 over HTTP: reads, creates and deletes, each with its time-outs and honest errors.

The secret goes into the ``api-secret`` header and nowhere else; redirects are not followed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha1
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

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
from tconnectsync_nightscout.site.address import SiteStatus, read_status
from tconnectsync_nightscout.site.compression import REFUSED, Compression
from tconnectsync_nightscout.site.responses import SLOW, Answer, SiteQuestion, SiteToken, value_of

LIMITS = HttpLimits(connect_s=10.0, silence_s=60.0, whole_s=180.0, most_bytes=64 << 20)
IDLE_S = 4.0
"""Servers close idle connections after five seconds; a write on one would end without an answer."""
STATUS_S = 3600.0
REFUSED_S = 60.0
"""After a refusal the same is not asked for this long: newer servers make the whole address wait after each failure."""

Find: TypeAlias = Sequence[tuple[str, str]]
"""Conditions: a path below ``find`` such as ``created_at[$gte]`` and its value."""

_OWN_CERTIFICATE = "Or, for a certificate of your own making, set nightscout.verify_tls = false."
_REMEDIES: Mapping[HttpFailure, str] = {
    HttpFailure.BAD_ADDRESS: "It is nightscout.url (NS_URL).",
    HttpFailure.BAD_HEADER: "It is nightscout.token, or nightscout.api_secret (NS_SECRET).",
    HttpFailure.CERTIFICATE_BAD: _OWN_CERTIFICATE,
    HttpFailure.CERTIFICATE_EXPIRED: _OWN_CERTIFICATE,
    HttpFailure.CERTIFICATE_OTHER_HOST: _OWN_CERTIFICATE,
    HttpFailure.CERTIFICATE_UNKNOWN_AUTHORITY: _OWN_CERTIFICATE,
    HttpFailure.PLAIN_PORT: "The address is nightscout.url (NS_URL).",
    HttpFailure.TLS_PORT: "The address is nightscout.url (NS_URL).",
    HttpFailure.UNKNOWN_NAME: "The address is nightscout.url (NS_URL).",
}
"""What to add to the remedy: where the setting stands."""

_SHA1 = re.compile(r"[0-9a-f]{40}")
_MONGO_ID = re.compile(r"[0-9a-f]{24}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def header_of(api_secret: Secret | None, token: Secret | None) -> Secret:
    """What the ``api-secret`` header carries: the SHA-1 of the secret in lower case hex, or a token as it is."""
    if token is not None:
        return Secret(token.reveal())
    if api_secret is None:
        raise ValueError("neither a secret nor a token")
    return Secret(sha1(api_secret.reveal().encode()).hexdigest())


def is_mongo_id(value: object) -> bool:
    """Whether this is an ``_id`` that a server made, MongoDB's or a UUID: any other text in a DELETE may mean more than one document."""
    return isinstance(value, str) and _MONGO_ID.fullmatch(value) is not None


class NightscoutClient:
    """One site. ``url`` is in the form of :func:`tconnectsync_nightscout.site.address.site_url`; ``key`` from :func:`header_of`,
    ``doubt`` is what may be wrong with it, told when it is refused.

    ``clock_ahead_s`` is by how much this machine's clock was ahead of the site's at the last answer, ``changed_count`` how many
    requests have changed the site, or may have. ``in_use`` names the sinks that use each collection, for the words about a
    right that is missing. Not for several threads: the server may double a document that is posted over two connections at once.
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
        """The collections whose answers do not name our ``identifier``: the site may not keep it, and not know a key by it."""
        self._key, self._doubt = key, doubt
        self._http = HttpClient(clock=clock, verify_tls=verify_tls)
        self._last_use: float | None = None
        self._status: tuple[float, SiteStatus] | None = None
        self._refused: dict[str, tuple[float, CredentialsRefused]] = {}
        self._in_use: Mapping[str, Sequence[str]] = {} if in_use is None else in_use

    @property
    def uses_token(self) -> bool:
        """Whether it shows an access token, which may lack single rights, and not the API_SECRET, which has all."""
        return _SHA1.fullmatch(self._key.reveal()) is None

    def __repr__(self) -> str:
        return f"NightscoutClient(url={self.url!r})"

    def close(self) -> None:
        """Close the connections; the client may be used again."""
        self._http.close()
        self._last_use = None

    def status(self) -> SiteStatus:
        """Version, units and plugins of the site; asked again hourly and after every error, because sites get upgraded."""
        now_s = self.clock.monotonic()
        if self._status is not None and 0 <= now_s - self._status[0] < STATUS_S:
            return self._status[1]
        answer = self._ask("GET", "status.json", about="its status")
        if not isinstance(answer, dict) or not ({"version", "settings", "apiEnabled"} & answer.keys()):
            raise Retryable(
                f"{self.url} answered, but its status is not a Nightscout site's",
                remedy="Is nightscout.url (NS_URL) the address of the Nightscout site itself?",
            )
        self._status = (now_s, read_status(answer))
        return self._status[1]

    @property
    def known_units(self) -> str | None:
        """The site's units, where it told them lately; without any request."""
        return None if self._status is None else self._status[1].units

    def read(self, collection: str, find: Find, *, count: int) -> list[dict[str, Any]]:
        """At most ``count`` documents, newest first. ``find`` must bound ``created_at``, else only four days are looked at.

        An answer that is no list of documents is an error: a database that is down answers ``null``.
        """
        query = [*((_bracketed(path), value) for path, value in find), ("count", str(count))]
        answer = self._ask("GET", collection, query=query, about=collection)
        if not isinstance(answer, list) or not all(isinstance(item, dict) for item in answer):
            raise self._failed(
                Retryable(
                    f"{self.url} answered a question about {collection} with {_shape(answer)} instead of a list:"
                    " its database is down or did not understand",
                    remedy=f"Open {self.url} in a browser: does its database answer? Nothing is lost; it is tried again.",
                )
            )
        return answer

    def create(self, collection: str, documents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Post the documents in one request; answers those that the server says it stored. Never repeated by itself."""
        body = json.dumps(list(documents), allow_nan=False, separators=(",", ":")).encode()
        answer = self._ask("POST", collection, body=body, about=collection)
        if isinstance(answer, dict):  # of a compatible site: the one document, or nothing that names one
            return [answer]
        if not isinstance(answer, list):
            raise self._failed(
                Retryable(
                    f"{self.url} answered {_shape(answer)} to new {collection}: nobody knows what it stored",
                    unsure=True,
                    remedy=f"Open {self.url} in a browser. It is looked at and tried again later.",
                )
            )
        return [item for item in answer if isinstance(item, dict)]

    def read_current_profile(self) -> dict[str, Any] | None:
        """The profile document in force; None where the site has none."""
        answer = self._ask("GET", "profile/current", about="its profile")
        if answer is None or (isinstance(answer, dict) and not answer):
            return None
        if not isinstance(answer, dict):
            raise self._failed(Retryable(f"{self.url} answered {_shape(answer)} instead of its profile"))
        return answer

    def replace(self, collection: str, document: Mapping[str, Any]) -> None:
        """Put the document in the place of the one with its ``_id``. Doing it twice is doing it once."""
        if not is_mongo_id(document.get("_id")):
            raise ValueError(f"not an _id of the server's: {document.get('_id')!r}")
        body = json.dumps(dict(document), allow_nan=False, separators=(",", ":")).encode()
        if self._ask("PUT", collection, body=body, about=collection) is None:
            raise self._failed(
                Retryable(
                    f"{self.url} answered `null` to a changed {collection}: nobody knows whether it was stored",
                    unsure=True,
                    remedy=f"Open {self.url} in a browser. It is looked at and tried again later.",
                )
            )

    def delete(self, collection: str, mongo_id: str) -> None:
        """Delete one document by the server's own ``_id``; one that is gone already is no error.

        Every server answers an object; anything else was said by something in between.
        """
        if not is_mongo_id(mongo_id):
            raise ValueError(f"not an _id of the server's: {mongo_id!r}")
        answer = self._ask("DELETE", f"{collection}/{mongo_id}", about=collection)
        if not isinstance(answer, dict):
            raise self._failed(
                Retryable(
                    f"{self.url} answered {_shape(answer)} to taking back {collection}: nobody knows whether it is gone",
                    unsure=True,
                    remedy=f"Open {self.url} in a browser. It is looked at and tried again later.",
                )
            )

    @property
    def refused(self) -> bool:
        """Whether the secret, or the token for some collection, was refused a moment ago."""
        return bool(self._refused)

    def forget_refusal(self) -> None:
        """Ask again although the secret was refused a moment ago."""
        self._refused.clear()

    def _ask(
        self, method: str, path: str, *, about: str, query: Find = (), body: bytes | None = None
    ) -> Any:  # whatever JSON the server answers
        now_s = self.clock.monotonic()
        collection = path.partition("/")[0]
        key = collection if self.uses_token else ""  # a secret has all rights or none, a token some
        since_s, refusal = self._refused.get(key, (0.0, None))
        if refusal is not None and 0 <= now_s - since_s < REFUSED_S:
            raise CredentialsRefused(refusal.message, remedy=refusal.remedy)
        token = SiteToken(collection=collection, in_use=self._in_use) if self.uses_token else None
        question = SiteQuestion(site=self.url, about=about, method=method, token=token)
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
                raise _trouble(error) from error
        # Reading or deleting by _id twice is deleting once: one more try after a connection that broke.
        try:
            return self._send(method, url, body, about)
        except HttpFailed as error:
            self.close()
            raise _trouble(error) from error

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
        """Compressed if it is large. The same plain, if the site refuses that before it carried it out."""
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


def _trouble(error: HttpFailed) -> HttpFailed:
    """The failed exchange with what can be done about it at a Nightscout site."""
    error.narrow = error.broke_off
    if error.reason in _REMEDIES:
        error.remedy = f"{error.remedy} {_REMEDIES[error.reason]}"
    return error
