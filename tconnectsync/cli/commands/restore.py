"""``tconnectsync restore``."""

from __future__ import annotations

from pathlib import Path

import click

from tconnectsync.cli.invocation import CliContext
from tconnectsync.cli.output import say
from tconnectsync.cli.parameters import common_options, pass_invocation
from tconnectsync.exit_status import ExitStatus


@click.command("restore")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="FOLDER", help="Instead of the configured one.")
@common_options
@pass_invocation
def command(invocation: CliContext, path: Path, data_dir: Path | None) -> int:
    """Put the backup FILE into an empty data folder, after every line of it was checked.

    Refuses while the daemon runs and where there is a log already. What is newer than the backup is fetched again by the next
    sync, and what Nightscout already holds is recognised: nothing is doubled.
    """
    from tconnectsync.eventlog import FolderLock
    from tconnectsync.eventlog.backup import restore
    from tconnectsync.folder_owner import become_owner_of

    folder = data_dir or invocation.config().data_dir
    become_owner_of(folder)
    with FolderLock(folder):
        put_back = restore(path, folder)
    made = put_back.manifest
    say(
        f"{folder} holds positions 1 to {made.positions:,} of the event log {made.log}, of {made.made_at:%Y-%m-%d %H:%M} UTC."
    )
    say("Run `tconnectsync sync`, or start the daemon: what is newer is fetched again.")
    return ExitStatus.DONE
