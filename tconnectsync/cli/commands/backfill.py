"""``tconnectsync backfill``."""

from __future__ import annotations

from datetime import date

import click

from tconnectsync.cli.engine_requests import perform
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.parameters import common_options, day_options, iso, pass_invocation, require_order


@click.command("backfill")
@day_options(required=True)
@common_options
@pass_invocation
def command(invocation: Invocation, first: date, last: date | None) -> int:
    """Fetch older days, or fetch days again, and deliver what is new.

    Records that are in the log already are skipped, so nothing is doubled. If it is interrupted, run it again.

    \b
    tconnectsync backfill --from 2025-03-01
    tconnectsync backfill --from 2025-03-01 --to 2025-03-31
    """
    require_order(first, last)
    return perform(invocation, "backfill", first=iso(first), last=iso(last))
