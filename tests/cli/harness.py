"""A command line without an engine: made-up plugins, fakes of the functions behind the commands, and the requests they got."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import click

from tconnectsync import Secret, SinkSpec, SourceSpec, hookimpl, option
from tconnectsync.cli.invocation import Invocation
from tconnectsync.jobs.messages import Progress, Request, Result
from tconnectsync.plugin.manager import Plugins, load_plugins
from tests.config.fake_plugins import FakeEntryPoint
from tests.support.clocks import FrozenClock

NOW = datetime(2025, 11, 18, 13, 12, tzinfo=timezone.utc)


@attrs.frozen(kw_only=True)
class AccountOptions:
    email: str | None = option(None, env=("TCONNECT_EMAIL",))
    password: Secret | None = option(None, env=("TCONNECT_PASSWORD",))


@attrs.frozen(kw_only=True)
class NoSinkOptions:
    """A sink without options."""


def made_up_plugin(command: str = "hello") -> ModuleType:
    """A source "pump", the sinks "site" and "paper" (off), and a command."""

    def sources() -> list[SourceSpec]:
        enabled: Callable[[Any], bool] = lambda options: options.email is not None  # noqa: E731
        return [SourceSpec(name="pump", options=AccountOptions, open=_never, enabled=enabled)]

    def sinks() -> list[SinkSpec]:
        return [
            SinkSpec(name="site", options=NoSinkOptions, open=_never, default_enabled=True, features={"SITE": None}),
            SinkSpec(name="paper", options=NoSinkOptions, open=_never, features={"PAPER": None}),
        ]

    def commands() -> list[click.Command]:
        return [click.Command(command, callback=lambda: click.echo("hi"), short_help="Say hi.")]

    module = ModuleType("made_up")
    for name, hook in (("sources", sources), ("sinks", sinks), ("commands", commands)):
        setattr(module, f"tconnectsync_{name}", hookimpl(hook))
    return module


def _never(options: object, context: object) -> Any:
    raise AssertionError("a command line opens nothing")


@attrs.define
class FakeApplication:
    """Replaces the functions behind the commands: records the requests, and gives the prepared answers."""

    answer: Any = attrs.field(factory=lambda: Result(status=0))
    documents: tuple[dict[str, Any], ...] = ()
    records: tuple[dict[str, Any], ...] = ()
    damages: tuple[Any, ...] = ()
    letters: tuple[dict[str, Any], ...] = ()
    findings: tuple[Any, ...] = ()
    status: dict[str, Any] = attrs.field(factory=dict)
    asked: list[Any] = attrs.field(factory=list)

    def execute(
        self, config: Any, plugins: Any, request: Request, *, clock: Any, replica: Any = None, pace: Any = None
    ) -> Iterator[Any]:
        self.asked.append((request.command, dict(request.args)))
        yield Progress(message="reading", done=1, total=2)
        if isinstance(self.answer, BaseException):
            raise self.answer
        yield self.answer

    def preview(self, config: Any, plugins: Any, *, clock: Any, **wanted: Any) -> Iterator[dict[str, Any]]:
        self.asked.append(("preview", wanted))
        yield from self.documents

    def run_daemon(self, load: Any, plugins: Any, *, clock: Any, watch: Any) -> int:
        assert watch(load(), False, ()) is None, "nothing is configured"
        self.asked.append(("run", load()))
        return 0

    def read_status(self, config: Any, *, clock: Any) -> dict[str, Any]:
        return self.status

    def read_events(self, config: Any, *, clock: Any, on_damage: Any, **wanted: Any) -> Iterator[dict[str, Any]]:
        self.asked.append(("events", wanted))
        for damage in self.damages:
            on_damage(damage)
        yield from self.records

    def read_dead_letters(self, config: Any, sink: str | None = None) -> list[dict[str, Any]]:
        self.asked.append(("dead-letters", sink))
        return list(self.letters)

    def run_check(self, config: Any, plugins: Any, *, clock: Any) -> Iterator[Any]:
        yield from self.findings


@attrs.define
class CommandResult:
    """The result of a command line."""

    status: int
    out: str
    err: str


@attrs.define
class CliHarness:
    """Runs command lines in ``folder``, which holds ``config.toml``."""

    folder: Path
    application: FakeApplication
    capture: Callable[[], tuple[str, str]]
    environ: dict[str, str]
    plugins: Plugins = attrs.field(factory=lambda: load_plugins([FakeEntryPoint("made-up", made_up_plugin())]))

    def run(self, *arguments: str) -> CommandResult:
        from tconnectsync.cli.root import run

        invocation = Invocation(
            environ=self.environ, clock=FrozenClock(NOW), system_file=self.folder / "none", plugins=self.plugins
        )
        status = run(arguments, invocation)
        return CommandResult(status, *self.capture())
