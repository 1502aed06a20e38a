"""The flags of older releases on bare ``tconnectsync``. Each one runs a command of today."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, TypeVar

import click

from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.output import say
from tconnectsync.cli.parameters import Day, require_order

F = TypeVar("F", bound=Callable[..., Any])

LEGACY_FLAGS = {
    "auto_update": ("--auto-update", "run"),
    "check_login": ("--check-login", "check"),
    "pretend": ("--pretend", "sync --dry-run"),
    "start_date": ("--start-date", "backfill --from DATE"),
    "end_date": ("--end-date", "backfill --from DATE --to DATE"),
    "days": ("--days", "backfill --from DATE"),
}
"""Parameter name: the older flag, the command of today."""

_TOGETHER = {"start_date", "end_date"}
_REGION = "TCONNECT_REGION, or `region` under [sources.tandem]"


def _region(_ctx: click.Context, _parameter: click.Parameter, given: str | None) -> str | None:
    if given is not None and given.upper() not in {"US", "EU"}:
        raise click.BadParameter(f"found {given!r}, expected US or EU")
    return given and given.upper()


def legacy_options(function: F) -> F:
    """Add the older flags, hidden in the help; docs/user/older-settings.md lists them."""
    for option in (
        click.option("--region", callback=_region, hidden=True),
        click.option("--days", type=click.IntRange(1, 3650), hidden=True),
        click.option("--end-date", type=Day(), hidden=True),
        click.option("--start-date", type=Day(), hidden=True),
        click.option("--pretend", is_flag=True, hidden=True),
        click.option("--check-login", is_flag=True, hidden=True),
        click.option("--auto-update", is_flag=True, hidden=True),
    ):
        function = option(function)
    return function


def join_feature_names(arguments: list[str]) -> list[str]:
    """Rewrite ``--features A B`` as ``--features A,B``. Feature names are in capitals; no command is."""
    joined: list[str] = []
    words = iter(arguments)
    for word in words:
        if len(joined) >= 2 and joined[-2] == "--features" and word.isupper() and word[0] != "-":
            joined[-1] += f",{word}"
        else:
            joined.append(word)
    return joined


def perform_legacy(ctx: click.Context, invocation: Invocation, given: dict[str, Any]) -> int | None:
    """Run the command that older flags stand for; None without such flags. Errors: click.UsageError if they contradict."""
    region = given.pop("region", None)
    used = [name for name in LEGACY_FLAGS if given.get(name)]
    if ctx.invoked_subcommand is not None:
        if used or region:
            flag = LEGACY_FLAGS[used[0]][0] if used else "--region"
            hint = f"`tconnectsync {LEGACY_FLAGS[used[0]][1]}`" if used else _REGION
            raise click.UsageError(f"{flag} is an older flag and cannot be used with a command; use {hint}", ctx)
        return None
    if len(used) > 1 and set(used) != _TOGETHER:
        flags = " and ".join(LEGACY_FLAGS[name][0] for name in used)
        instead = " or ".join(f"`tconnectsync {LEGACY_FLAGS[name][1]}`" for name in used)
        raise click.UsageError(f"{flags} cannot be used together; nothing was done. Use one: {instead}", ctx)
    if used == ["end_date"]:
        raise click.UsageError(
            "--end-date needs --start-date; or use `tconnectsync backfill --from DATE --to DATE`", ctx
        )
    require_order(given["start_date"], given["end_date"], flag="--end-date")
    if region:
        invocation.environ = {**invocation.environ, "TCONNECT_REGION": region}
    if used:
        flag, instead = LEGACY_FLAGS[used[-1]]
        if set(used) == _TOGETHER:
            flag = "--start-date … --end-date"
        say(f"{flag} is the older name of `tconnectsync {instead}`", err=True)
    if region:
        say(f"--region is the older name of {_REGION}", err=True)
    return _perform(ctx, invocation, used[0], given) if used else None


def _perform(ctx: click.Context, invocation: Invocation, name: str, given: dict[str, Any]) -> int:
    if name == "auto_update":
        from tconnectsync.cli.commands.run import command as run

        return int(ctx.invoke(run))
    if name == "check_login":
        from tconnectsync.cli.commands.check import command as check

        return int(ctx.invoke(check, as_json=False))
    if name == "pretend":
        from tconnectsync.cli.commands.sync import command as sync

        return int(ctx.invoke(sync, dry_run=True))
    from zoneinfo import ZoneInfo

    from tconnectsync.cli.commands.backfill import command as backfill

    first: date | None = given["start_date"]
    if first is None:
        config, now = invocation.config(), invocation.clock.now()
        zone = ZoneInfo(config.zone_of(now.date()))
        first = now.astimezone(zone).date() - timedelta(days=given["days"])
    return int(ctx.invoke(backfill, first=first, last=given["end_date"]))
