"""The environment variables of a command's options."""

from __future__ import annotations

from collections.abc import Iterator

import click


def variables_of_command(command: click.Command) -> Iterator[str]:
    """Yield the variables that the options of a command, and of the commands in its group, can be set with."""
    for parameter in command.params:
        given = parameter.envvar or ()
        yield from (given,) if isinstance(given, str) else given
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):  # a group may import its commands only now
            inner = command.get_command(context, name)
            if inner is not None:
                yield from variables_of_command(inner)
