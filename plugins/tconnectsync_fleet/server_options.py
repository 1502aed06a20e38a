"""The options of ``tconnectsync fleet`` that name the servers, and the connection to them."""

from __future__ import annotations

import contextlib
import importlib
import shlex
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

if TYPE_CHECKING:
    from tconnectsync_fleet.people import People
    from tconnectsync_fleet.servers import Servers


class ExtraMissing(click.ClickException):
    """The packages of the extra are not installed."""

    exit_code = 2


def require_extra() -> None:
    """Check that NATS and PyNaCl are installed. Errors: ExtraMissing."""
    for package in ("nats", "nacl.public"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise ExtraMissing(
                f"the package {error.name!r} is missing: it comes with the extra `fleet`. In the folder of tconnectsync's"
                f" source run: {shlex.quote(sys.executable)} -m pip install '.[fleet]'"
            ) from error


@attrs.frozen(kw_only=True)
class ServerOptions:
    """How to reach the servers."""

    servers: tuple[str, ...]
    user: str | None
    password_file: Path | None
    credentials: Path | None
    ca_file: Path | None

    @contextlib.contextmanager
    def connected(self, name: str = "tconnectsync") -> Iterator[Servers]:
        """Give a connection. Errors: ExtraMissing, Retryable."""
        require_extra()
        from tconnectsync_fleet.servers import NatsLogin, Servers

        password = None
        if self.password_file is not None:
            password = self.password_file.read_text(encoding="utf-8").strip("\r\n")
        addresses = [each.strip() for group in self.servers for each in group.split(",") if each.strip()]
        login = NatsLogin(
            servers=addresses, user=self.user, password=password, credentials=self.credentials, ca_file=self.ca_file
        )
        servers = Servers(login, name=name)
        try:
            yield servers
        finally:
            servers.close()

    @contextlib.contextmanager
    def people(self) -> Iterator[People]:
        """Give the bucket of people."""
        with self.connected() as servers:
            from tconnectsync_fleet.people import People

            yield People(servers)


def file_path(**more: Any) -> click.Path:
    """Return the type of an option that is a file."""
    return click.Path(path_type=Path, dir_okay=False, **more)


key_option = click.option(
    "--key",
    required=True,
    type=file_path(),
    envvar="TCONNECTSYNC_FLEET_KEY",
    help="The fleet's key: `fleet key FILE` creates it.",
)


def with_servers(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for the servers; the command gets them as ``options``."""

    @click.option(
        "--servers",
        multiple=True,
        envvar="TCONNECTSYNC_FLEET_SERVERS",
        default=["nats://127.0.0.1:4222"],
        show_default=True,
        metavar="URL",
        help="Address of a NATS server; several times, or with commas. tls://… encrypts.",
    )
    @click.option("--user", help="User name at the servers.")
    @click.option("--password-file", type=file_path(exists=True), help="File with the user's password.")
    @click.option("--credentials", type=file_path(exists=True), help="A .creds file of NATS, instead of a user name.")
    @click.option("--ca-file", type=file_path(exists=True), help="The authority that signed the servers' certificates.")
    @wraps(command)
    def wrapped(
        servers: tuple[str, ...],
        user: str | None,
        password_file: Path | None,
        credentials: Path | None,
        ca_file: Path | None,
        **rest: Any,
    ) -> Any:
        options = ServerOptions(
            servers=servers, user=user, password_file=password_file, credentials=credentials, ca_file=ca_file
        )
        return command(options=options, **rest)

    return wrapped
