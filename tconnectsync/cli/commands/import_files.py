"""``tconnectsync import``."""

from __future__ import annotations

from pathlib import Path

import click

from tconnectsync.cli.engine_requests import perform
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.parameters import common_options, pass_invocation


@click.command("import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--pump", metavar="SERIAL", help="Serial number of the pump, for files that do not name it.")
@click.option("--skip-bad", is_flag=True, help="Skip corrupt parts instead of refusing the file.")
@common_options
@pass_invocation
def command(invocation: Invocation, files: tuple[str, ...], pump: str | None, skip_bad: bool) -> int:
    """Read saved files of pump data into the event log, and deliver what is new.

    A file is recognised by its content; `tconnectsync plugins` lists the kinds. A corrupt file is refused completely.
    Records that are in the log already are skipped, so nothing is doubled.

    \b
    tconnectsync import saved-answers.json --pump 12345678
    """
    paths = [str(Path(file).absolute()) for file in files]
    return perform(invocation, "import", files=paths, pump=pump, skip_bad=skip_bad)
