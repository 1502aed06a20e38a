"""``tconnectsync restore``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.output import say
from tconnectsync.cli.parameters import common_options, pass_invocation
from tconnectsync.cli.progress import ProgressLine
from tconnectsync.exit_status import ExitStatus


@click.command("restore")
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Restore into this folder instead of the configured one.",
)
@common_options
@pass_invocation
def command(invocation: Invocation, path: Path, data_dir: Path | None) -> int:
    """Restore the backup FILE into an empty data folder. Every line is checked first.

    Stop the daemon first. A folder that has a log already is refused. The next sync fetches the data that is newer than the
    backup. Documents that Nightscout already has are recognised, so nothing is doubled.
    """
    from tconnectsync.eventlog import FolderLock
    from tconnectsync.eventlog.backup import restore
    from tconnectsync.folder_owner import become_owner_of

    folder = data_dir or invocation.config().data_dir
    become_owner_of(folder)
    with FolderLock(folder), ProgressLine(stream=sys.stderr) as bar:
        made = restore(path, folder, progress=bar.counting("restoring")).manifest
    say(
        f"Restored into {folder}: positions 1 to {made.positions:,} of the event log {made.log}, saved {made.made_at:%Y-%m-%d %H:%M} UTC."
    )
    say("Run `tconnectsync sync` or start the daemon: it fetches the newer data.")
    return ExitStatus.DONE
