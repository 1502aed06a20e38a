"""The command ``tconnectsync web``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:  # every command imports this module
    from tconnectsync_web.people import CommandContext


@click.command(short_help="Show the data on a web page, and sync on request.")
@click.option(
    "--config",
    "configs",
    multiple=True,
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help="Read this configuration file. Can be repeated: one page for each person.",
)
@click.option("--host", help="Address to listen on; 0.0.0.0: all interfaces.  [default: 127.0.0.1]")
@click.option(
    "--port",
    envvar="PORT",
    show_envvar=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0: any free port.  [default: 8080]",
)
@click.option(
    "--behind-router",
    is_flag=True,
    help="All requests come through one router or reverse proxy, which adds the caller to X-Forwarded-For.",
)
@click.option("--view-link", is_flag=True, help="Print the link that shows the pages and changes nothing, and end.")
@click.option("--revoke-view-link", is_flag=True, help="Make the view link invalid, and end.")
@click.pass_obj
def web(
    engine: CommandContext,
    configs: tuple[Path, ...],
    host: str | None,
    port: int | None,
    behind_router: bool,
    view_link: bool,
    revoke_view_link: bool,
) -> int:
    """Show glucose, insulin and problems on a web page, and sync on request over HTTP.

    It runs beside the daemon or instead of it. On this computer (127.0.0.1) the page is open. On any other address it needs the
    secret of [web].

    Addresses for scripts: /run starts a sync cycle, /update waits for its end, / shows the status, /metrics is for Prometheus,
    /check_login tests the logins. They need the secret too. /healthz does not.
    """
    from tconnectsync_web.run_web import run_web

    given = {"host": host, "port": port, "behind_router": behind_router or None}
    return run_web(engine, configs, given, view_link=view_link, revoke_view_link=revoke_view_link)
