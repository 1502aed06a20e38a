"""The commands of ``tconnectsync fleet`` for people and workers. NATS and the seals are imported when one of them runs."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from tconnectsync_fleet.add_commands import who_begins
from tconnectsync_fleet.request_keys import request_arguments
from tconnectsync_fleet.server_options import (
    ServerOptions,
    file_path,
    key_option,
    require_extra,
    shared_option,
    with_servers,
)

if TYPE_CHECKING:
    from tconnectsync_fleet.person_runner import FleetContext


@click.command()
@click.argument("name")
@click.option(
    "--config",
    "file",
    required=True,
    type=file_path(exists=True, allow_dash=True),
    help="The person's configuration file; - reads it from the standard input.",
)
@click.option("--replace", is_flag=True, help="Replace the configuration of a person who is there.")
@click.option(
    "--continue-log", is_flag=True, help="Use the event log that the fleet still has: it is the same person's."
)
@shared_option
@key_option
@with_servers
@click.pass_obj
def add(
    engine: FleetContext,
    options: ServerOptions,
    name: str,
    file: Path,
    key: Path,
    replace: bool,
    continue_log: bool,
    shared: tuple[str, ...],
) -> int:
    """Add a person. The configuration is checked as for one person; its secret files become part of it, sealed."""
    with options.connected() as servers:
        from tconnectsync_fleet.people import People, check_name
        from tconnectsync_fleet.person_runner import checked_config
        from tconnectsync_fleet.private_file import given_file
        from tconnectsync_fleet.sealing import hasher, sealer

        people = People(servers)
        if not replace and not continue_log:
            people.check_new(name)
        with given_file(file, check_name(name)) as path:
            config = checked_config(engine, path, sealer(key), hasher(key), shared=shared)
            person = people.add(name, config, replace=replace)
        click.echo(f"{name} was {'replaced' if replace else 'added'}. {who_begins(servers, person)}")
    return 0


@click.command()
@click.argument("name")
@click.option(
    "--data",
    is_flag=True,
    help="Delete the event log, the snapshot and the workers' copies, too. There is no way back.",
)
@with_servers
def remove(options: ServerOptions, name: str, data: bool) -> int:
    """Remove a person. The event log stays, unless --data is given; nothing at the receivers changes."""
    with options.connected() as servers:
        from tconnectsync_fleet.people import People
        from tconnectsync_fleet.servers import delete_data, has_data

        people = People(servers)
        if data and (people.has(name) or has_data(servers, name)):
            people.remove(name, with_data=True)
            delete_data(servers, name)
        else:
            people.remove(name)
    click.echo(
        f"{name} was removed. " + ("The event log was deleted." if data else "The event log is still in the stream.")
    )
    return 0


@click.command()
@click.argument("name")
@with_servers
def pause(options: ServerOptions, name: str) -> int:
    """Stop fetching and delivering for a person, until `fleet resume`."""
    with options.people() as people:
        people.store(attrs.evolve(people.get(name), paused=True))
    click.echo(f"{name} is paused. To continue: `tconnectsync fleet resume {name}`.")
    return 0


@click.command()
@click.argument("name")
@with_servers
def resume(options: ServerOptions, name: str) -> int:
    """Continue with a paused person. (A stopped sink or source: `fleet run NAME resume sink=…`, or `source=…`.)"""
    with options.people() as people:
        people.store(attrs.evolve(people.get(name), paused=False))
    click.echo(f"{name} is no longer paused.")
    return 0


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_servers
def status(options: ServerOptions, as_json: bool) -> int:
    """Show the workers, and the people by state. The exit status is 9 if somebody or a worker's disk is not well."""
    with options.connected() as servers:
        from tconnectsync_fleet.folder_check import FOLDER_ERROR
        from tconnectsync_fleet.status import read_fleet, status_lines

        found = read_fleet(servers)
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        for line in status_lines(found):
            click.echo(line)
    return 9 if found["troubles"] or any(FOLDER_ERROR in report for report in found["workers"].values()) else 0


