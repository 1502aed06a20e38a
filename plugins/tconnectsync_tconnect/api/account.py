"""The account's tokens through their life: one login for each, and another one where the server does not take it any more."""

from __future__ import annotations

import logging
from contextlib import closing

import attrs

from tconnectsync import Clock, HttpClient, Retryable, Secret
from tconnectsync_tconnect.api.login import Entered, enter, phone_token
from tconnectsync_tconnect.api.token import TconnectToken
from tconnectsync_tconnect.api.transport import BLOCKED_WAIT_S, TconnectTransport, changed
from tconnectsync_tconnect.options import TconnectOptions

log = logging.getLogger("tconnectsync.tconnect")


def base(address: str) -> str:
    """An address with one slash at its end."""
    return address.rstrip("/") + "/"


@attrs.define(kw_only=True)
class TconnectAccount:
    """Email and password of checked options, and what they opened."""

    options: TconnectOptions = attrs.field(repr=False)
    clock: Clock
    _entered: Entered | None = attrs.field(default=None, repr=False)
    _token: TconnectToken | None = attrs.field(default=None, repr=False)
    _phone: TconnectToken | None = attrs.field(default=None, repr=False)

    @property
    def has_phone(self) -> bool:
        """Whether the phone app's door can be used."""
        return self.options.client_id is not None and self.options.client_secret is not None

    def guid(self) -> str:
        """Names the wearer in every address; logs in if need be."""
        self.token()
        if self._entered is None:
            raise ValueError("a token without a login")
        return self._entered.guid

    def token(self) -> TconnectToken:
        """A token for the data that is good now; logs in only if there is none."""
        if self._token is None or not self._token.good_at(self.clock.now()):
            self._token = self._log_in()
        return self._token

    def phone(self) -> TconnectToken:
        """A token of the phone app that is good now."""
        if self._phone is None or not self._phone.good_at(self.clock.now()):
            self._phone = self._phone_in()
        return self._phone

    def forget(self, refused: TconnectToken) -> None:
        """A token that the server refused is not used again. Errors: Retryable, where it was as good as new."""
        if self._token is refused:
            self._token = None
        if self._phone is refused:
            self._phone = None
        log.info("token_refused")

    def _log_in(self) -> TconnectToken:
        email, password = self._credentials()
        with closing(HttpClient(clock=self.clock)) as client:
            transport = TconnectTransport(client, self.clock)
            self._entered = enter(transport, base(self.options.endpoints.login), email, password)
        if self._entered.token is not None:
            return self._entered.token
        if not self.has_phone:
            raise changed("login", "no token, which only client_id and client_secret of the phone app can get then")
        return self.phone()

    def _phone_in(self) -> TconnectToken:
        email, password = self._credentials()
        client_id, client_secret = self.options.client_id, self.options.client_secret
        if client_id is None or client_secret is None:
            raise ValueError("the options were not checked")
        url = base(self.options.endpoints.android)
        with closing(HttpClient(clock=self.clock)) as client:
            return phone_token(TconnectTransport(client, self.clock), url, email, password, client_id, client_secret)

    def _credentials(self) -> tuple[str, Secret]:
        if self.options.email is None or self.options.password is None:
            raise ValueError("the options were not checked")
        return self.options.email, self.options.password


def unwanted_token() -> Retryable:
    """The error for a token that is refused right after its login."""
    return Retryable(
        "t:connect does not take the token that its login has just given (status 401)", after_s=BLOCKED_WAIT_S
    )
