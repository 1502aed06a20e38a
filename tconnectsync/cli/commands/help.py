"""``tconnectsync help``."""

from __future__ import annotations

import click

from tconnectsync.cli.output import echo
from tconnectsync.exit_status import ExitStatus


@click.command("help")
@click.argument("command", nargs=-1)
@click.pass_context
def command(ctx: click.Context, command: tuple[str, ...]) -> int:
    """Show what the program or one of its commands does.

    \b
    tconnectsync help status
    tconnectsync help log repair
    """
    context = ctx.parent or ctx
    for name in command:
        group = context.command
        if not isinstance(group, click.Group):
            raise click.UsageError(f"{context.command_path!r} has no commands of its own", context)
        found = group.resolve_command(context, [name])[1]
        context = click.Context(found, parent=context, info_name=name) if found else context
    echo(context.get_help())
    return int(ExitStatus.DONE)
