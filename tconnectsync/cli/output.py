"""All output of commands goes through here: control characters from outside never reach the terminal."""

from __future__ import annotations

import json
import os

import click

from tconnectsync.text.printable import printable, printable_json


def is_dumb() -> bool:
    """Whether the terminal shows control sequences as text."""
    return os.environ.get("TERM") == "dumb"


def say(text: str, *, err: bool = False, symbol: str = "", nl: bool = True) -> None:
    """Write a line to stdout, or to stderr with ``err``. ``symbol`` comes first, is trusted, and may be coloured."""
    click.echo(symbol + printable(text), err=err, nl=nl)


def print_json(value: object, *, indent: int | None = None) -> None:
    """Write one JSON value to stdout."""
    click.echo(printable_json(json.dumps(value, ensure_ascii=False, indent=indent, default=str)))
