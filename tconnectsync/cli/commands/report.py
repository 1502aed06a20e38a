"""``tconnectsync report``."""

from __future__ import annotations

import shutil
import sys
from datetime import date
from pathlib import Path

import click

from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.output import echo, print_json, say
from tconnectsync.cli.parameters import Day, WritePath, common_options, pass_invocation, require_order
from tconnectsync.exit_status import ExitStatus

DAYS = 14
"""The usual length: fewer days show little of the usual day, more days hide changes."""
WIDEST = 100


@click.command("report")
@click.option("--days", "length", type=click.IntRange(1, 3660), help=f"Number of days. Default: {DAYS}.")
@click.option("--from", "first", type=Day(), help="First day, YYYY-MM-DD, instead of --days.")
@click.option("--to", "last", type=Day(), help="Last day, included. Default: yesterday, the last complete day.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object. Glucose is in mg/dL.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a table with one line for each day. Glucose is in mg/dL.")
@click.option(
    "--html",
    metavar="FILE",
    type=WritePath(dir_okay=False),
    help='Write one HTML file; "-": print it.',
)
@click.option("--name", metavar="TEXT", default="", help="Heading of the HTML file, such as the wearer's name.")
@click.option("--with-serial", is_flag=True, help="Add the pump's serial number to the HTML file.")
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    length: int | None,
    first: date | None,
    last: date | None,
    as_json: bool,
    as_csv: bool,
    html: Path | None,
    name: str,
    with_serial: bool,
) -> int:
    """Show time in range, insulin and carbs of the last days.

    It reads the event log only, also while the daemon runs. The HTML file is complete in itself: it can be sent to a clinic
    and printed. It has no serial number and no address unless you ask for it.

    \b
    tconnectsync report --days 30
    tconnectsync report --html report.html --name "Alex"
    """
    if as_json + as_csv + (html is not None) > 1:
        raise click.UsageError("--json, --csv and --html exclude each other: give one of them")
    if first is not None and length is not None:
        raise click.UsageError("--from and --days exclude each other: give one of them")
    require_order(first, last)
    config, plugins = invocation.config(), invocation.plugins()
    from tconnectsync.queries.report import read_report

    report = read_report(config, plugins, first=first, last=last, length=length or DAYS, clock=invocation.clock)
    if as_json:
        print_json(report.to_json(), indent=2)
    elif as_csv:
        from tconnectsync.statistics.tables import daily_csv

        say(daily_csv(report.days).replace("\r\n", "\n"), nl=False)
    elif html is not None:
        from tconnectsync.cli.report.html_page import html_page

        shown = name.encode(errors="surrogateescape").decode(errors="replace")  # a terminal that does not write UTF-8
        _write(html, html_page(report, zones=config.zones, name=shown, with_serial=with_serial))
    else:
        from tconnectsync.cli.report.terminal import BLOCKS, PLAIN_BLOCKS, report_lines

        blocks = BLOCKS if "utf" in (sys.stdout.encoding or "").lower() else PLAIN_BLOCKS
        width = min(WIDEST, shutil.get_terminal_size((80, 24)).columns)
        for line in report_lines(report, width=width, blocks=blocks):
            say(line)
    return ExitStatus.DONE


def _write(path: Path, page: str) -> None:
    """Write the page to a file, or print it. Errors: MachineTrouble."""
    from tconnectsync.errors import MachineTrouble
    from tconnectsync.folder_owner import as_caller

    if str(path) == "-":
        echo(page)
        return
    try:
        with as_caller():
            path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise MachineTrouble(
            f"The report {path} cannot be written ({error.strerror or error}).",
            remedy="Give a file in an existing folder that has room and that this user may write to.",
        ) from error
    say(f"Written: {path}. Open it in a browser; from there it can be printed.")
