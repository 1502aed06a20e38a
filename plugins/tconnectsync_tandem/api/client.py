"""Requests to the data host, with a token that is renewed once if the server refuses it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from datetime import date, timedelta
from urllib.parse import quote

import attrs

from tconnectsync import Clock, HttpClient, Retryable, Secret
from tconnectsync_tandem.api.endpoints import Endpoints
from tconnectsync_tandem.api.id_token import StartCheck, check_in_subprocess
from tconnectsync_tandem.api.login import Login
from tconnectsync_tandem.api.token import TandemToken, TokenFile
from tconnectsync_tandem.api.transport import BLOCKED_WAIT_S, Body, TandemTransport, TokenExpired, refusal

log = logging.getLogger("tconnectsync.tandem")

SHORT_LIFE = timedelta(minutes=10)
"""If a token is refused this soon after its login, no new login is made: that would look like an attack."""


@attrs.define
class TandemAccount:
    """The account's token: stored on disk, renewed near its end, with one login for each token."""

    email: str = attrs.field(repr=False)
    password: Secret
    endpoints: Endpoints
    token_file: TokenFile
    clock: Clock
    start_check: StartCheck = attrs.field(default=check_in_subprocess, repr=False)
    pace: Callable[[], None] = lambda: None
    _token: TandemToken | None = attrs.field(default=None, repr=False)
    _warned: set[str] = attrs.field(factory=set)

    def token(self) -> TandemToken:
        """Return a valid token; logs in only if there is none."""
        now = self.clock.now()
        if self._token is None or not self._token.good_at(now):
            self._token = self.token_file.load()
        if self._token is None or not self._token.good_at(now):
            return self._log_in()
        return self._token

    def renew(self, refused: TandemToken) -> TandemToken:
        """Return a new token instead of one that the server refused."""
        age = self.clock.now() - refused.obtained_at
        if age < SHORT_LIFE:
            raise _unwanted_token()
        self.token_file.forget()
        log.info("token_refused minutes=%d", age.total_seconds() // 60)
        return self._log_in()

    def _log_in(self) -> TandemToken:
        self._token = None
        with closing(HttpClient(clock=self.clock, pace=self.pace)) as client:
            login = Login(self.endpoints, TandemTransport(client, self.clock), self._warned, self.start_check)
            token = login.run(self.email, self.password)
        self._token = token
        self.token_file.save(token)
        return token


@attrs.frozen
class Client:
    """A client for the data host.

    Errors: Retryable, SourceChanged, CredentialsRefused. Responses are whole bodies with status 200.
    """

    account: TandemAccount
    transport: TandemTransport

    def pumper(self) -> Body:
        """Request the account's pumps with their newest dates and settings."""
        return self._get("pumper/{pumper}", "list of pumps", {})

    def pump_logs(self, assignment_id: str, first: date, last: date) -> Body:
        """Request all events of one pump in these pump-local days, both inclusive.

        Without ``eventCodes`` the server sends everything. The ``Z`` means nothing: the web page sends the pump's local
        day with it.
        """
        return self._get(
            f"pump-logs/{quote(assignment_id, safe='')}",
            f"events of {first} to {last}",
            {"startDate": f"{first}T00:00:00Z", "endDate": f"{last}T23:59:59Z"},
            with_pumper=True,
        )

    def _get(self, path: str, what: str, params: dict[str, str], *, with_pumper: bool = False) -> Body:
        token = self.account.token()
        try:
            return self._get_with(token, path, what, params, with_pumper)
        except TokenExpired:
            token = self.account.renew(token)
        try:
            return self._get_with(token, path, what, params, with_pumper)
        except TokenExpired:
            raise _unwanted_token() from None

    def _get_with(self, token: TandemToken, path: str, what: str, params: dict[str, str], with_pumper: bool) -> Body:
        endpoints = self.account.endpoints
        answer = self.transport.ask(
            "GET",
            f"{endpoints.data}api/reports/bff/{path.replace('{pumper}', quote(token.pumper_id, safe=''))}",
            what=what,
            headers={**endpoints.data_headers, "Authorization": f"Bearer {token.access.reveal()}"},
            params={"pumperId": token.pumper_id, **params} if with_pumper else None,
        )
        if answer.status != 200:
            raise refusal(answer, what)
        return answer.body


def _unwanted_token() -> Retryable:
    return Retryable("Tandem refuses the token that its login has just issued (status 401)", after_s=BLOCKED_WAIT_S)
