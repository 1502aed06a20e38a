"""``tconnectsync sync``."""

from __future__ import annotations

import click

from tconnectsync.cli.engine_requests import perform, show_preview
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.parameters import common_options, features_option, pass_invocation


@click.command("sync")
@click.option("--dry-run", is_flag=True, help="Print the documents it would send. Send nothing.")
@common_options
@features_option
@pass_invocation
def command(invocation: Invocation, dry_run: bool = False) -> int:
    """Fetch new data and deliver it once. The default command.

    Exit status 0 if everything is delivered, even if there was nothing new. So it can be used with cron. If the daemon runs, the
    daemon does the work.
    """
    if dry_run:
        return show_preview(invocation)
    try:
        return perform(invocation, "sync")
    finally:
        invocation.report_problems()
