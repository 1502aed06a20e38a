"""``tconnectsync log``."""

from __future__ import annotations

import sys

import attrs
import click

from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.output import print_json, say
from tconnectsync.cli.parameters import common_options, pass_invocation
from tconnectsync.cli.progress import ProgressLine
from tconnectsync.exit_status import ExitStatus


@click.group("log")
@common_options
def command() -> None:
    """Check or repair the event log."""


@command.command("check", short_help="Compare every line of the event log with its checksum.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line: good, path, what, line, position.")
@common_options
@pass_invocation
def check(invocation: Invocation, as_json: bool) -> int:
    """Read all of the event log and compare every line with its checksum.

    Changes nothing, and works while the daemon runs. Exit status 7 if anything is corrupt.
    """
    from tconnectsync.eventlog.check import check_log

    data_dir = invocation.config().data_dir
    read = damaged = 0
    with ProgressLine(stream=sys.stderr) as bar:
        for line in check_log(data_dir, progress=bar.counting("reading the event log")):
            read += 1
            damaged += not line.good
            bar.clear()
            if as_json:
                print_json(attrs.asdict(line))
            else:
                symbol = click.style("good", fg="green") if line.good else click.style("BAD ", fg="red", bold=True)
                where = line.path if line.line is None else f"{line.path}, line {line.line}"
                say(f"  {where}: {line.what}", symbol=symbol)
    if damaged and not as_json:
        say(
            "Stop the daemon, then run `tconnectsync log repair`. It moves the corrupt lines into a file and deletes nothing. The "
            "next sync fetches the missing records again."
        )
    if not read and not as_json:
        say(f"There is no event log in {data_dir} yet.")
    invocation.status = int(ExitStatus.DAMAGED if damaged else ExitStatus.DONE)
    return invocation.status


@command.command("repair", short_help="Move corrupt lines into a side file.")
@common_options
@pass_invocation
def repair(invocation: Invocation) -> int:
    """Move corrupt lines into a side file, and write a gap record in their place.

    Deletes nothing. Stop the daemon first. The next sync fetches the missing records again if the vendor still has
    them. Documents in the receiver that belong to the missing records are not deleted.
    """
    from tconnectsync.eventlog import FolderLock
    from tconnectsync.eventlog.repair import repair_log

    data_dir = invocation.config().data_dir
    if not (data_dir / "log").is_dir():
        say(f"There is no event log in {data_dir} yet.")
        return ExitStatus.DONE
    with FolderLock(data_dir), ProgressLine(stream=sys.stderr) as bar:
        report = repair_log(data_dir, clock=invocation.clock, progress=bar.counting("reading the event log"))
    for gap in report.gaps:
        say(
            f"{gap.path}: positions {gap.first_position} to {gap.last_position} were removed; the unchanged old file is kept as "
            f"{gap.side_file}"
        )
    for damage in report.unrepaired:
        say(
            f"{damage.path}, line {damage.line}: {damage.what}. This could not be repaired; the file is unchanged. Copy the data"
            " folder, then restore a backup into an empty one: `tconnectsync restore FILE`.",
            err=True,
        )
    if report.unrepaired:
        return ExitStatus.DAMAGED
    if report.gaps:
        say("The event log is repaired. The next sync fetches the missing records again.")
        say("Start the service (`sudo systemctl start tconnectsync`), or run `tconnectsync sync`.")
    else:
        say("Nothing is corrupt, and nothing was changed.")
    return ExitStatus.DONE
