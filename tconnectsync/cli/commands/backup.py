"""``tconnectsync backup``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.output import say
from tconnectsync.cli.parameters import WritePath, common_options, pass_invocation
from tconnectsync.cli.progress import ProgressLine
from tconnectsync.exit_status import ExitStatus


@click.command("backup")
@click.argument("target", metavar="FILE|FOLDER", type=WritePath())
@common_options
@pass_invocation
def command(invocation: Invocation, target: Path) -> int:
    """Copy the event log into FILE, or into a new file in FOLDER.

    Works while the daemon runs. Only the owner can read the file. It does not contain the configuration, passwords, login
    tokens, or data that can be rebuilt from the log. `tconnectsync restore FILE` restores it.

    \b
    tconnectsync backup /media/stick/
    """
    from tconnectsync.eventlog.backup import back_up

    data_dir = invocation.config().data_dir
    with ProgressLine(stream=sys.stderr) as bar:
        made = back_up(data_dir, target, clock=invocation.clock, progress=bar.counting("copying the event log"))
    say(f"Written: {made.path} with positions 1 to {made.manifest.positions:,} of the event log {made.manifest.log}.")
    say("Keep a copy of the configuration and the passwords, too: they are not in this file.")
    return ExitStatus.DONE
