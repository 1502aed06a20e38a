"""``tconnectsync backup``."""

from __future__ import annotations

from pathlib import Path

import click

from tconnectsync.cli.invocation import CliContext
from tconnectsync.cli.output import say
from tconnectsync.cli.parameters import common_options, pass_invocation
from tconnectsync.exit_status import ExitStatus


@click.command("backup")
@click.argument("target", metavar="FILE|FOLDER", type=click.Path(path_type=Path))
@common_options
@pass_invocation
def command(invocation: CliContext, target: Path) -> int:
    """Copy the event log, the only thing that cannot be made anew, into FILE, or into a new file in FOLDER.

    Works beside the daemon. The file is readable by its owner alone. Not in it: the configuration, passwords, login tokens, and
    what can be found out again (outboxes, the index). `tconnectsync restore FILE` puts it back.

    \b
    tconnectsync backup /media/stick/
    """
    from tconnectsync.eventlog.backup import back_up

    made = back_up(invocation.config().data_dir, target, clock=invocation.clock)
    say(f"{made.path}: positions 1 to {made.manifest.positions:,} of the event log {made.manifest.log}")
    say("Keep a copy of the configuration too: it is not in there, nor is anything secret.")
    return ExitStatus.DONE
