"""Everything that a command writes for people goes through here: what comes from outside cannot command the terminal."""

from __future__ import annotations

import json

import click

from tconnectsync.text.printable import printable, printable_json


def say(text: str, *, err: bool = False, mark: str = "", nl: bool = True) -> None:
    """Write a line to stdout, or to stderr with ``err``. ``mark`` is ours, may be coloured, and comes first."""
    click.echo(mark + printable(text), err=err, nl=nl)


def print_json(value: object, *, indent: int | None = None) -> None:
    """One JSON value on stdout."""
    click.echo(printable_json(json.dumps(value, ensure_ascii=False, indent=indent, default=str)))
