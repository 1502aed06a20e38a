"""How to reach the NATS servers and log in there, and a connection that tells why it fails."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs
import click
from nats.aio.client import Client
from nats.errors import Error as NatsError

from tconnectsync import CredentialsRefused, Retryable, TconnectsyncError

_REFUSED = ("authorization violation", "authentication")
_CERTIFICATE_WANTED = (
    "CERTIFICATE_REQUIRED",
    "BAD_CERTIFICATE",
    "UNKNOWN_CA",
    "CERTIFICATE_UNKNOWN",
    "CERTIFICATE_EXPIRED",
)
"""What a server says that does not accept a client's certificate, or its absence (the reasons of OpenSSL's alerts)."""


class LoginProblem(click.ClickException):
    """An option or a file for the login is wrong."""

    exit_code = 2


@attrs.frozen(kw_only=True)
class NatsLogin:
    """Where the servers are, and who asks.

    ``servers``: addresses without user and password. ``credentials``: a ``.creds`` file; ``nkey``: a file with a seed; ``ca``:
    the authority that signed the servers' certificates; ``cert`` and ``cert_key``: this client's own certificate.
    """

    servers: Sequence[str]
    user: str | None = None
    password: str | None = attrs.field(default=None, repr=False)
    credentials: Path | None = None
    nkey: Path | None = None
    ca: Path | None = None
    cert: Path | None = None
    cert_key: Path | None = None

    @classmethod
    def of(cls, addresses: Sequence[str], **more: Any) -> NatsLogin:
        """Return a login for addresses that may have ``user:password@``. Errors: LoginProblem."""
        servers: list[str] = []
        for address in addresses:
            try:
                parts = urlsplit(address if "://" in address else f"nats://{address}")
                port = parts.port or 4222
            except ValueError:
                raise LoginProblem("An address in --servers is not of the form nats://HOST:4222.") from None
            if parts.scheme not in {"nats", "tls"} or not parts.hostname:
                raise LoginProblem("An address in --servers is not of the form nats://HOST:4222 or tls://HOST:4222.")
            if parts.username is not None and more.get("user") is None:
                more |= {"user": unquote(parts.username), "password": unquote(parts.password or "")}
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            servers.append(f"{parts.scheme}://{host}:{port}")
        return cls(servers=servers, **more)

    @property
    def requires_tls(self) -> bool:
        """Whether nothing may be sent unencrypted."""
        return bool(self.ca or self.cert) or any(each.startswith("tls://") for each in self.servers)

    def options(self) -> dict[str, Any]:
        """Return the arguments for the client. Errors: LoginProblem."""
        found: dict[str, Any] = {"servers": list(self.servers), "reconnect_time_wait": 0.5}
        if self.user is not None:
            found |= {"user": self.user, "password": self.password or ""}
        if self.credentials is not None:
            found["user_credentials"] = str(self.credentials)
        if self.nkey is not None:
            found["nkeys_seed"] = str(self.nkey)
        if self.requires_tls:
            found["tls"] = self._tls()
        return found

    def _tls(self) -> ssl.SSLContext:
        if (self.cert is None) != (self.cert_key is None):
            raise LoginProblem("A client certificate needs both: --cert and --cert-key.")
        try:
            context = ssl.create_default_context(cafile=None if self.ca is None else str(self.ca))
        except (ssl.SSLError, OSError) as error:
            raise LoginProblem(f"{self.ca}: this is not a certificate file ({error.strerror or error}).") from error
        if self.cert is not None:
            try:
                context.load_cert_chain(self.cert, self.cert_key)
            except (ssl.SSLError, OSError) as error:
                raise LoginProblem(
                    f"{self.cert} and {self.cert_key}: these are not a certificate and its key ({error.strerror or error})."
                ) from error
        return context


class NotEncrypted(NatsError):
    """The server offers no TLS."""


class EncryptedClient(Client):
    """A client that sends neither a login nor data to a server without TLS, if TLS is required."""

    requires_tls = False
    has_logged_in = False
    """Whether it has sent its login: a server that refuses it may close the connection before its reason was read."""

    async def _process_connect_init(self) -> None:
        self.has_logged_in = False
        await super()._process_connect_init()

    def _connect_command(self) -> bytes:
        if self.requires_tls and not self._server_info.get("tls_required"):
            raise NotEncrypted("the server offers no TLS")
        self.has_logged_in = True
        return super()._connect_command()


class Connection:
    """Opens a client, and remembers the last error of a connection: the client itself only tries again."""

    def __init__(self, login: NatsLogin) -> None:
        self._login = login
        self._options = login.options()
        self._client = EncryptedClient()
        self._client.requires_tls = login.requires_tls
        self._last: Exception | None = None
        self._refusals = 0

    async def open(self, name: str) -> Client:
        """Return a connected client, which reconnects by itself. Errors: CredentialsRefused if every server refuses, Retryable."""
        opening = asyncio.ensure_future(
            self._client.connect(
                name=name,
                connect_timeout=3,
                max_reconnect_attempts=-1,
                ping_interval=10,
                error_cb=self._note_error,
                reconnected_cb=self._forget_error,
                allow_reconnect=True,
                **self._options,
            )
        )
        try:
            while not opening.done() and self._refusals < len(self._login.servers):
                await asyncio.wait({opening}, timeout=0.05)
            if not opening.done():
                raise self.why()
            await opening
        except BaseException as error:
            opening.cancel()
            with contextlib.suppress(asyncio.CancelledError, NatsError, OSError):
                await opening
            with contextlib.suppress(NatsError, OSError):
                await self._client.close()
            if isinstance(error, (OSError, NatsError)):
                raise self.why(error) from error
            raise
        await self._forget_error()
        return self._client

    async def _note_error(self, error: Exception) -> None:
        self._last = error
        self._refusals += isinstance(self.why(error), CredentialsRefused)

    async def _forget_error(self) -> None:
        self._last, self._refusals = None, 0

    def why(self, error: BaseException | None = None) -> TconnectsyncError:
        """Return what is wrong, for people: from the last error of the connection, else from ``error``. No secret is in it."""
        found = self._last or error
        words = str(found) or type(found).__name__
        cut_off = isinstance(found, (BrokenPipeError, ConnectionResetError)) and self._client.has_logged_in
        if isinstance(found, ssl.SSLCertVerificationError) and "expired" in found.verify_message:
            return CredentialsRefused(
                "the certificate of a NATS server has expired",
                remedy="Put a new one into the server's configuration and reload the server. If it is new: is this computer's clock right (`date`)?",
            )
        if isinstance(found, ssl.SSLCertVerificationError):
            return CredentialsRefused(
                f"the certificate of a NATS server is not trusted ({found.verify_message})",
                remedy="Give the authority that signed it: `--ca FILE`. The address in --servers must be a name that is in the certificate.",
            )
        if isinstance(found, NotEncrypted):
            return CredentialsRefused(
                "a NATS server does not encrypt, so nothing was sent to it",
                remedy="Turn TLS on in the server's configuration. Without encryption: nats://… addresses, no --ca and no --cert.",
            )
        if isinstance(found, ssl.SSLError) and any(each in words.upper() for each in _CERTIFICATE_WANTED):
            return CredentialsRefused(
                "the NATS servers do not accept this client's certificate",
                remedy=(
                    "Give one that their authority signed and that has not expired (`openssl x509 -enddate -noout -in FILE`):"
                    " `--cert FILE --cert-key FILE`."
                ),
            )
        # a server that refuses a client's certificate may cut the connection before its reason is read
        if cut_off or any(each in words.lower() for each in _REFUSED):
            return CredentialsRefused(
                "the NATS servers refuse this login",
                remedy=(
                    "Check the user and the password (`--user`, `--password-file`), or the file of `--creds` or `--nkey`, and the"
                    " certificate (`--cert`), which may have expired (`openssl x509 -enddate -noout -in FILE`). The log of the NATS server has"
                    " the reason."
                ),
            )
        return Retryable(
            f"the NATS servers do not answer ({words})",
            remedy=(
                "Nothing is lost: work continues when they answer. Check that they run, and the addresses of `--servers`:"
                f" {', '.join(self._login.servers)}"
            ),
        )
