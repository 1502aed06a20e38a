"""Runs the web application: the body of the command ``tconnectsync web``."""

from __future__ import annotations

import shlex
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import attrs
import click

from tconnectsync_web.access.loopback import is_loopback
from tconnectsync_web.access.path_prefix import clean_prefix
from tconnectsync_web.access.private_files import folder_of
from tconnectsync_web.access.view_link import ViewLink
from tconnectsync_web.options import WebOptions
from tconnectsync_web.people import CommandContext, NotSetUp, Person, people_of, settings_of

PATIENCE_S = 10.0
"""A running cycle may take this long when the application ends. An interrupted cycle resumes at the next start."""
WARM_UP_S = 3.0
"""The longest wait until the first page can be shown at once. After it the server starts, and a first reader waits."""


def run_web(
    engine: CommandContext,
    configs: Sequence[Path],
    given: Mapping[str, Any],
    *,
    view_link: bool = False,
    revoke_view_link: bool = False,
) -> int:
    """Serve until a signal, or print or end the view link. ``given``: options of the command line; None is not given."""
    if not (view_link or revoke_view_link):
        engine.serve()
    people = people_of(engine, configs)
    settings = settings_of(people)
    options = attrs.evolve(settings.options, **{name: value for name, value in given.items() if value is not None})
    if view_link or revoke_view_link:
        return change_view_link(settings.data_dir, options, revoke=revoke_view_link)
    secret = b"" if options.secret is None else options.secret.reveal().strip().encode()
    if not secret and (options.behind_router or not is_loopback(options.host)):
        raise NotSetUp(
            f"the page would be open to everybody who reaches {options.host}, and no secret is configured; nothing was"
            " started. Set `secret_file` under [web] (or TCONNECTSYNC_HEROKU_SECRET) to a long random text."
        )
    return _serve(people, settings.data_dir, options, secret or None)


def _serve(people: Sequence[Person], data_dir: Path, options: WebOptions, secret: bytes | None) -> int:
    try:
        from tconnectsync_web.application import open_application
        from tconnectsync_web.http_server import web_server
    except ImportError as error:
        raise NotSetUp(
            f"the package {error.name!r} is missing. In the folder of tconnectsync's source run:"
            f" {shlex.quote(sys.executable)} -m pip install '.[web]'"
        ) from error
    application = open_application(people, data_dir, secret)
    host = options.host
    try:
        server = web_server(
            application.app,
            host=host,
            port=options.port,
            behind_router=options.behind_router,
            base_path=options.base_path,
        )
    except OSError as error:
        raise click.ClickException(
            f"{host} port {options.port} cannot be used ({error.strerror}); `--port 0` takes any free port"
        ) from error
    port = getattr(server, "effective_port", options.port)
    stop = threading.Event()

    def end(number: int, _frame: FrameType | None) -> None:
        """Make the server end; an open page keeps a thread busy until its stream is closed."""
        application.live.close()
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    warm_up = threading.Thread(target=application.warm_up, name="warm up", daemon=True)
    try:
        for person in people:
            person.start_interval(stop.wait)
        warm_up.start()
        warm_up.join(WARM_UP_S)
        click.echo(f"Listening on {page_address(host, port, options.base_path)}", err=True)
        server.run()
    finally:
        stop.set()
        application.live.close()
        server.close()
        for person in people:
            person.wait_for_cycle(PATIENCE_S)
        application.close()
    return 0


def change_view_link(data_dir: Path, options: WebOptions, *, revoke: bool) -> int:
    """Print the view link, or end it. A running page follows at once."""
    link = ViewLink(folder_of(data_dir) / "view-link")
    if revoke:
        ended = link.revoke()
        click.echo("The view link is invalid from now on." if ended else "There is no view link.")
        return 0
    if options.secret is None:
        click.echo("Note: without a secret under [web] the page is open on this computer and needs no link.", err=True)
    click.echo(f"{page_address(options.host, options.port, options.base_path)}view#{link.create()}")
    click.echo(
        "Anyone with this link can see the pages but cannot change anything. If others reach the page under another address, replace"
        " the part before `view#`. To make the link invalid: `tconnectsync web --revoke-view-link`.",
        err=True,
    )
    return 0


def page_address(host: str, port: int, base_path: str) -> str:
    """Return the address of the page, as far as this computer knows it."""
    name = socket.gethostname() if host in ("0.0.0.0", "::", "") else host  # noqa: S104 - compared, not listened on
    return f"http://{f'[{name}]' if ':' in name else name}:{port}{clean_prefix(base_path) or ''}/"
