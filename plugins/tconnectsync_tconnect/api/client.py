"""Requests to the three services, each with suitable time limits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import attrs

from tconnectsync import SourceChanged
from tconnectsync_tconnect.api.account import TconnectAccount, base, unwanted_token
from tconnectsync_tconnect.api.login import BROWSER, PHONE
from tconnectsync_tconnect.api.token import TconnectToken
from tconnectsync_tconnect.api.transport import (
    CHANGED_WAIT_S,
    LIMITS,
    NotFound,
    ServerFailed,
    TconnectTokenExpired,
    TconnectTransport,
    body_of,
    read_json,
    response_changed,
)
from tconnectsync_tconnect.rows.timestamps import plain

CONTROL_IQ_BEGAN = date(2020, 2, 1)
"""Control:IQ did not exist before this date."""
SLOW_LIMITS = attrs.evolve(LIMITS, silence_s=10.0)
SLOW_WAITS_S = (60.0, 120.0)


class NoSuchPump(SourceChanged):
    """A serial number that the account does not have, or no longer has."""


@attrs.define(kw_only=True)
class TconnectApi:
    """A client for one user. Errors: Retryable, SourceChanged, CredentialsRefused."""

    account: TconnectAccount
    transport: TconnectTransport
    _features: Sequence[Any] | None = None

    def newest_index(self, serial: str) -> Mapping[str, Any]:
        """Request the index of the pump's newest upload: ``maxPumpEventIndex`` and ``processingStatus``."""
        what = "the newest upload"
        try:
            found = read_json(
                self._with_token(
                    f"{base(self.account.options.endpoints.android)}cloud/upload/getlasteventuploaded",
                    what,
                    [("sn", serial)],
                    phone=True,
                ),
                what,
            )
        except NotFound:
            raise NoSuchPump(
                f"t:connect reports that the account has no pump {serial}, which sources.tconnect.pumps names",
                after_s=CHANGED_WAIT_S,
                remedy="Correct the list (the serial number is on the back of the pump), then `tconnectsync check`.",
            ) from None
        index = plain(found.get("maxPumpEventIndex")) if isinstance(found, dict) else None
        if type(index) is not int:
            raise response_changed(what, "it has no maxPumpEventIndex")
        return {"maxPumpEventIndex": index, "processingStatus": found.get("processingStatus")}

    def features(self) -> Sequence[Any]:
        """Request what the user's pumps can do, one entry each. Once for each client."""
        if self._features is None:
            what = "the pump's features"
            url = f"{self._controliq}tconnect/controliq/api/pumpfeatures/users/{self.account.guid()}"
            try:
                found = read_json(self._with_token(url, what, []), what)
            except NotFound:
                raise response_changed(what, "status 404") from None
            if not isinstance(found, list):
                raise response_changed(what, "no list")
            self._features = found
        return self._features

    def control_iq_since(self) -> date | None:
        """The user's first day with Control:IQ; None: never."""
        return min(_first_detected(self.features()), default=None)

    def timeline(self, first: date, last: date) -> Mapping[str, Any]:
        """Request basal, suspensions, sleep and exercise of these days; empty if there is no such data yet."""
        what = "the therapy timeline"
        url = f"{self._controliq}tconnect/controliq/api/therapytimeline/users/{self.account.guid()}"
        found = self._days(url, what, [("startDate", _day(first)), ("endDate", _day(last))], first)
        if found is None:
            return {}
        if not isinstance(found, dict) or not isinstance(found.get("basal", ""), (dict, type(None))):
            raise response_changed(what, "it has no basal")
        return found

    def therapy_events(self, first: date, last: date) -> Sequence[Any]:
        """Request boluses and readings of these days; empty if there is no such data yet."""
        what = "the therapy events"
        url = f"{self._controliq}tconnect/therapyevents/api/TherapyEvents/{_day(first)}/{_day(last)}/false"
        found = self._days(url, what, [("userId", self.account.guid())], first)
        if found is None:
            return []
        events = found.get("event") if isinstance(found, dict) else None
        if events is None and isinstance(found, dict) and "event" in found:
            return []
        if not isinstance(events, list):
            raise response_changed(what, "it has no list of events")
        return events

    def csv_export(self, first: date, last: date) -> Iterator[bytes | None]:
        """Request the CSV export of at most two days. Yields None before each wait for another try, the text last."""
        path = f"therapytimeline2csv/{self.account.guid()}/{_day(first)}/{_day(last)}"
        yield from self._slow(path, "the CSV export", [("format", "csv")])

    def suspensions(self, first: date, last: date) -> Iterator[Sequence[Any] | None]:
        """Request infusion-site changes and suspensions. Yields None before each wait for another try, the list last."""
        what = "site changes and suspensions"
        path = f"basalsuspension/{self.account.guid()}/{_day(first)}/{_day(last)}/"
        for body in self._slow(path, what, [("callback", "cb")]):
            yield None if body is None else _suspensions(body, what)

    def basal_iq(self, first: date, last: date) -> Iterator[Sequence[Any] | None]:
        """Request the suspensions by Basal-IQ, as in :meth:`suspensions`; none for days with Control:IQ, whose timeline
        has them.
        """
        since = self.control_iq_since()
        if since is not None and first >= since:
            return
        what = "suspensions by Basal-IQ"
        path = f"basaliqtech/{self.account.guid()}/{_day(first)}/{_day(last)}"
        for body in self._slow(path, what, [("callback", "cb")]):
            yield None if body is None else [_by_basal_iq(entry) for entry in _only_list(_jsonp(body, what), what)]

    @property
    def _controliq(self) -> str:
        return base(self.account.options.endpoints.controliq)

    def _days(self, url: str, what: str, params: list[tuple[str, str]], first: date) -> Any:
        """Return the response as JSON; None if status 404 means that there was no such data yet."""
        try:
            return read_json(self._with_token(url, what, params), what)
        except NotFound:
            if first >= CONTROL_IQ_BEGAN:
                since = self.control_iq_since()
                if since is not None and first >= since:
                    raise response_changed(what, "status 404") from None
            return None

    def _with_token(self, url: str, what: str, params: list[tuple[str, str]], *, phone: bool = False) -> bytes:
        """Request again once on status 500, and after one login on 401."""
        account = self.account
        token = account.phone() if phone else account.token()
        try:
            return self._twice(url, what, params, token, phone)
        except TconnectTokenExpired:
            account.forget(token)
        token = account.phone() if phone else account.token()
        try:
            return self._twice(url, what, params, token, phone)
        except TconnectTokenExpired:
            raise unwanted_token() from None

    def _twice(self, url: str, what: str, params: list[tuple[str, str]], token: TconnectToken, phone: bool) -> bytes:
        headers = {**(PHONE if phone else BROWSER), "Authorization": f"Bearer {token.access.reveal()}"}
        answer = self.transport.ask("GET", url, what=what, headers=headers, params=params)
        if answer.status == 500:
            answer = self.transport.ask("GET", url, what=what, headers=headers, params=params)
        return body_of(answer, what)

    def _slow(self, path: str, what: str, params: list[tuple[str, str]]) -> Iterator[bytes | None]:
        url = f"{base(self.account.options.endpoints.ws2)}{path}"
        for wait_s in (*SLOW_WAITS_S, None):
            try:
                answer = self.transport.ask("GET", url, what=what, headers=BROWSER, params=params, limits=SLOW_LIMITS)
                body = body_of(answer, what)
            except ServerFailed:
                if wait_s is None:
                    raise
                yield None
                self.transport.clock.sleep(wait_s)
                continue
            except (TconnectTokenExpired, NotFound):
                raise response_changed(what, "status 401 or 404") from None
            yield body
            return


