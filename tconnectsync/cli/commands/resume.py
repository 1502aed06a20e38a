"""``tconnectsync resume``."""

from __future__ import annotations

import click

from tconnectsync.cli.engine_requests import perform
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.parameters import PartName, common_options, pass_invocation


@click.command("resume")
@click.argument("sink", metavar="NAME", type=PartName(groups=True))
@common_options
@pass_invocation
def command(invocation: Invocation, sink: str) -> int:
    """Continue after NAME, a sink or a source, has stopped. `nightscout` stands for all sinks of Nightscout that are on.

    A sink stops when its receiver refuses too many documents in a row, and pauses before it changes or deletes many old
    documents. A source stops when its login is refused. `tconnectsync status` shows the reason.
    """
    return perform(invocation, "resume", sink=sink)
