"""``tconnectsync log``."""

from __future__ import annotations

import attrs
import click

from tconnectsync.cli.invocation import CliContext
from tconnectsync.cli.output import print_json, say
from tconnectsync.cli.parameters import common_options, pass_invocation
from tconnectsync.exit_status import ExitStatus


@click.group("log")
@common_options
def command() -> None:
    """Check or repair the event log."""


@command.command("check")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: good, path, what, line, position.")
@common_options
@pass_invocation
def check(invocation: CliContext, as_json: bool) -> int:
    """Read the whole log and compare every line with its checksum. Changes nothing, and works beside the daemon.

    Exit status 7 when something is damaged.
    """
    from tconnectsync.eventlog import check_log

    data_dir = invocation.config().data_dir
    read = damaged = 0
    for line in check_log(data_dir):
        read += 1
        damaged += not line.good
        if as_json:
            print_json(attrs.asdict(line))
        else:
            mark = click.style("good", fg="green") if line.good else click.style("BAD ", fg="red", bold=True)
            where = line.path if line.line is None else f"{line.path}, line {line.line}"
            say(f"  {where}: {line.what}", mark=mark)
    if damaged and not as_json:
        say(
            "Stop the daemon, then run `tconnectsync log repair`: it sets the damaged lines aside, deletes nothing, and what "
            "is missing is fetched again."
        )
    if not read and not as_json:
        say(f"There is no log in {data_dir} yet.")
    invocation.status = int(ExitStatus.DAMAGED if damaged else ExitStatus.DONE)
    return invocation.status


@command.command("repair")
@common_options
@pass_invocation
def repair(invocation: CliContext) -> int:
    """Set damaged lines aside and leave a gap record in their place. Deletes nothing; refuses while the daemon runs.

    What is missing counts as absent, so that the next sync fetches it again where the vendor still has it; documents in its
    stretch are never withdrawn.
    """
    from tconnectsync.eventlog import FolderLock, repair_log

    data_dir = invocation.config().data_dir
    if not (data_dir / "log").is_dir():
        say(f"There is no log in {data_dir} yet.")
        return ExitStatus.DONE
    with FolderLock(data_dir):
        report = repair_log(data_dir, clock=invocation.clock)
    for gap in report.gaps:
        say(
            f"{gap.path}: positions {gap.first_position} to {gap.last_position} were set aside; the segment as it was is kept "
            f"in {gap.side_file}"
        )
    for damage in report.unmended:
        say(f"{damage.path}, line {damage.line}: {damage.what}; this could not be mended", err=True)
    if report.unmended:
        return ExitStatus.DAMAGED
    if report.gaps:
        say("The log is whole again. Run `tconnectsync sync`: what is missing is fetched again.")
    else:
        say("Nothing is damaged; nothing was changed.")
    return ExitStatus.DONE
