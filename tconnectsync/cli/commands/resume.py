"""``tconnectsync resume``."""

from __future__ import annotations

import click

from tconnectsync.cli.engine_requests import perform
from tconnectsync.cli.invocation import CliContext
from tconnectsync.cli.parameters import PartName, common_options, pass_invocation


@click.command("resume")
@click.argument("sink", metavar="NAME", type=PartName())
@common_options
@pass_invocation
def command(invocation: CliContext, sink: str) -> int:
    """Let NAME, a sink or a source, go on after it stopped itself.

    A sink halts after too many rejections in a row, and brakes before it rewrites many old documents; a source stops when its
    credentials are refused. `tconnectsync status` says why.
    """
    return perform(invocation, "resume", sink=sink)
