"""``tconnectsync sync``."""

from __future__ import annotations

import click

from tconnectsync.cli.engine_requests import perform, show_preview
from tconnectsync.cli.invocation import CliContext
from tconnectsync.cli.parameters import common_options, features_option, pass_invocation


@click.command("sync")
@click.option("--dry-run", is_flag=True, help="Print the documents it would send; send nothing, write nothing.")
@common_options
@features_option
@pass_invocation
def command(invocation: CliContext, dry_run: bool = False) -> int:
    """One cycle: fetch what is new, deliver it, end. The default.

    Exit status 0 when everything is delivered, also when there was nothing new: made for cron. While the daemon runs, it is
    asked to do it.
    """
    if not dry_run:
        return perform(invocation, "sync")
    return show_preview(invocation)
