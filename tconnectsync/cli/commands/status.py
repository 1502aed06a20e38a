"""``tconnectsync status``."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from tconnectsync.cli.invocation import CliContext
from tconnectsync.cli.output import print_json, say
from tconnectsync.cli.parameters import Duration, common_options, pass_invocation
from tconnectsync.cli.status_links import StatusLine, links_of, too_old
from tconnectsync.errors import ConfigError
from tconnectsync.exit_status import ExitStatus

_MARKS = {
    "ok": click.style("ok  ", fg="green"),
    "wait": click.style("WAIT", fg="yellow", bold=True),
    "bad": click.style("BAD ", fg="red", bold=True),
    "off": click.style("off ", dim=True),
}


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object, for scripts.")
@click.option("--exit-code", is_flag=True, help="End with 9 when anything is BAD, for cron and monitors.")
@click.option(
    "--max-age", type=Duration(), metavar="DURATION", help="End with 9 when the newest pump data is older, such as 3h."
)
@common_options
@pass_invocation
def command(invocation: CliContext, as_json: bool, exit_code: bool, max_age: timedelta | None) -> int:
    """How each link of the chain is doing, since when, and what to do next.

    From the disk and the pump's phone to Nightscout: a link that is not ok says what happened and the next command to type. It
    reads the data folder and asks nobody, so that it works beside the daemon and after it died.

    \b
    tconnectsync status --exit-code --max-age 3h
    """
    try:
        config = invocation.config()
    except ConfigError as error:
        if error.data_dir is not None and not as_json:
            _without_configuration(error.data_dir, invocation.clock.now())
        raise
    from tconnectsync.queries.status import read_status

    status = read_status(config, clock=invocation.clock)
    now = invocation.clock.now()
    zone = ZoneInfo(config.zone_of(now.date()))
    links = links_of(status, now, zone)
    stale = None if max_age is None else too_old(status, now, max_age)
    bad = stale is not None or (exit_code and any(link.mark == "bad" for link in links))
    invocation.status = int(ExitStatus.DIFFERENT if bad else ExitStatus.DONE)
    if as_json:
        print_json(status, indent=2)
        return invocation.status
    say(f"tconnectsync {status['version']}, data in {status['data_dir']}\n")
    width = max((len(link.name) for link in links), default=0)
    for link in links:
        _print(link, width)
    if stale:
        say(stale, err=True)
    return invocation.status


def _without_configuration(data_dir: Path, now: datetime) -> None:
    """What is wrong besides: a daemon goes on under the configuration that it was started with."""
    from tconnectsync.queries.status import machine_status

    links = links_of(machine_status(data_dir), now, timezone.utc)
    for link in links:
        if link.mark not in ("ok", "off"):
            _print(link, max(len(each.name) for each in links))


def _print(link: StatusLine, width: int) -> None:
    first, *others = link.lines or ("",)
    say(f"  {link.name.ljust(width)}  {first}".rstrip(), mark=_MARKS[link.mark])
    for line in others:
        say(f"{' ' * (width + 8)}{line}")
