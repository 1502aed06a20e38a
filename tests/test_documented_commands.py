"""Every `tconnectsync …` that the documents tell people to type exists, with the options that it is given."""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click
import pytest

from tconnectsync.cli.root import root
from tconnectsync.plugin.manager import load_plugins
from tests.test_documents import DOCUMENTS

BLOCK = re.compile(r"^ *```(?:sh|cron)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`((?:sudo )?(?:\S*/)?tconnectsync [^`]*)`")
BEFORE = {"sudo", "exec", "tconnectsync"}
"""What may be before the program's name in a line that runs it, beside a path, a schedule and a variable."""
END = {"|", "||", "&&", ">", "2>&1", "2>&1)"}
PROGRAM = re.compile(r"(?:out=\$\()?(?:\S*/bin/)?tconnectsync")


def documented(path: Path) -> Iterator[Sequence[str]]:
    """Yield the words after the program's name in each command of a document."""
    text = path.read_text(encoding="utf-8")
    lines = "".join(BLOCK.findall(text)).replace("\\\n", " ").splitlines()
    inline = [line.replace("\n", " ") for line in INLINE.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL))]
    for line in [*lines, *inline]:
        words = shlex.split(line, comments=True)
        at = next((i for i, word in enumerate(words) if PROGRAM.fullmatch(word)), None)
        while at is not None and words[at + 1 : at + 2] == ["tconnectsync"]:
            at += 1  # the container's name, then the program's
        if at is None or not all(word in BEFORE or re.match(r"[*/=A-Z]", word) for word in words[:at]):
            continue
        rest = words[at + 1 :]
        yield rest[: next((i for i, word in enumerate(rest) if word in END), len(rest))]


@functools.cache
def plugin_commands() -> Mapping[str, click.Command]:
    """The commands that the bundled plugins add."""
    return load_plugins().commands()


def read_options(command: click.Command, words: Sequence[str]) -> None:
    """Parse a command line without running it. Raises click.UsageError if a command or an option does not exist."""
    context = click.Context(command)
    _, rest, _ = command.make_parser(context).parse_args(list(words))
    while rest and isinstance(command, click.Group):
        found = plugin_commands().get(rest[0]) if command is root else None
        found = found or command.get_command(context, rest[0])
        if found is None:
            raise click.UsageError(f"no such command: {rest[0]}")
        command, context = found, click.Context(found, parent=context)
        _, rest, _ = command.make_parser(context).parse_args(rest[1:])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documented_commands_exist(path: Path) -> None:
    """None of them has a command or an option that the program does not have."""
    for words in documented(path):
        if words and "…" not in words[0]:
            read_options(root, words)


def test_commands_are_found() -> None:
    """The search finds commands in text, in blocks, in cron lines and with plugins' names."""
    found = [words for path in DOCUMENTS for words in documented(path)]
    assert len(found) > 150
    for words in (
        ["status"],
        ["web"],
        ["adopt", "nightscout-treatments", "--dry-run"],
        ["status", "--exit-code", "--max-age", "3h"],
    ):
        assert words in [each[-len(words) :] for each in found]


def test_wrong_option_is_noticed() -> None:
    """An option or a command that does not exist fails."""
    for words in (["status", "--colour"], ["wash"]):
        with pytest.raises(click.UsageError):
            read_options(root, words)