def _first_detected(features: Sequence[Any]) -> Iterator[date]:
    for entry in features:
        found = entry.get("features") if isinstance(entry, dict) else None
        control_iq = found.get("controlIQ") if isinstance(found, dict) else None
        if isinstance(control_iq, dict) and control_iq.get("feature", 1):
            try:
                yield date.fromisoformat(str(control_iq.get("dateTimeFirstDetected"))[:10])
            except ValueError:
                yield CONTROL_IQ_BEGAN


def _suspensions(body: bytes, what: str) -> Sequence[Any]:
    """Return the list inside ``cb({"BasalSuspension": [...]})``."""
    found = _jsonp(body, what)
    entries = found.get("BasalSuspension") if isinstance(found, dict) else None
    if entries is None and isinstance(found, dict) and "BasalSuspension" in found:
        return []
    if not isinstance(entries, list):
        raise response_changed(what, "it has no BasalSuspension")
    return entries


def _only_list(found: Any, what: str) -> Sequence[Any]:
    """Return the only list of a response, whose name is undocumented; empty if it has null only."""
    lists = [value for value in found.values() if isinstance(value, list)] if isinstance(found, dict) else []
    if (
        len(lists) > 1
        or not isinstance(found, dict)
        or (not lists and any(value is not None for value in found.values()))
    ):
        raise response_changed(what, "it does not have exactly one list")
    return lists[0] if lists else []


def _by_basal_iq(entry: Any) -> Any:
    if not isinstance(entry, dict) or entry.get("SuspendReason") == "previous":
        return entry
    return {**entry, "SuspendReason": "basal-iq"}


def _jsonp(body: bytes, what: str) -> Any:
    inner = re.fullmatch(rb"\s*(?:/\*\*/)?\s*[\w.]+\s*\((.*)\)\s*;?\s*", body, re.DOTALL)
    if inner is None:
        raise response_changed(what, "no JSONP")
    return read_json(inner.group(1), what)


def _day(day: date) -> str:
    return f"{day:%m-%d-%Y}"
