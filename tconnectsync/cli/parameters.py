"""Options and argument types that several commands share."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tconnectsync.cli.invocation import Invocation
from tconnectsync.text.durations import parse_duration

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from tconnectsync.plugin.manager import Plugins

    DayType = click.ParamType[date]
    NameType = click.ParamType[str]
    SpanType = click.ParamType[timedelta]
else:  # not generic classes in older releases of click
    DayType = NameType = SpanType = click.ParamType

F = TypeVar("F", bound=Callable[..., Any])

_YEARS = range(2000, 2100)
"""Accepted years: a date outside is a typing mistake."""

pass_invocation = click.make_pass_decorator(Invocation)


class Day(DayType):
    """A day as YYYY-MM-DD."""

    name = "day"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        del param, ctx
        return "DATE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        if isinstance(value, date):
            return value
        try:
            # the only form of ISO 8601 that every Python version reads
            day = datetime.strptime(value.strip(), "%Y-%m-%d").date()
        except ValueError:
            self.fail(f"found {value!r}, expected a day such as 2025-06-01", param, ctx)
        if day.year not in _YEARS:
            self.fail(f"found {value!r}, expected a day between {_YEARS[0]} and {_YEARS[-1]}", param, ctx)
        return day


class Duration(SpanType):
    """A duration: a number and its unit, such as 90m, 3h or 2d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = parse_duration(value)
        if found is None:
            self.fail(f"found {value!r}, expected a number and its unit: 90m, 3h or 2d", param, ctx)
        return found


class WritePath(click.Path):
    """The path of a file to write. A name that ends with / is a folder, which must exist."""

    def __init__(self, *, dir_okay: bool = True) -> None:
        super().__init__(path_type=Path, dir_okay=dir_okay)

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        text = os.fspath(value)
        if text.endswith("/") and not os.path.isdir(text):  # noqa: PTH112 (is_dir raises in a folder that may not be read)
            self.fail(
                f"there is no folder {text}. Nothing was written."
                f" Connect the stick or the share, or create the folder: `mkdir -p {shlex.quote(text)}`.",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


class PartName(NameType):
    """The name of a source or sink of an installed plugin.

    ``groups``: also the beginning of the names of several sinks, such as ``nightscout``, which stands for all of them.
    """

    name = "source or sink"

    def __init__(self, *, groups: bool = False) -> None:
        self._groups = groups

    def known(self, plugins: Plugins) -> list[str]:
        """Return the names of all parts."""
        return sorted([*plugins.sources(), *plugins.sinks()])

    def choices(self, plugins: Plugins) -> list[str]:
        """Return the names to choose from."""
        names = self.known(plugins)
        return sorted({*names, *(name.partition("-")[0] for name in names)}) if self._groups else names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from tconnectsync.config.error_words import did_you_mean

        text = str(value)
        invocation = ctx.find_object(Invocation) if ctx else None
        known = self.choices(invocation.plugins()) if invocation else [text]
        if text not in known:
            self.fail(f"there is no {self.name} {text!r}{did_you_mean(text, known)}", param, ctx)
        return text

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        del param
        names = self.choices((ctx.find_object(Invocation) or Invocation()).plugins(tolerant=True))
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class SinkName(PartName):
    """The name of a sink of an installed plugin."""

    name = "sink"

    def known(self, plugins: Plugins) -> list[str]:
        return sorted(plugins.sinks())


def _remember_config(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.ensure_object(Invocation).config_path = value


def _remember_verbose(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        invocation = ctx.ensure_object(Invocation)
        invocation.verbose = True
        if invocation.logs is not None:
            invocation.logs.be_verbose()


def _remember_features(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Invocation).features = value


def common_options(function: F) -> F:
    """``--config FILE`` and ``-v``, before or after the command's name."""
    config = click.option(
        "--config",
        type=click.Path(path_type=Path, readable=False),  # reading it gives a better message
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=_remember_config,
        help="Read this configuration file.",
    )
    verbose = click.option(
        "-v",
        "--verbose",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_remember_verbose,
        help="Show all log lines, with details of failures.",
    )
    return config(verbose(function))


def features_option(function: F) -> F:
    """``--features A,B``: older bridges' feature names."""
    return click.option(
        "--features",
        metavar="NAMES",
        expose_value=False,
        callback=_remember_features,
        help="Feature names of older releases, separated by commas. All other sinks are off.",
    )(function)


def day_options(*, required: bool) -> Callable[[F], F]:
    """Add ``--from`` and ``--to``, passed as ``first`` and ``last``."""

    def decorate(function: F) -> F:
        first = click.option("--from", "first", type=Day(), required=required, help="First day, YYYY-MM-DD.")
        last = click.option("--to", "last", type=Day(), help="Last day, included. Default: until now.")
        return first(last(function))

    return decorate


def require_order(first: date | None, last: date | None, *, flag: str = "--to") -> None:
    """Refuse a range that ends before it begins, as a usage error of ``flag``."""
    if first is not None and last is not None and last < first:
        raise click.BadParameter(f"{last} is before the first day, {first}", param_hint=flag)


def iso(day: date | None) -> str | None:
    """Format a day for a request."""
    return None if day is None else day.isoformat()
