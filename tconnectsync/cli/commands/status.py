"""``tconnectsync status``."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.output import print_json, say
from tconnectsync.cli.parameters import Duration, common_options, pass_invocation
from tconnectsync.cli.status_lines import StatusLine, status_lines, too_old, verdict
from tconnectsync.errors import ConfigError
from tconnectsync.exit_status import ExitStatus
from tconnectsync.health.severity import Severity

_SYMBOLS = {
    Severity.OK: click.style("ok  ", fg="green"),
    Severity.WAIT: click.style("WAIT", fg="yellow", bold=True),
    Severity.BAD: click.style("BAD ", fg="red", bold=True),
    Severity.OFF: click.style("off ", dim=True),
}

_NARROWEST = 30


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for scripts.")
@click.option("--exit-code", is_flag=True, help="Exit status 9 if anything is BAD, for cron and monitoring.")
@click.option(
    "--max-age",
    type=Duration(),
    metavar="DURATION",
    help="Exit status 9 if the newest pump data is older than this, such as 3h.",
)
@common_options
@pass_invocation
def command(invocation: Invocation, as_json: bool, exit_code: bool, max_age: timedelta | None) -> int:
    """Show each step from the pump's phone to Nightscout, and what to do next.

    A line that is not ok says what happened and which command to type. It only reads the data folder, so it works with or
    without a running daemon, and without a network.

    \b
    tconnectsync status --exit-code --max-age 3h
    """
    try:
        config = invocation.config()
    except ConfigError as error:
        if error.data_dir is not None and not as_json:
            _print_machine_problems(error.data_dir, invocation.clock.now())
        raise
    from tconnectsync.queries.status import read_status

    status = read_status(config, clock=invocation.clock)
    now = invocation.clock.now()
    zone = ZoneInfo(config.zone_of(now.date()))
    links = status_lines(status, now, zone)
    stale = None if max_age is None else too_old(status, now, max_age)
    bad = stale is not None or (exit_code and any(link.level is Severity.BAD for link in links))
    invocation.status = int(ExitStatus.DIFFERENT if bad else ExitStatus.DONE)
    if as_json:
        print_json(status, indent=2)
        return invocation.status
    _print(verdict(links, status, now, zone), 0)
    say("")
    shown = [link for link in links if link.level is not Severity.OFF]
    width = max((len(link.name) for link in shown), default=0)
    for link in shown:
        _print(link, width)
    off = ", ".join(link.name for link in links if link.level is Severity.OFF)
    say(f"\n{f'Off: {off}. ' if off else ''}tconnectsync {status['version']}, data in {status['data_dir']}")
    if stale:
        say(stale, err=True)
    return invocation.status


def _print_machine_problems(data_dir: Path, now: datetime) -> None:
    """Print problems of the disk and the daemon when the configuration is unusable: a daemon keeps running with the old one."""
    from tconnectsync.queries.status import machine_status

    links = status_lines(machine_status(data_dir), now, timezone.utc)
    for link in links:
        if link.level not in (Severity.OK, Severity.OFF):
            _print(link, max(len(each.name) for each in links))


def _print(link: StatusLine, width: int) -> None:
    """Print a step. Long lines are wrapped on a terminal only, so that a pipe gets one line for each."""
    margin = " " * (width + 8 if width else 6)
    first, *others = [part for line in link.lines or ("",) for part in _wrapped(line, len(margin))]
    name = f"  {link.name.ljust(width)}" if width else ""
    say(f"{name}  {first}".rstrip(), symbol=_SYMBOLS[link.level])
    for line in others:
        say(margin + line)


def _wrapped(line: str, margin: int) -> Sequence[str]:
    if not sys.stdout.isatty():
        return [line]
    room = max(shutil.get_terminal_size().columns - margin, _NARROWEST)
    return textwrap.wrap(line, room, break_long_words=False, break_on_hyphens=False) or [""]
