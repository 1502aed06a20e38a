"""The data host: two questions, asked with a token that is renewed once when the server does not take it any more."""

from __future__ import annotations

import logging
from contextlib import closing
from datetime import date, timedelta
from urllib.parse import quote

import attrs

from tconnectsync import Clock, HttpClient, Retryable, Secret
from tconnectsync_tandem.api.endpoints import Endpoints
from tconnectsync_tandem.api.id_token import Judge, verify_in_subprocess
from tconnectsync_tandem.api.login import Login
from tconnectsync_tandem.api.token import TandemToken, TokenFile
from tconnectsync_tandem.api.transport import BLOCKED_WAIT_S, Body, TandemTransport, TokenExpired, refusal

log = logging.getLogger("tconnectsync.tandem")

SHORT_LIFE = timedelta(minutes=10)
"""A token that is refused this soon after its login is not a reason for another one: that would look like an attack."""


@attrs.define
class TandemAccount:
    """The account's token through its life: kept on disk, renewed near its end, one login for each."""

    email: str = attrs.field(repr=False)
    password: Secret
    endpoints: Endpoints
    kept: TokenFile
    clock: Clock
    judge: Judge = attrs.field(default=verify_in_subprocess, repr=False)
    _token: TandemToken | None = attrs.field(default=None, repr=False)
    _told: set[str] = attrs.field(factory=set)

    def token(self) -> TandemToken:
        """A token that is good now; logs in only if there is none."""
        now = self.clock.now()
        if self._token is None or not self._token.good_at(now):
            self._token = self.kept.load()
        if self._token is None or not self._token.good_at(now):
            return self._log_in()
        return self._token

    def renew(self, refused: TandemToken) -> TandemToken:
        """Another token in place of one that the server refused."""
        age = self.clock.now() - refused.obtained_at
        if age < SHORT_LIFE:
            raise _unwanted_token()
        self.kept.forget()
        log.info("token_refused minutes=%d", age.total_seconds() // 60)
        return self._log_in()

    def _log_in(self) -> TandemToken:
        self._token = None
        with closing(HttpClient(clock=self.clock)) as client:
            login = Login(self.endpoints, TandemTransport(client, self.clock), self._told, self.judge)
            token = login.run(self.email, self.password)
        self._token = token
        self.kept.save(token)
        return token


@attrs.frozen
class Client:
    """Asks the data host. Errors: Retryable, SourceChanged, CredentialsRefused; answers are whole bodies of status 200."""

    account: TandemAccount
    transport: TandemTransport

    def pumper(self) -> Body:
        """The account's pumps with their newest dates and settings."""
        return self._get("pumper/{pumper}", "list of pumps", {})

    def pump_logs(self, assignment_id: str, first: date, last: date) -> Body:
        """All events of one pump in these pump-local days, both inclusive.

        ``eventCodes`` is left out: then everything comes. The ``Z`` is decoration: the page sends the pump's own day with it.
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
    return Retryable(
        "Tandem does not take the token that its login has just given (status 401)", after_s=BLOCKED_WAIT_S
    )
