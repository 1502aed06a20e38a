"""Send a command's request to the engine, show its progress, and print its result."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.output import print_json, say
from tconnectsync.cli.progress import ProgressLine
from tconnectsync.exit_status import ExitStatus
from tconnectsync.text.plural import counted

if TYPE_CHECKING:
    from tconnectsync.jobs.messages import Result


def perform(invocation: Invocation, command: str, **arguments: Any) -> int:
    """Send a request to the engine, in this process or in the daemon; print the result and return the exit status."""
    result = ask(invocation, command, **arguments)
    return conclude(invocation, result.status, result.lines)


def ask(invocation: Invocation, command: str, **arguments: Any) -> Result:
    """Send a request to the engine, show its progress on stderr, and return its result."""
    from tconnectsync.jobs.messages import Notice, Progress

    with ProgressLine(stream=sys.stderr) as line:

        def show(step: Progress | Notice) -> None:
            if isinstance(step, Notice):
                line.clear()
                say(step.words, err=True)
            else:
                line.show(step.message, step.done, step.total)

        return invocation.perform(command, arguments, show)


def conclude(invocation: Invocation, status: int, lines: Iterable[str]) -> int:
    """Print the result: to stdout on success, else to stderr, where cron and systemd look for it."""
    invocation.status = int(status)
    printed = tuple(lines)
    for line in printed:
        say(line, err=status != ExitStatus.DONE)
    if not printed and status == ExitStatus.DONE and sys.stdout.isatty():
        say("Done. Everything is delivered.")
    return int(status)


def show_preview(invocation: Invocation, **wanted: Any) -> int:
    """Print what would be sent as one JSON object per line, then what would prevent it."""
    config, plugins = invocation.config(), invocation.plugins()
    from tconnectsync.jobs.messages import Result
    from tconnectsync.queries.preview import preview

    counts: Counter[str] = Counter()
    status = int(ExitStatus.DONE)
    lines: tuple[str, ...] = ()
    for step in preview(config, plugins, clock=invocation.clock, **wanted):
        if isinstance(step, Result):
            status, lines = step.status, step.lines
        else:
            counts[step.get("action", "put")] += 1
            print_json(step)
    for line in lines:
        say(line, err=True)
    if status != ExitStatus.USAGE:
        words = f"{counted(counts['put'], 'document')} would be sent"
        words += f", {counts['withdraw']:,} deleted" if counts["withdraw"] else ""
        words += f", {counts['set aside']:,} set aside" if counts["set aside"] else ""
        say(f"{words}. This was a preview: nothing was sent or written.", err=True)
    invocation.status = status
    return status
