"""``tconnectsync adopt``."""

from __future__ import annotations

from datetime import date

import click

from tconnectsync.cli.engine_requests import conclude, perform
from tconnectsync.cli.invocation import CliContext
from tconnectsync.cli.parameters import SinkName, common_options, day_options, iso, pass_invocation, require_order


@click.command("adopt")
@click.argument("sink", type=SinkName())
@day_options(required=False)
@click.option("--dry-run", is_flag=True, help="Tell what would be replaced; change nothing.")
@click.option("--skip", is_flag=True, help="Leave the other bridge's documents as they are, and deliver beside them.")
@click.option(
    "--keep-unclear", is_flag=True, help="Replace what is surely the same, and leave beside ours what nobody can tell."
)
@common_options
@pass_invocation
def command(
    invocation: CliContext,
    sink: str,
    first: date | None,
    last: date | None,
    dry_run: bool,
    skip: bool,
    keep_unclear: bool,
) -> int:
    """Replace what an older bridge wrote of the same facts by a sink's documents.

    Stop the older bridge first. The pump's data is fetched, then each document of the older bridge that tells of a record which SINK tells too is deleted,
    and SINK's are delivered. What others wrote, and what tells of something else, stays. Where of some documents nobody can tell whether
    they are the same, they are listed and nothing is replaced. With --skip all stays: days that both wrote then show everything twice.

    \b
    tconnectsync adopt nightscout-treatments --dry-run
    tconnectsync adopt nightscout-treatments
    """
    require_order(first, last)
    if skip and (dry_run or first or last or keep_unclear):
        raise click.UsageError("--skip keeps everything: it goes with no days, and there is nothing to try")
    if not dry_run:
        return perform(
            invocation, "adopt", sink=sink, first=iso(first), last=iso(last), skip=skip, keep_unclear=keep_unclear
        )
    config, plugins = invocation.config(), invocation.plugins()
    from tconnectsync.queries.preview import preview_adoption

    found = preview_adoption(
        config, plugins, sink=sink, first=first, last=last, keep_unclear=keep_unclear, clock=invocation.clock
    )
    return conclude(invocation, found.status, found.lines)
