"""``tconnectsync adopt``."""

from __future__ import annotations

from datetime import date

import click

from tconnectsync.cli.engine_requests import conclude, perform
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.parameters import SinkName, common_options, day_options, iso, pass_invocation, require_order


@click.command("adopt")
@click.argument("sink", type=SinkName())
@day_options(required=False)
@click.option("--dry-run", is_flag=True, help="Show what would be replaced. Change nothing.")
@click.option("--skip", is_flag=True, help="Keep the older bridge's documents, and deliver those of tconnectsync too.")
@click.option(
    "--keep-unclear", is_flag=True, help="Replace only documents that are certainly the same. Keep the unclear ones."
)
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    sink: str,
    first: date | None,
    last: date | None,
    dry_run: bool,
    skip: bool,
    keep_unclear: bool,
) -> int:
    """Replace an older bridge's documents in Nightscout.

    Stop the older bridge first. tconnectsync then fetches the pump's data. If a document of the older bridge describes the same
    record as a document of SINK, it is deleted and SINK's document is delivered. Documents of other apps stay.

    If it is unclear whether some documents describe the same record, they are listed and nothing is replaced. With --skip
    everything stays: days that both bridges wrote then show every dose twice.

    \b
    tconnectsync adopt nightscout-treatments --dry-run
    tconnectsync adopt nightscout-treatments
    """
    require_order(first, last)
    if skip and (dry_run or first or last or keep_unclear):
        raise click.UsageError("--skip keeps everything: it cannot be combined with other options. Nothing was done.")
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
