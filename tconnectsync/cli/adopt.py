"""``tconnectsync adopt``."""

from __future__ import annotations

import click

from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.parameters import SinkName, common_options, pass_invocation
from tconnectsync.cli.requests import perform


@click.command("adopt")
@click.argument("sink", type=SinkName())
@click.option("--skip", is_flag=True, help="Leave the other bridge's documents as they are, and deliver beside them.")
@common_options
@pass_invocation
def command(invocation: Invocation, sink: str, skip: bool) -> int:
    """Start the first delivery of SINK to a site that already holds another bridge's documents.

    Until then the sink waits, so that nothing appears twice without your consent. With --skip both stay: days that the other
    bridge has written too show everything twice, unless you delete its documents first.
    """
    if not skip:
        raise click.UsageError(
            "say --skip to deliver beside what is there; taking the other bridge's documents over is not built yet"
        )
    return perform(invocation, "adopt", sink=sink, skip=True)
