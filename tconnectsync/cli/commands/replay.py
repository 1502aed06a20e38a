"""``tconnectsync replay``."""

from __future__ import annotations

from datetime import date

import click

from tconnectsync.cli.engine_requests import perform, show_preview
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.parameters import SinkName, common_options, day_options, iso, pass_invocation, require_order


@click.command("replay")
@click.argument("sink", type=SinkName(groups=True))
@day_options(required=False)
@click.option("--dry-run", is_flag=True, help="Print the documents it would send. Send nothing.")
@common_options
@pass_invocation
def command(invocation: Invocation, sink: str, first: date | None, last: date | None, dry_run: bool) -> int:
    """Send SINK's documents again, from the event log. `nightscout` stands for all sinks of Nightscout that are on.

    Use it after Nightscout lost its data or was replaced. Documents that are still there do not change. Days are days in the
    configured time zone, both included. Without --from and --to everything is sent again.

    \b
    tconnectsync replay nightscout
    tconnectsync replay nightscout-treatments --from 2025-03-01 --to 2025-03-31
    """
    require_order(first, last)
    if not dry_run:
        return perform(invocation, "replay", sink=sink, first=iso(first), last=iso(last))
    return show_preview(invocation, sink=sink, first=first, last=last)
