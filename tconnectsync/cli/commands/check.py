"""``tconnectsync check``."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import click

from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.output import print_json, say
from tconnectsync.cli.parameters import common_options, pass_invocation
from tconnectsync.errors import ConfigError
from tconnectsync.exit_status import ExitStatus
from tconnectsync.folder_owner import as_owner_of
from tconnectsync.plugin.receiver import CheckResult


@click.command("check")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line: good, what, remedy.")
@common_options
@pass_invocation
def command(invocation: Invocation, as_json: bool) -> int:
    """Test the configuration, login, pumps, Nightscout, disk and clock.

    Each line is good or BAD. A BAD line says what to do. Sends nothing. The output contains no secrets, so it can be shared, but
    it contains serial numbers. Exit status 9 if anything is BAD.
    """
    bad, invocation.prints_config_notes = 0, False
    redact = invocation.logs.redactor if invocation.logs else str
    for found in _findings(invocation):
        # plugins should not put secrets into their messages; the redactor makes sure
        finding = attrs.evolve(found, what=redact(found.what), remedy=found.remedy and redact(found.remedy))
        bad += not finding.good
        if as_json:
            print_json(finding.to_json())
        else:
            _print(finding)
    if bad and not as_json:
        say(f"{bad:,} of these need attention." if bad > 1 else "1 of these needs attention.")
    invocation.status = int(ExitStatus.DIFFERENT if bad else ExitStatus.DONE)
    return invocation.status


def _findings(invocation: Invocation) -> Iterator[CheckResult]:
    try:
        config = invocation.config()
    except ConfigError as error:
        raise _with_zones(invocation, error) from None
    from tconnectsync.queries.check import run_check

    on = [name for group in (config.sources, config.sinks) for name, part in group.items() if part.enabled]
    origin = config.origin or "the environment alone"
    yield CheckResult(good=True, what=f"configuration: {origin}; zone {config.timezone}; on: {', '.join(on)}")
    for note in config.notes:
        yield CheckResult(
            good=False,
            what=f"configuration: {note}",
            remedy="Correct it in the configuration, or leave it if you want it this way.",
        )
    yield from run_check(config, invocation.plugins(), clock=invocation.clock)


_ANY_ZONE = "America/New_York"


def _with_zones(invocation: Invocation, error: ConfigError) -> ConfigError:
    """If only the time zone is wrong, add the zones that fit the pump's clock; else return ``error`` as it is."""
    from tconnectsync.queries.check import zones_of_pump_clock

    try:
        config = invocation.load_config(timezone=_ANY_ZONE)
    except ConfigError:
        return error
    with as_owner_of(config.data_dir):
        places = zones_of_pump_clock(config, invocation.plugins(), clock=invocation.clock)
    if places:
        words = " or ".join(f'"{place}"' for place in places)
        error.remedy = f"The pump's clock shows the time of {words}: is one of them the wearer's zone? {error.remedy or ''}".rstrip()
    return error


def _print(finding: CheckResult) -> None:
    symbol = click.style("good", fg="green") if finding.good else click.style("BAD ", fg="red", bold=True)
    say(f"  {finding.what}", symbol=symbol)
    if finding.remedy:
        say(f"      {finding.remedy}")
