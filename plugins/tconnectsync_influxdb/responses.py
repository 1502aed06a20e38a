"""What an answer of InfluxDB means, and what the user can do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from tconnectsync import CredentialsRefused, HttpResponse, Rejected, Retryable, retry_after_s

_OUTDATED = "points beyond retention policy"
_SHOWN = 300


@attrs.frozen(kw_only=True)
class Place:
    """A database of InfluxDB 1 or a bucket of InfluxDB 2, for messages."""

    url: str
    """With the port, if the configuration names one."""
    name: str
    is_v2: bool

    def __str__(self) -> str:
        return f"InfluxDB at {self.url}"

    @property
    def what(self) -> str:
        """ "database x" or "bucket x"."""
        return f"{'bucket' if self.is_v2 else 'database'} {self.name}"

    @property
    def creation(self) -> str:
        """How to create it."""
        if self.is_v2:
            return (
                f"Check sinks.influxdb.org and bucket. To create the bucket: `influx bucket create --name {self.name}`."
            )
        return f"Check sinks.influxdb.database. To create the database: `influx -execute 'CREATE DATABASE \"{self.name}\"'`."

    @property
    def rights(self) -> str:
        """How to give the login its rights."""
        if self.is_v2:
            return f"Create a token that may read and write the {self.what}, and set sinks.influxdb.token."
        return f'Give the user of sinks.influxdb.username the right: `GRANT ALL ON "{self.name}" TO "USER"`.'

    @property
    def login(self) -> str:
        """The keys of the login."""
        return "sinks.influxdb.token" if self.is_v2 else "sinks.influxdb.username and password"


def error_text(answer: HttpResponse) -> str:
    """The server's own words, shortened; "" if there are none."""
    try:
        content = json.loads(bytes(answer.body))
    except ValueError:
        return ""
    if not isinstance(content, dict):
        return ""
    text = content.get("error") or content.get("message") or ""
    return str(text)[:_SHOWN]


def raise_for_status(answer: HttpResponse, place: Place) -> None:
    """Raise what a status means for every request; nothing for 2xx."""
    status, words = answer.status, error_text(answer)
    if 200 <= status < 300:
        return
    said = f"HTTP {status}" + (f": {words}" if words else "")
    if status == 401:
        raise CredentialsRefused(f"{place} refuses the login ({said})", remedy=f"Correct {place.login}.")
    if status == 403:
        raise CredentialsRefused(
            f"{place}: the login has no right to do this in the {place.what} ({said})", remedy=place.rights
        )
    if status == 404 and words:
        raise Retryable(
            f"{place} has no {place.what} ({said}). tconnectsync does not create it; the data waits in the event log",
            remedy=place.creation,
        )
    if status == 404 or 300 <= status < 400:
        raise _not_an_influxdb(place, status, said)
    if status == 413:
        raise Retryable(f"{place} refuses the size of the request ({said}); a smaller one follows", narrow=True)
    wait = retry_after_s(answer)
    raise Retryable(f"{place} cannot do this now ({said})", after_s=wait, in_doubt=status >= 500)


def _not_an_influxdb(place: Place, status: int, said: str = "") -> Retryable:
    return Retryable(
        f"{place} does not answer like an InfluxDB ({said or f'HTTP {status}'})",
        in_doubt=status < 300,
        remedy="Check sinks.influxdb.url: it ends with the port, often 8086. A proxy's login page must not be in front of it.",
    )


def raise_for_change(answer: HttpResponse, place: Place) -> None:
    """Raise unless the change is done. InfluxDB says so with status 204 only; a proxy's login page often has 200."""
    raise_for_status(answer, place)
    if answer.status != 204:
        raise _not_an_influxdb(place, answer.status)


def raise_for_write(answer: HttpResponse, place: Place) -> None:
    """Raise what the answer to a write means. Points older than the database keeps data are no error.

    Status 400 and 422: all valid lines were written, and the others dropped. The outbox halves the batch until the culprit is alone.
    Without InfluxDB's own words, a proxy answered: the data is not to blame.
    """
    if answer.status not in (400, 422):
        raise_for_change(answer, place)
        return
    words = error_text(answer)
    if not words:
        raise _not_an_influxdb(place, answer.status)
    if _OUTDATED in words:
        return
    if "timeout" in words:
        raise Retryable(f"{place} could not finish the write ({words})", in_doubt=True)
    remedy = None
    if "field type conflict" in words:
        remedy = (
            f"Another program wrote this field with another type. Use a {place.what.split()[0]} of its own for tconnectsync, then"
            " `tconnectsync replay influxdb`."
        )
    raise Rejected(f"{place} refuses the data (HTTP {answer.status}: {words})", remedy=remedy)


def raise_for_query(answer: HttpResponse, place: Place) -> Sequence[Mapping[str, Any]]:
    """Return the results of a query. Its errors come with status 200, one for each statement."""
    raise_for_status(answer, place)
    try:
        results = json.loads(bytes(answer.body))["results"]
    except (ValueError, KeyError, TypeError) as error:
        raise Retryable(
            f"{place} does not answer like an InfluxDB: no results",
            remedy="Check sinks.influxdb.url and its port, often 8086.",
        ) from error
    words = next((str(result["error"])[:_SHOWN] for result in results if "error" in result), "")
    if "not found" in words or "dbrp mapping" in words:
        raise Retryable(
            f"{place} has no {place.what} ({words}). tconnectsync does not create it; the data waits in the event log",
            remedy=place.creation,
        )
    if words:
        raise Retryable(f"{place} cannot answer the query ({words})")
    return list(results)
