"""``tconnectsync dead-letters``."""

from __future__ import annotations

import click

from tconnectsync.cli.engine_requests import perform
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.output import print_json, say
from tconnectsync.cli.parameters import SinkName, common_options, pass_invocation
from tconnectsync.exit_status import ExitStatus


@click.group("dead-letters")
@common_options
def command() -> None:
    """Show, retry or drop documents that a receiver refused.

    Such a document is called a dead letter. It is set aside with the reason, and all other documents are still delivered. The
    pump's records stay in the event log.
    """


@command.command("list")
@click.argument("sink", type=SinkName(), required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@common_options
@pass_invocation
def list_letters(invocation: Invocation, sink: str | None, as_json: bool) -> int:
    """Show the dead letters of SINK, or of all sinks, with the reason."""
    config = invocation.config()
    from tconnectsync.outbox.dead_letters import letter_lines
    from tconnectsync.queries.dead_letters import read_dead_letters

    letters = read_dead_letters(config, sink)
    for letter in letters:
        if as_json:
            print_json(letter)
        else:
            say("\n".join(letter_lines(letter)))
    if not as_json:
        say(
            "There are no dead letters: nothing was refused."
            if not letters
            else "Send them again: `tconnectsync dead-letters retry SINK [ID…]`. Never send them: `tconnectsync dead-letters drop"
            " SINK ID…`."
        )
    return ExitStatus.DONE


@command.command("retry")
@click.argument("sink", type=SinkName())
@click.argument("ids", nargs=-1, metavar="[ID]...")
@common_options
@pass_invocation
def retry(invocation: Invocation, sink: str, ids: tuple[str, ...]) -> int:
    """Send dead letters of SINK again: those with these IDs, or all."""
    return perform(invocation, "dead_letters_retry", sink=sink, ids=list(ids) or None)


@command.command("drop")
@click.argument("sink", type=SinkName())
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All dead letters of this sink.")
@common_options
@pass_invocation
def drop(invocation: Invocation, sink: str, ids: tuple[str, ...], everything: bool) -> int:
    """Drop dead letters of SINK: those with these IDs, or --all. They will not be sent."""
    if bool(ids) == everything:
        raise click.UsageError("give either IDs (see `tconnectsync dead-letters list`) or --all. Nothing was dropped.")
    return perform(invocation, "dead_letters_drop", sink=sink, ids=None if everything else list(ids))
