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


def require_extra(*packages: str) -> None:
    """Check that packages of the extra are installed; none: NATS and PyNaCl. Errors: ExtraMissing."""
    for package in packages or ("nats", "nacl.public"):
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

    servers: tuple[str, ...] = attrs.field(repr=False)
    user: str | None
    password_file: Path | None
    creds: Path | None
    nkey: Path | None
    ca: Path | None
    cert: Path | None
    cert_key: Path | None

    @contextlib.contextmanager
    def connected(self, name: str = "tconnectsync") -> Iterator[Servers]:
        """Give a connection. Errors: ExtraMissing, LoginProblem, CredentialsRefused, Retryable, also for any error of NATS in the block."""
        require_extra()
        if self.creds is not None or self.nkey is not None:
            require_extra("nkeys")
        from nats.errors import Error as NatsError

        from tconnectsync_fleet.nats_errors import meaning_of
        from tconnectsync_fleet.nats_login import NatsLogin
        from tconnectsync_fleet.servers import Servers

        password = None
        if self.password_file is not None:
            password = self.password_file.read_text(encoding="utf-8").strip("\r\n")
        addresses = [each.strip() for group in self.servers for each in group.split(",") if each.strip()]
        login = NatsLogin.of(
            addresses,
            user=self.user,
            password=password,
            credentials=self.creds,
            nkey=self.nkey,
            ca=self.ca,
            cert=self.cert,
            cert_key=self.cert_key,
        )
        servers = Servers(login, name=name)
        try:
            yield servers
        except NatsError as error:
            raise meaning_of(error) from error
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


def write_path(context: click.Context, param: click.Parameter, value: str) -> Path:
    """Return where to write: a name that ends with / is a folder, which must exist."""
    path = Path(value)
    if value.endswith("/") and not path.is_dir():
        raise click.BadParameter(
            f"there is no folder {value}. Nothing was written."
            f" Connect the stick or the share, or create the folder: `mkdir -p {shlex.quote(value)}`.",
            context,
            param,
        )
    return path


key_option = click.option(
    "--key",
    required=True,
    type=file_path(),
    envvar="TCONNECTSYNC_FLEET_KEY",
    show_envvar=True,
    help="The fleet's key, of `fleet key FILE`. FILE.pub is enough to add people.",
)

shared_option = click.option(
    "--shared-receiver",
    "shared",
    multiple=True,
    metavar="ADDRESS",
    help="This address is meant to be other people's, too, such as a common database. Can be repeated.",
)


_OPTIONS = (
    click.option(
        "--servers",
        multiple=True,
        envvar="TCONNECTSYNC_FLEET_SERVERS",
        show_envvar=True,
        default=["nats://127.0.0.1:4222"],
        show_default=True,
        metavar="URL",
        help="Address of a NATS server. Can be repeated, or several with commas. tls://… encrypts.",
    ),
    click.option("--user", envvar="TCONNECTSYNC_FLEET_USER", show_envvar=True, help="User name at the servers."),
    click.option(
        "--password-file",
        type=file_path(exists=True),
        envvar="TCONNECTSYNC_FLEET_PASSWORD_FILE",
        show_envvar=True,
        help="File with the user's password.",
    ),
    click.option(
        "--creds",
        type=file_path(exists=True),
        envvar="TCONNECTSYNC_FLEET_CREDS",
        show_envvar=True,
        help="A .creds file of NATS, instead of a user name.",
    ),
    click.option(
        "--nkey",
        type=file_path(exists=True),
        envvar="TCONNECTSYNC_FLEET_NKEY",
        show_envvar=True,
        help="File with the seed of an nkey, instead of a user name.",
    ),
    click.option(
        "--ca",
        type=file_path(exists=True),
        envvar="TCONNECTSYNC_FLEET_CA",
        show_envvar=True,
        help="Certificate of the authority that signed the servers' certificates; encrypts.",
    ),
    click.option(
        "--cert",
        type=file_path(exists=True),
        envvar="TCONNECTSYNC_FLEET_CERT",
        show_envvar=True,
        help="This client's certificate, if the servers ask for one.",
    ),
    click.option(
        "--cert-key",
        type=file_path(exists=True),
        envvar="TCONNECTSYNC_FLEET_CERT_KEY",
        show_envvar=True,
        help="The certificate's key.",
    ),
)


def with_servers(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for the servers; the command gets them as ``options``."""
    names = [field.name for field in attrs.fields(ServerOptions)]

    @wraps(command)
    def wrapped(**given: Any) -> Any:
        options = ServerOptions(**{name: given.pop(name) for name in names})
        return command(options=options, **given)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