@click.command(short_help="Print one person's status as JSON.")
@click.argument("name")
@with_servers
def show(options: ServerOptions, name: str) -> int:
    """Print one person's status as JSON, as `tconnectsync status --json` does for one."""
    return _ask(options, name, "status", {})


@click.command()
@click.argument("name")
@click.argument("command")
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...")
@with_servers
def run(options: ServerOptions, name: str, command: str, arguments: tuple[str, ...]) -> int:
    """Run a command for one person, on the worker that has the person.

    \b
    tconnectsync fleet run anna sync
    tconnectsync fleet run anna backfill first=2025-01-01 last=2025-01-31
    tconnectsync fleet run anna replay sink=nightscout-treatments
    tconnectsync fleet run anna verify sink=nightscout-treatments repair=yes
    tconnectsync fleet run anna resume sink=nightscout-treatments
    tconnectsync fleet run anna resume source=tandem

    The last two clear the stop of a sink and of a source.
    """
    return _ask(options, name, command, request_arguments(command, arguments))


def _ask(options: ServerOptions, name: str, command: str, arguments: Mapping[str, Any]) -> int:
    with options.connected() as servers:
        from tconnectsync_fleet.ask_worker import ask
        from tconnectsync_fleet.people import NotPossible, People

        if People(servers).get(name).paused:
            raise NotPossible(
                f"{name} is paused, so no worker has this person. Nothing was done."
                f" To continue: `tconnectsync fleet resume {name}`."
            )
        status = 1
        for step in ask(servers, name, command, arguments):
            if "status" in step:
                status = int(step["status"])
                for line in filter(None, step["lines"]):
                    click.echo(line, err=status != 0)
            else:
                click.echo(step["progress"], err=True)
    return status


@click.command()
@click.option(
    "--folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the worker keeps its copies.",
)
@click.option("--name", help="The worker's name, which no other has.  [default: the computer's name and a number]")
@click.option(
    "--threads", default=8, show_default=True, type=click.IntRange(1, 256), help="How many people have a turn at once."
)
@click.option(
    "--turns-per-minute",
    default=0.0,
    type=click.FloatRange(0),
    help="At most this many turns begin in a minute; 0: no limit.",
)
@click.option(
    "--snapshots-every",
    default=24.0,
    show_default=True,
    type=click.FloatRange(0),
    metavar="HOURS",
    help="Store everybody's outboxes at the servers so often, for the case that this computer is lost; 0: never.",
)
@click.option("--metrics", default="", metavar="HOST:PORT", help="Serve /metrics and /healthz there.")
@key_option
@with_servers
@click.pass_obj
def worker(
    engine: FleetContext, options: ServerOptions, folder: Path, name: str | None, threads: int, turns_per_minute: float,
    snapshots_every: float, metrics: str, key: Path,
) -> int:  # fmt: skip
    """Work for the fleet until SIGTERM. Any number of workers share the people; each needs a folder of its own."""
    from tconnectsync_fleet.pump_serials import with_short_serials

    engine.serve(with_short_serials)
    require_extra()
    from tconnectsync_fleet.key_check import KeyCheck
    from tconnectsync_fleet.log_person import mark_lines
    from tconnectsync_fleet.metrics import host_and_port, serve_metrics
    from tconnectsync_fleet.operator_requests import answer_requests
    from tconnectsync_fleet.sealing import opener
    from tconnectsync_fleet.worker import Worker
    from tconnectsync_fleet.worker_folder import WorkerFolder, check_worker_name

    if name is not None:
        check_worker_name(name)
    if metrics:
        host_and_port(metrics)
    mark_lines()
    box = opener(key)
    checked = KeyCheck(box, key)
    with WorkerFolder(folder) as own:
        called = name or own.name
        with options.connected(called) as servers:
            checked.at_start(servers)
            working = Worker(
                name=called, folder=folder, servers=servers, box=box, engine=engine, check_key=checked.try_on,
                threads=threads, turns_per_minute=turns_per_minute, snapshots_s=snapshots_every * 3600, disk=own.disk,
            )  # fmt: skip
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: working.stop())
            answer_requests(working)
            if metrics:
                serve_metrics(working, metrics)
            working.run()
    return 0
