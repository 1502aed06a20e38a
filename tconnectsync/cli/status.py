"""``tconnectsync status``."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import click

from tconnectsync.cli.chain import Link, links_of
from tconnectsync.cli.exit_status import ExitStatus
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.output import print_json, say
from tconnectsync.cli.parameters import common_options, pass_invocation

_MARKS = {
    "ok": click.style("ok  ", fg="green"),
    "wait": click.style("WAIT", fg="yellow", bold=True),
    "bad": click.style("BAD ", fg="red", bold=True),
    "off": click.style("off ", dim=True),
}


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object, for scripts.")
@common_options
@pass_invocation
def command(invocation: Invocation, as_json: bool) -> int:
    """How each link of the chain is doing, since when, and what to do next.

    From the pump's phone to Nightscout: a link that is not ok says what happened and the next command to type. It reads the
    data folder alone, so that it works beside the daemon and after it died.
    """
    config = invocation.config()
    from tconnectsync import application

    status = application.read_status(config, clock=invocation.clock)
    if as_json:
        print_json(status, indent=2)
        return ExitStatus.DONE
    now = invocation.clock.now()
    zone = ZoneInfo(config.zone_of(now.date()))
    say(f"tconnectsync {status['version']}, data in {status['data_dir']}\n")
    links = links_of(status, now, zone)
    width = max((len(link.name) for link in links), default=0)
    for link in links:
        _print(link, width)
    return ExitStatus.DONE


def _print(link: Link, width: int) -> None:
    first, *others = link.lines or ("",)
    say(f"  {link.name.ljust(width)}  {first}".rstrip(), mark=_MARKS[link.mark])
    for line in others:
        say(f"{' ' * (width + 8)}{line}")
