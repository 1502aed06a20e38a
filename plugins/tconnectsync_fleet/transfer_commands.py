"""``tconnectsync fleet import`` and ``fleet export``: one person's data moves into the fleet, and out of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tconnectsync_fleet.server_options import (
    ServerOptions,
    file_path,
    key_option,
    shared_option,
    with_servers,
    write_path,
)

if TYPE_CHECKING:
    from tconnectsync_fleet.person_runner import FleetContext


@click.command("import", short_help="Move the data of a single daemon into the fleet.")
@click.argument("name")
@click.option("--config", "file", required=True, type=file_path(exists=True), help="The person's configuration file.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The data folder to move in. Its daemon is stopped.",
)
@click.option(
    "--backup", type=file_path(exists=True), help="A file of `tconnectsync backup`, instead of a data folder."
)
@shared_option
@key_option
@with_servers
@click.pass_obj
def import_(
    engine: FleetContext,
    options: ServerOptions,
    name: str,
    file: Path,
    data_dir: Path | None,
    backup: Path | None,
    key: Path,
    shared: tuple[str, ...],
) -> int:
    """Add a person with the event log that a single daemon has written. The data folder stays as it is.

    With a data folder, the fleet knows what was delivered. With a backup, it reads the receiver first. Nothing is doubled.

    \b
    tconnectsync fleet import anna --config anna.toml --data-dir /var/lib/tconnectsync
    """
    source = data_dir or backup
    if source is None or (data_dir is not None and backup is not None):
        raise click.UsageError("Give either --data-dir or --backup.")
    with options.connected() as servers:
        from tconnectsync_fleet.log_transfer import move_in

        positions = move_in(servers, engine, name, config=file, source=source, key=key, shared=shared)
    click.echo(f"{name} was added with positions 1 to {positions:,} of the event log.")
    click.echo("The daemon of this data must not start again. Where it ran: `systemctl disable --now tconnectsync`.")
    return 0


@click.command(short_help="Write a person's event log to a file.")
@click.argument("name")
@click.option(
    "--output",
    type=click.Path(),
    callback=write_path,
    default="",
    metavar="FILE|FOLDER",
    help="The file to write, or a folder for it.  [default: this folder]",
)
@with_servers
@click.pass_obj
def export(engine: FleetContext, options: ServerOptions, name: str, output: Path) -> int:
    """Write a person's event log to a file, which `tconnectsync restore` restores. The fleet is not changed.

    Somebody who is new and has no log yet gets no file; that is no failure.

    To move somebody out of the fleet: pause, export, restore, then start the daemon there. Nothing is doubled.
    """
    with options.connected() as servers:
        from tconnectsync_fleet.log_transfer import move_out

        written = move_out(servers, engine, name, output)
    if written is None:
        click.echo(f"{name} has no record in the event log yet. Nothing was written.")
        return 0
    path, positions, works = written
    click.echo(f"Written: {path} with positions 1 to {positions:,} of the event log of {name}.")
    click.echo("Restore it into an empty data folder: `tconnectsync restore FILE`.")
    if works:
        click.echo(
            f"A worker still works for {name}. Before a daemon starts elsewhere: `tconnectsync fleet pause {name}`, then export again."
        )
    return 0
