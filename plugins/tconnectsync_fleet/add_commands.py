"""``tconnectsync fleet add-all``: many people at once, from a folder of configuration files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tconnectsync_fleet.server_options import ServerOptions, key_option, with_servers

if TYPE_CHECKING:
    from nacl.public import PublicKey, SealedBox

    from tconnectsync_fleet.person_runner import FleetContext

_AT_ONCE = 500
"""After so many files the people are stored, so that a command that is interrupted has done something."""


@click.command("add-all", short_help="Add everybody of a folder of configuration files.")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@key_option
@with_servers
@click.pass_obj
def add_all(engine: FleetContext, options: ServerOptions, folder: Path, key: Path) -> int:
    """Add everybody of FOLDER: each file NAME.toml is one person's configuration.

    Who exists already stays as before. If it is interrupted, run it again. A file with a mistake stops nobody else.
    """
    files = sorted(folder.glob("*.toml"))
    if not files:
        raise click.ClickException(f"{folder} has no file NAME.toml. Nothing was added.")
    with options.connected() as servers:
        from tconnectsync_fleet.people import People
        from tconnectsync_fleet.sealing import sealer
        from tconnectsync_fleet.servers import names_with_data

        people, box = People(servers), sealer(key)
        existing, logs = people.all().keys(), names_with_data(servers)
        new = [file for file in files if file.stem not in existing]
        added, refused = 0, 0
        for first in range(0, len(new), _AT_ONCE):
            sealed: dict[str, bytes] = {}
            for name, found in _sealed(engine, new[first : first + _AT_ONCE], box, logs):
                if isinstance(found, bytes):
                    sealed[name] = found
                else:
                    refused += 1
                    click.echo(f"{name}: {found}", err=True)
            added += len(sealed) - len(people.add_all(sealed))
    there = len(files) - added - refused
    click.echo(f"{added:,} added, {there:,} were there already, {refused:,} refused.")
    if refused:
        click.echo("Correct the files that were refused, then run the same command again.", err=True)
    return 2 if refused else 0


def _sealed(
    engine: FleetContext, files: list[Path], box: SealedBox[PublicKey], logs: set[str]
) -> Iterator[tuple[str, bytes | str]]:
    """Yield each file's name with its sealed configuration, or with the reason why it is refused."""
    from tconnectsync import TconnectsyncError
    from tconnectsync_fleet.people import NotPossible, check_name
    from tconnectsync_fleet.person_runner import sealed_config

    for file in files:
        name = file.stem
        try:
            if check_name(name) in logs:
                raise NotPossible(
                    "the fleet still has an event log of this name, perhaps another person's."
                    f" The same person: `tconnectsync fleet add --continue-log {name} --config {file}`."
                    f" Otherwise delete it: `tconnectsync fleet remove --data {name}`."
                )
            yield name, sealed_config(engine, file, box)
        except TconnectsyncError as error:
            yield name, f"{error.message} {error.remedy or ''}".strip()
        except click.ClickException as error:
            yield name, error.message
