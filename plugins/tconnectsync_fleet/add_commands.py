"""``tconnectsync fleet add-all``: many people at once, from a folder of configuration files."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tconnectsync_fleet.server_options import ServerOptions, key_option, shared_option, with_servers

if TYPE_CHECKING:
    from tconnectsync_fleet.people import CheckedConfig, Member
    from tconnectsync_fleet.person_runner import FleetContext
    from tconnectsync_fleet.servers import Servers

_AT_ONCE = 500
"""After so many files the people are stored, so that a command that is interrupted has done something."""


@click.command("add-all", short_help="Add everybody of a folder of configuration files.")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@shared_option
@key_option
@with_servers
@click.pass_obj
def add_all(engine: FleetContext, options: ServerOptions, folder: Path, key: Path, shared: tuple[str, ...]) -> int:
    """Add everybody of FOLDER: each file NAME.toml is one person's configuration.

    Who exists already stays as before. If it is interrupted, run it again. A file with a mistake stops nobody else.
    """
    files = sorted(folder.glob("*.toml"))
    if not files:
        raise click.UsageError(f"{folder} has no file NAME.toml. Nothing was added.")
    with options.connected() as servers:
        from tconnectsync_fleet.people import People
        from tconnectsync_fleet.person_runner import checked_config
        from tconnectsync_fleet.sealing import hasher, sealer
        from tconnectsync_fleet.servers import names_with_data

        people, box, hashed = People(servers), sealer(key), hasher(key)
        check = partial(checked_config, engine, box=box, hashed=hashed, shared=shared)
        existing, logs = people.all().keys(), names_with_data(servers)
        new = [file for file in files if file.stem not in existing]
        added, refused = 0, 0
        for first in range(0, len(new), _AT_ONCE):
            configs: dict[str, CheckedConfig] = {}
            reasons: dict[str, str] = {}
            for name, found in _checked(new[first : first + _AT_ONCE], check, logs):
                if isinstance(found, str):
                    reasons[name] = found
                else:
                    configs[name] = found
            not_added = people.add_all(configs)
            added += len(configs) - len(not_added)
            reasons |= {name: reason for name, reason in not_added.items() if reason}
            refused += len(reasons)
            for name, reason in reasons.items():
                click.echo(f"{name}: {reason}", err=True)
    there = len(files) - added - refused
    click.echo(f"{added:,} added, {there:,} were there already, {refused:,} refused.")
    if refused:
        click.echo("Correct the files that were refused, then run the same command again.", err=True)
    return 2 if refused else 0


def who_begins(servers: Servers, person: Member) -> str:
    """Return a sentence that says when a worker begins with a person who was added, or whose configuration was replaced."""
    from nats.errors import Error as NatsError

    from tconnectsync import Retryable
    from tconnectsync_fleet.lease import live_workers, serving

    if person.paused:
        return f"{person.name} stays paused: no worker begins before `tconnectsync fleet resume {person.name}`."
    look = f"`tconnectsync fleet show {person.name}`"
    try:
        if serving(live_workers(servers)):
            return f"A worker begins within seconds: {look}."
    except (Retryable, NatsError):
        return f"A worker begins within seconds, if one runs: {look}."
    return "No worker runs now: start one with `tconnectsync fleet worker`."


def _checked(
    files: list[Path], check: Callable[[Path], CheckedConfig], logs: set[str]
) -> Iterator[tuple[str, CheckedConfig | str]]:
    """Yield each file's name with its configuration, or with the reason why it is refused."""
    from tconnectsync import TconnectsyncError
    from tconnectsync_fleet.people import NotPossible, check_name

    for file in files:
        name = file.stem
        try:
            if check_name(name) in logs:
                raise NotPossible(
                    "the fleet still has an event log of this name, perhaps another person's."
                    f" The same person: `tconnectsync fleet add --continue-log {name} --config {shlex.quote(str(file))}`."
                    f" Otherwise delete it: `tconnectsync fleet remove --data {name}`."
                )
            yield name, check(file)
        except TconnectsyncError as error:
            yield name, f"{error.message} {error.remedy or ''}".strip()
        except click.ClickException as error:
            yield name, error.message
        except Exception as error:  # noqa: BLE001 - the border between people: a plugin's error stops nobody else
            yield (
                name,
                f"it cannot be checked ({type(error).__name__}: {error}). This is a bug in tconnectsync or in a plugin.",
            )
