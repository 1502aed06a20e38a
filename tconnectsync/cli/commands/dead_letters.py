"""``tconnectsync dead-letters``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from tconnectsync.cli.engine_requests import perform
from tconnectsync.cli.invocation import CliContext
from tconnectsync.cli.output import print_json, say
from tconnectsync.cli.parameters import SinkName, common_options, pass_invocation
from tconnectsync.exit_status import ExitStatus
from tconnectsync.text.plural import counted


@click.group("dead-letters")
@common_options
def command() -> None:
    """Documents that a receiver would not take: list, retry, drop.

    They are set aside with the reason, so that everything else goes on. The events they were made of stay in the log.
    """


@command.command("list")
@click.argument("sink", type=SinkName(), required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@common_options
@pass_invocation
def list_letters(invocation: CliContext, sink: str | None, as_json: bool) -> int:
    """What was set aside, of SINK or of all, and why."""
    config = invocation.config()
    from tconnectsync.queries.dead_letters import read_dead_letters

    letters = read_dead_letters(config, sink)
    for letter in letters:
        if as_json:
            print_json(letter)
        else:
            say(letter_words(letter))
    if not as_json:
        say(
            "Nothing is set aside."
            if not letters
            else "`tconnectsync dead-letters retry SINK [ID…]` tries again, `… drop SINK ID…` gives up on them."
        )
    return ExitStatus.DONE


@command.command("retry")
@click.argument("sink", type=SinkName())
@click.argument("ids", nargs=-1, metavar="[ID]...")
@common_options
@pass_invocation
def retry(invocation: CliContext, sink: str, ids: tuple[str, ...]) -> int:
    """Try dead letters of SINK again: those with these IDs, or all."""
    return perform(invocation, "dead_letters_retry", sink=sink, ids=list(ids) or None)


@command.command("drop")
@click.argument("sink", type=SinkName())
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All dead letters of this sink.")
@common_options
@pass_invocation
def drop(invocation: CliContext, sink: str, ids: tuple[str, ...], everything: bool) -> int:
    """Give up on dead letters of SINK: those with these IDs, or --all. They will not be sent."""
    if bool(ids) == everything:
        raise click.UsageError("say which: the IDs that `tconnectsync dead-letters list` shows, or --all")
    return perform(invocation, "dead_letters_drop", sink=sink, ids=None if everything else list(ids))


def letter_words(letter: Mapping[str, Any]) -> str:
    """A dead letter as two lines for people."""
    content = letter.get("content") or {}
    kind = content.get("eventType") or letter.get("collection")
    return (
        f"{letter.get('sink')}  {letter.get('id')}  {kind} of {letter.get('at')}, tried {counted(int(letter.get('attempts') or 0), 'time')}\n"
        f"    {letter.get('reason')}"
    )
