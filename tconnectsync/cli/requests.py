"""Requests to whoever owns the data folder: shown while they are worked on, ended with their words and exit status."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import click

from tconnectsync.cli.exit_status import ExitStatus
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.progress import ProgressLine


def perform(invocation: Invocation, command: str, **arguments: Any) -> int:
    """Hand a request to the engine, here or in the daemon, and wait for its end."""
    config, plugins = invocation.config(), invocation.plugins()
    from tconnectsync import application

    request = application.Request(command=command, args=arguments)
    result: application.Result | None = None
    with ProgressLine(stream=sys.stderr) as line:
        for step in application.execute(config, plugins, request, clock=invocation.clock):
            if isinstance(step, application.Result):
                result = step
            else:
                line.show(step.message, step.done, step.total)
    if result is None:
        raise RuntimeError(f"the request {command!r} ended without a result")
    return conclude(invocation, result.status, result.lines)


def conclude(invocation: Invocation, status: int, lines: Iterable[str]) -> int:
    """Say how it ended: on stdout when all is well, on stderr otherwise, where cron and systemd look for it."""
    invocation.status = int(status)
    said = tuple(lines)
    for line in said:
        click.echo(line, err=status != ExitStatus.DONE)
    if not said and status == ExitStatus.DONE and sys.stdout.isatty():
        click.echo("Done; nothing is waiting.")
    return int(status)


def show_preview(invocation: Invocation, documents: Iterable[Mapping[str, Any]]) -> int:
    """Print documents that would be sent, one JSON object a line."""
    count = 0
    for document in documents:
        count += 1
        print_json(document)
    noun = "document" if count == 1 else "documents"
    click.echo(f"{count} {noun} would be sent; nothing was sent and nothing was written.", err=True)
    invocation.status = int(ExitStatus.DONE)
    return ExitStatus.DONE


def print_json(value: object, *, indent: int | None = None) -> None:
    """One JSON value on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=indent, default=str))
