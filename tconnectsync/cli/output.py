"""All output of commands goes through here: control characters from outside never reach the terminal."""

from __future__ import annotations

import json
import os

import click

from tconnectsync.cli.standard_streams import OutputFailed
from tconnectsync.text.printable import printable, printable_json


def is_dumb() -> bool:
    """Whether the terminal shows control sequences as text."""
    return os.environ.get("TERM") == "dumb"


def say(text: str, *, err: bool = False, symbol: str = "", nl: bool = True) -> None:
    """Write a line to stdout, or to stderr with ``err``. ``symbol`` comes first, is trusted, and may be coloured."""
    echo(symbol + printable(text), err=err, nl=nl)


def print_json(value: object, *, indent: int | None = None) -> None:
    """Write one JSON value to stdout."""
    echo(printable_json(json.dumps(value, ensure_ascii=False, indent=indent, default=str)))


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Write trusted text as it is. Errors: BrokenPipeError, OutputFailed."""
    try:
        click.echo(text, err=err, nl=nl)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(error.strerror or str(error)) from error
