"""``tconnectsync fleet key``, ``init`` and ``limit``: what sets a fleet up."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from tconnectsync_fleet.server_options import ServerOptions, require_extra, with_servers, write_path


@click.command(short_help="Create the key that seals configurations.")
@click.argument("file", type=click.Path(dir_okay=False), callback=write_path)
def key(file: Path) -> int:
    """Create the key that seals configurations: FILE for the workers, FILE.pub for whoever adds people."""
    require_extra()
    from tconnectsync_fleet.sealing import KeyProblem, create_key

    try:
        create_key(file)
    except FileExistsError as error:
        raise KeyProblem(f"{error.filename} exists already. Nothing was overwritten. Give another name.") from error
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}. Nothing was overwritten.") from error
    click.echo(f"{file} was created. Keep a copy in a safe place: without it, everybody must be added again.")
    return 0


@click.command()
@click.option(
    "--replicas", type=click.Choice(["1", "3", "5"]), default="3", show_default=True, help="On how many servers."
)
@click.option(
    "--lease",
    default=15.0,
    show_default=True,
    type=click.FloatRange(2, 300),
    help="Seconds until a silent worker's people move.",
)
@click.option(
    "--requests-per-second",
    default=20.0,
    show_default=True,
    type=click.FloatRange(0, 10_000),
    help="The limit towards the vendor, for all workers together; 0: unlimited.",
)
@with_servers
def init(options: ServerOptions, replicas: str, lease: float, requests_per_second: float) -> int:
    """Create the streams and the buckets in NATS. Run it once; what exists stays."""
    with options.connected() as servers:
        from tconnectsync_fleet.servers import set_up
        from tconnectsync_fleet.vendor_limit import set_limit, stored_limit

        created = set_up(servers, replicas=int(replicas), lease_s=lease)
        stored = stored_limit(servers)
        set_limit(servers, requests_per_second if stored is None else stored.per_second)
    if not created:
        click.echo("The fleet was set up before, and stays as it is." + _unused(limit_counts=stored is None))
        return 0
    click.echo("The fleet is set up. Add people: `tconnectsync fleet add NAME --config FILE --key FILE.pub`.")
    return 0


def _unused(*, limit_counts: bool) -> str:
    """Return words about options that were given and changed nothing. ``limit_counts``: no limit was ever set before."""
    context = click.get_current_context()
    given = [
        name
        for name in ("replicas", "lease", "requests_per_second")
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        and not (limit_counts and name == "requests_per_second")
    ]
    if not given:
        return ""
    words = f" Nothing was changed by {', '.join('`--' + name.replace('_', '-') + '`' for name in given)}."
    if "requests_per_second" in given:
        wanted = context.params["requests_per_second"]
        words += f" To change the limit: `tconnectsync fleet limit --per-second {wanted:g}`."
    return words


@click.command(short_help="Show or change the limit of requests to the vendor.")
@click.option(
    "--per-second", type=click.FloatRange(0, 10_000), help="The new limit; 0: unlimited. It counts within seconds."
)
@with_servers
def limit(options: ServerOptions, per_second: float | None) -> int:
    """Show or change the limit of requests to the vendor, for all workers together."""
    with options.connected() as servers:
        from tconnectsync_fleet.vendor_limit import limit_in_force, set_limit

        if per_second is not None:
            set_limit(servers, per_second or None)
        found = limit_in_force(servers)
    if found is None:
        click.echo("There is no limit. To set one: `tconnectsync fleet limit --per-second 20`.")
    else:
        click.echo(f"The limit of requests to the vendor is {found:g} per second, for all workers together.")
    return 0
