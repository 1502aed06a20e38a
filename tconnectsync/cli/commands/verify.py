"""``tconnectsync verify``."""

from __future__ import annotations

import sys
from datetime import date
from typing import TYPE_CHECKING

import click

from tconnectsync.cli.engine_requests import ask
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.output import print_json, say
from tconnectsync.cli.parameters import SinkName, common_options, day_options, iso, pass_invocation, require_order
from tconnectsync.cli.progress import ProgressLine
from tconnectsync.errors import Retryable
from tconnectsync.exit_status import ExitStatus
from tconnectsync.text.plural import counted
from tconnectsync.text.retry_words import without_retries

if TYPE_CHECKING:
    from tconnectsync.reconcile.report import ComparisonReport


@click.command("verify")
@click.argument("sink", type=SinkName())
@day_options(required=False)
@click.option("--repair", is_flag=True, help="Send missing and different documents again, and delete extra copies.")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object per line for each difference, and one with the counts."
)
@common_options
@pass_invocation
def command(
    invocation: Invocation, sink: str, first: date | None, last: date | None, repair: bool, as_json: bool
) -> int:
    """Compare SINK's documents in the receiver with the event log.

    Shows documents that are missing, different, doubled, or not in the log any more ("orphaned"), and counts the documents of
    other apps. Without --repair it changes nothing and works while the daemon runs. With --repair it corrects the documents
    that tconnectsync wrote; it never touches documents of other apps.

    Exit status 9 if something differs, with --repair if something still differs. Days are days in the configured time zone,
    both included. Without --from and --to everything is compared.

    \b
    tconnectsync verify nightscout-treatments
    tconnectsync verify nightscout-treatments --from 2025-03-01 --to 2025-03-31 --repair
    """
    require_order(first, last)
    if repair:
        result = ask(invocation, "verify", sink=sink, first=iso(first), last=iso(last), json=as_json)
        invocation.status = result.status
        for line in result.lines:
            say(line)
        return result.status
    try:
        report = _compare(invocation, sink, first, last, as_json=as_json)
    except Retryable as error:
        say(error.message, err=True)
        if error.remedy:
            say(without_retries(error.remedy) or "", err=True)
        return ExitStatus.WAITING
    status = (
        ExitStatus.DAMAGED
        if report.corruption
        else ExitStatus.DIFFERENT
        if report.wrong or report.twice
        else ExitStatus.DONE
    )
    invocation.status = int(status)
    if as_json:
        print_json(report.to_json())
        return status
    for line in report.lines(sink):
        say(line)
    if report.corruption:
        say(f"{report.corruption} Run `tconnectsync log check`, then `tconnectsync log repair`.")
    elif report.wrong:
        say(f"Run `tconnectsync verify {sink} --repair`: it corrects only documents that tconnectsync wrote.")
    return status


def _compare(
    invocation: Invocation, sink: str, first: date | None, last: date | None, *, as_json: bool
) -> ComparisonReport:
    config, plugins = invocation.config(), invocation.plugins()
    from tconnectsync.queries.verify import verify
    from tconnectsync.reconcile.report import ComparisonReport

    report = ComparisonReport()
    with ProgressLine(stream=sys.stderr) as line:
        for part in verify(config, plugins, sink=sink, first=first, last=last, clock=invocation.clock):
            report.add(part)
            line.show(f"comparing, {counted(report.good, 'document')} so far", round(part.done * 100), 100)
            if as_json and part.found:
                line.clear()
                for difference in part.found:
                    print_json(difference.to_json())
    return report
