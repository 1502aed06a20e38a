"""``tconnectsync verify``."""

from __future__ import annotations

import sys
from datetime import date
from typing import TYPE_CHECKING

import click

from tconnectsync.cli.engine_requests import ask
from tconnectsync.cli.invocation import CliContext
from tconnectsync.cli.output import print_json, say
from tconnectsync.cli.parameters import SinkName, common_options, day_options, iso, pass_invocation, require_order
from tconnectsync.cli.progress import ProgressLine
from tconnectsync.errors import Retryable
from tconnectsync.exit_status import ExitStatus
from tconnectsync.text.plural import counted

if TYPE_CHECKING:
    from tconnectsync.reconcile.report import ComparisonReport


@click.command("verify")
@click.argument("sink", type=SinkName())
@day_options(required=False)
@click.option("--repair", is_flag=True, help="Send again what is missing or different; take surplus copies away.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line for each difference, and one with the counts."
)
@common_options
@pass_invocation
def command(
    invocation: CliContext, sink: str, first: date | None, last: date | None, repair: bool, as_json: bool
) -> int:
    """Read back what SINK delivered and compare it with the event log.

    Shows what is missing, different, doubled, or there although nothing makes it, and counts what others wrote. Without
    --repair it changes nothing and works beside the daemon; with it, what is ours is mended, and what others wrote is never
    touched. Exit status 9 when something differs (with --repair: when something still does). Days are days in the configured
    zone, both inclusive; without them everything is compared.

    \b
    tconnectsync verify nightscout-treatments
    tconnectsync verify nightscout-treatments --from 2025-03-01 --to 2025-03-31 --repair
    """
    require_order(first, last)
    if repair:
        result = ask(invocation, "verify", sink=sink, first=iso(first), last=iso(last), json=as_json)
        invocation.status = result.status
        for told in result.lines:
            say(told)
        return result.status
    try:
        tally = _compare(invocation, sink, first, last, as_json=as_json)
    except Retryable as error:
        say(error.message, err=True)
        if error.remedy:
            say(error.remedy, err=True)
        return ExitStatus.WAITING
    status = (
        ExitStatus.DAMAGED if tally.harm else ExitStatus.DIFFERENT if tally.wrong or tally.twice else ExitStatus.DONE
    )
    invocation.status = int(status)
    if as_json:
        print_json(tally.to_json())
        return status
    for line in tally.lines(sink):
        say(line)
    if tally.harm:
        say(f"{tally.harm} Run `tconnectsync log check`, then `tconnectsync log repair`.")
    elif tally.wrong:
        say(f"Run `tconnectsync verify {sink} --repair`: it mends what is ours and touches nothing else.")
    return status


def _compare(
    invocation: CliContext, sink: str, first: date | None, last: date | None, *, as_json: bool
) -> ComparisonReport:
    config, plugins = invocation.config(), invocation.plugins()
    from tconnectsync.queries.verify import verify
    from tconnectsync.reconcile.report import ComparisonReport

    tally = ComparisonReport()
    with ProgressLine(stream=sys.stderr) as line:
        for part in verify(config, plugins, sink=sink, first=first, last=last, clock=invocation.clock):
            tally.add(part)
            line.show(f"comparing, {counted(tally.good, 'document')} so far", 0, 0)
            if as_json:
                for difference in part.found:
                    print_json(difference.to_json())
    return tally
