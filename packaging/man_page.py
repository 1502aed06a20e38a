"""Prints the manual page tconnectsync(1), made from the command line itself:  python packaging/man_page.py > tconnectsync.1"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator

import click

import tconnectsync
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.root import root
from tconnectsync.exit_status import MEANINGS

FILES = (
    ("/etc/tconnectsync/config.toml", "the configuration of the service"),
    ("~/.config/tconnectsync/config.toml", "the configuration of a user"),
    ("/etc/credstore/tconnectsync.*", "the password and the API secret of the service"),
    ("/var/lib/tconnectsync", "the event log and everything that is derived from it"),
)


def quoted(text: str) -> str:
    """Escape text for troff. A line that begins with a dot or a quote would be a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = re.sub(r"^(?=[.'])", r"\\&", text, flags=re.MULTILINE)
    return re.sub(r"[^\x00-\x7f]", lambda found: f"\\[u{ord(found[0]):04X}]", text)


def paragraphs(text: str) -> Iterator[str]:
    """Yield a docstring's paragraphs as troff; a block that click shows unwrapped (``\\b``) stays unwrapped."""
    for block in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        unwrapped = re.match(r"\x08\s*\n", block)
        if unwrapped:
            yield f".PP\n.nf\n{quoted(block[unwrapped.end() :])}\n.fi"
        else:
            yield f".PP\n{quoted(' '.join(block.split()))}"


def options(command: click.Command, ctx: click.Context) -> Iterator[str]:
    """Yield a command's options, each as one tagged paragraph."""
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None:
            yield f".TP\n.B {quoted(record[0])}\n{quoted(record[1])}"


def commands(group: click.Group, ctx: click.Context, above: str = "") -> Iterator[str]:
    """Yield each command of a group as a subsection, with the commands below it."""
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=ctx, obj=ctx.obj)
        words = f"{above}{name}"
        usage = " ".join(command.collect_usage_pieces(inner))
        yield f'.SS "tconnectsync {quoted(words)} {quoted(usage)}"'
        yield from paragraphs(command.help or command.short_help or "")
        yield from options(command, inner)
        if isinstance(command, click.Group):
            yield from commands(command, inner, f"{words} ")


def page() -> str:
    """Return the whole page."""
    ctx = click.Context(root, info_name="tconnectsync", obj=Invocation(environ={}))
    lines = [
        f'.TH TCONNECTSYNC 1 "" "tconnectsync {tconnectsync.__version__}" "User Commands"',
        ".SH NAME\ntconnectsync \\- copy the data of a Tandem insulin pump to Nightscout",
        ".SH SYNOPSIS\n.B tconnectsync\n[OPTION]... COMMAND [ARGUMENT]...",
        ".SH DESCRIPTION",
        *paragraphs(root.help or ""),
        ".SH OPTIONS",
        *options(root, ctx),
        ".SH COMMANDS",
        *commands(root, ctx),
        ".SH FILES",
        *(f".TP\n.I {quoted(path)}\n{quoted(what)}" for path, what in FILES),
        ".SH EXIT STATUS",
        *(f".TP\n.B {int(status)}\n{quoted(what)}" for status, what in MEANINGS.items()),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # a text file, whatever the locale
    print(page(), end="")
