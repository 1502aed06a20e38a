"""The account's tokens: one login for each, and a new one if the server refuses it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing

import attrs

from tconnectsync import Clock, HttpClient, Retryable, Secret
from tconnectsync_tconnect.api.login import LoginResult, log_in, phone_token
from tconnectsync_tconnect.api.token import TconnectToken
from tconnectsync_tconnect.api.transport import BLOCKED_WAIT_S, TconnectTransport, response_changed
from tconnectsync_tconnect.options import TconnectOptions

log = logging.getLogger("tconnectsync.tconnect")


def base(address: str) -> str:
    """Return an address with one slash at its end."""
    return address.rstrip("/") + "/"


@attrs.define(kw_only=True)
class TconnectAccount:
    """Email and password of checked options, and the tokens from their login."""

    options: TconnectOptions = attrs.field(repr=False)
    clock: Clock
    pace: Callable[[], None] = lambda: None
    _login: LoginResult | None = attrs.field(default=None, repr=False)
    _token: TconnectToken | None = attrs.field(default=None, repr=False)
    _phone: TconnectToken | None = attrs.field(default=None, repr=False)

    @property
    def has_phone(self) -> bool:
        """Whether the phone app's service can be used."""
        return self.options.client_id is not None and self.options.client_secret is not None

    def guid(self) -> str:
        """The user's id in every address; logs in if necessary."""
        self.token()
        if self._login is None:
            raise ValueError("a token without a login")
        return self._login.guid

    def token(self) -> TconnectToken:
        """Return a valid token for data; logs in only if there is none."""
        if self._token is None or not self._token.good_at(self.clock.now()):
            self._token = self._log_in()
        return self._token

    def phone(self) -> TconnectToken:
        """Return a valid token of the phone app."""
        if self._phone is None or not self._phone.good_at(self.clock.now()):
            self._phone = self._log_in_phone()
        return self._phone

    def forget(self, refused: TconnectToken) -> None:
        """Stop using a refused token. Errors: Retryable if it was almost new."""
        if self._token is refused:
            self._token = None
        if self._phone is refused:
            self._phone = None
        log.info("token_refused")

    def _log_in(self) -> TconnectToken:
        email, password = self._credentials()
        with closing(HttpClient(clock=self.clock, pace=self.pace)) as client:
            transport = TconnectTransport(client, self.clock)
            self._login = log_in(transport, base(self.options.endpoints.login), email, password)
        if self._login.token is not None:
            return self._login.token
        if not self.has_phone:
            raise response_changed(
                "login", "no token; in this case the phone app's client_id and client_secret are required"
            )
        return self.phone()

    def _log_in_phone(self) -> TconnectToken:
        email, password = self._credentials()
        client_id, client_secret = self.options.client_id, self.options.client_secret
        if client_id is None or client_secret is None:
            raise ValueError("the options were not checked")
        url = base(self.options.endpoints.android)
        with closing(HttpClient(clock=self.clock, pace=self.pace)) as client:
            return phone_token(TconnectTransport(client, self.clock), url, email, password, client_id, client_secret)

    def _credentials(self) -> tuple[str, Secret]:
        if self.options.email is None or self.options.password is None:
            raise ValueError("the options were not checked")
        return self.options.email, self.options.password


def unwanted_token() -> Retryable:
    """The error for a token that is refused right after its login."""
    return Retryable("t:connect refuses the token that its login has just issued (status 401)", after_s=BLOCKED_WAIT_S)
