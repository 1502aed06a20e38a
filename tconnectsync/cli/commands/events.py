"""``tconnectsync events``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

import click

from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.output import print_json, say
from tconnectsync.cli.parameters import common_options, day_options, pass_invocation, require_order
from tconnectsync.exit_status import ExitStatus

if TYPE_CHECKING:
    from tconnectsync.eventlog import Damage

    KindsType = click.ParamType[tuple[str, ...]]
else:  # not a generic class in older releases of click
    KindsType = click.ParamType


class Kind(KindsType):
    """A kind of event such as ``bolus.completed``, or its part before the dot for all kinds that begin with it."""

    name = "kind"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        from tconnectsync.config.error_words import did_you_mean
        from tconnectsync.events import BODIES

        kinds = tuple(kind for kind in BODIES if value in (kind, kind.partition(".")[0]))
        if not kinds:
            self.fail(f"there is no kind {value!r}{did_you_mean(str(value), list(BODIES))}", param, ctx)
        return kinds


@click.command("events")
@day_options(required=False)
@click.option(
    "--kind", "kinds", type=Kind(), multiple=True, help='Only this kind. "bolus" means all "bolus.…". Can be repeated.'
)
@click.option("--pump", metavar="SERIAL", help="Only this pump.")
@click.option("--follow", is_flag=True, help="Keep printing new records until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="The records as one JSON object per line.")
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    first: date | None,
    last: date | None,
    kinds: tuple[tuple[str, ...], ...],
    pump: str | None,
    follow: bool,
    as_json: bool,
) -> int:
    """Print the records of the event log in the order they were written. Times are the pump's local time.

    \b
    tconnectsync events --from 2025-03-01 --kind bolus
    tconnectsync events --follow
    tconnectsync events --json | jq 'select(.kind == "alarm.raised")'

    Corrupt records are skipped and reported on stderr; the exit status is then 7.
    """
    require_order(first, last)
    config = invocation.config()
    from tconnectsync.queries.log_records import read_events

    wanted = tuple(dict.fromkeys(kind for group in kinds for kind in group))
    invocation.status = int(ExitStatus.DONE)

    def on_damage(damage: Damage) -> None:
        if invocation.status != ExitStatus.DAMAGED:
            say("Corrupt parts of the log are skipped here. `tconnectsync log check` lists all of them:", err=True)
        invocation.status = int(ExitStatus.DAMAGED)
        say(f"  {damage_words(damage)}", err=True)

    records = read_events(
        config,
        first=first,
        last=last,
        kinds=wanted,
        pump=pump,
        follow=follow,
        on_damage=on_damage,
        clock=invocation.clock,
    )
    printed = False
    try:
        for record in records:
            printed = True
            if as_json:
                print_json(record)
            else:
                say(event_words(record))
            if follow:
                sys.stdout.flush()
    except KeyboardInterrupt:
        if not follow:
            raise
    if not printed and not (config.data_dir / "log").is_dir():
        say(f"There is no event log in {config.data_dir} yet: run `tconnectsync sync`.", err=True)
    elif not printed and not follow:
        say("No records match.", err=True)
    return invocation.status


def damage_words(damage: Damage) -> str:
    """Format a damage: file, line, positions, and the fault."""
    first, last = damage.position, damage.last_position
    if first is None:
        where = ""
    elif last is None:
        where = f", from position {first} on"
    elif last < first:
        where = ""  # only a header is corrupt
    else:
        where = f", position {first}" if first == last else f", positions {first} to {last}"
    return f"{damage.path} line {damage.line}{where}: {damage.what}"


def event_words(record: Mapping[str, Any]) -> str:
    """Format a record of the log as one line."""
    number = "" if record.get("seq") is None else f" {record.get('group')}:{record.get('seq')}"
    body = record.get("body") or {}
    values = " ".join(f"{name}={_value(value)}" for name, value in body.items() if value not in (None, [], {}))
    when = str(record.get("pump_time", "")).replace("T", " ")
    return f"{when}  {record.get('pump')}{number}  {record.get('kind')}  {values}".rstrip()


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    if isinstance(value, dict):
        return f"{{{len(value)}}}"
    text = str(value)
    return repr(text) if " " in text else text
