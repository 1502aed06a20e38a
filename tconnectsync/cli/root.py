"""The command group: commands are imported when they run, plugins are asked for theirs when somebody wants to know."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

import tconnectsync
from tconnectsync.cli import error_output as failures
from tconnectsync.cli.invocation import CliContext
from tconnectsync.cli.legacy_flags import joined_features, older_options, perform_older
from tconnectsync.cli.output import say
from tconnectsync.cli.parameters import common_options, features_option
from tconnectsync.errors import TconnectsyncError
from tconnectsync.exit_status import INTERRUPTED, MEANINGS, ExitStatus

COMMANDS = {
    "adopt": "Replace what an older bridge wrote of the same facts by a sink's documents.",
    "backfill": "Fetch these days again, whatever was fetched before.",
    "backup": "Copy the event log into one file, also while the daemon runs.",
    "check": "Try everything: configuration, login, pumps, Nightscout's rights, disk, clock.",
    "dead-letters": "Documents that a receiver would not take: list, retry, drop.",
    "events": "Print what is in the event log.",
    "import": "Read files into the event log: what pumps logged, saved by other means.",
    "init": "Write a complete, commented configuration, after trying what is in it.",
    "log": "Check or repair the event log.",
    "plugins": "Which plugins run, what they bring, and what is wrong with the others.",
    "replay": "Send again what a sink delivered, as after Nightscout lost its database.",
    "restore": "Put a backup into an empty data folder.",
    "resume": "Let a sink or a source that stopped itself go on.",
    "run": "The daemon: sync for ever, at the pump's own rhythm.",
    "status": "How each link of the chain is doing, since when, and what to do next.",
    "sync": "One cycle: fetch what is new, deliver it, end. The default.",
    "verify": "Compare what a sink's site holds with the log; with --repair mend it.",
}
"""The commands that come with the engine, with their first lines for the overview."""


def module_of(command: str) -> str:
    """Which module of this package a command is in."""
    return "import_files" if command == "import" else command.replace("-", "_")


class RootGroup(click.Group):
    """Imports a command's module only when that command is asked for."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, joined_features(args))

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*COMMANDS, *_plugin_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            module = import_module(f"tconnectsync.cli.commands.{module_of(cmd_name)}")
            command: click.Command = module.command
            return command
        return _plugin_commands(ctx).get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            _no_such_command(ctx, name, self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        added = _plugin_commands(ctx)
        rows = [
            (name, COMMANDS[name] if name in COMMANDS else added[name].get_short_help_str(limit=90))
            for name in self.list_commands(ctx)
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("First steps"):
            formatter.write_dl(
                [
                    ("tconnectsync demo", "a simulated pump and cloud; needs no account"),
                    ("tconnectsync check", "tries your configuration and says what is wrong"),
                    ("tconnectsync sync --dry-run", "prints the documents it would send"),
                    ("tconnectsync run", "goes on for ever; the systemd unit runs this"),
                ]
            )
        with formatter.section("Configuration"):
            formatter.write_text(
                "--config FILE, else $TCONNECTSYNC_CONFIG, else ~/.config/tconnectsync/config.toml, else "
                "/etc/tconnectsync/config.toml; the environment alone is enough too (TCONNECT_EMAIL, "
                "TCONNECT_PASSWORD, TCONNECT_REGION, TIMEZONE_NAME, NS_URL, NS_SECRET)."
            )
        with formatter.section("Exit status"):
            formatter.write_dl([(str(int(status)), words) for status, words in MEANINGS.items()])


@click.group(
    cls=RootGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(tconnectsync.__version__, "--version", message="tconnectsync %(version)s")
@common_options
@features_option
@older_options
@click.pass_context
def root(ctx: click.Context, /, **older: Any) -> int:
    """Carry a Tandem insulin pump's data from Tandem's cloud to Nightscout.

    Sources write what the pump said into an event log; sinks keep Nightscout equal to it. Unofficial, no medical device, and
    not for dosing decisions.
    """
    status = perform_older(ctx, ctx.ensure_object(CliContext), older)
    if status is not None:
        return status
    if ctx.invoked_subcommand is not None:
        return ExitStatus.DONE
    from tconnectsync.cli.commands.sync import command

    return int(ctx.invoke(command))


def run(arguments: Sequence[str], invocation: CliContext | None = None) -> int:
    """Run a command line; answers the exit status. Everything that goes wrong is said on stderr."""
    from tconnectsync.cli.logging_setup import start_logs

    invocation = invocation or CliContext()
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # a terminal that cannot show a character is no reason to fail
            reconfigure(errors="replace")
    invocation.logs = start_logs(sys.stderr, invocation.environ)
    try:
        return _guarded(list(arguments), invocation)
    finally:
        invocation.logs.stop()


def _guarded(arguments: list[str], invocation: CliContext) -> int:
    try:
        status = root.main(arguments, prog_name="tconnectsync", obj=invocation, standalone_mode=False)
        sys.stdout.flush()
        return int(status or 0)
    except click.ClickException as error:
        words = io.StringIO()
        error.show(words)
        say(words.getvalue(), err=True, nl=False)
        return int(error.exit_code)  # 2 for usage, 1 for what is no mistake of whoever typed it
    except (click.Abort, KeyboardInterrupt):
        say("Interrupted. Nothing is lost: the next run goes on from here.", err=True)
        return INTERRUPTED
    except TconnectsyncError as error:
        return failures.tell(error)
    except BrokenPipeError:
        # whoever read the output has enough; Python would complain once more when it flushes at exit
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return invocation.status or int(ExitStatus.DONE)
    except PermissionError as error:
        return failures.tell_forbidden(error) if error.filename else failures.tell_unexpected(error, invocation)
    except OSError as error:
        from tconnectsync.disk_check import disk_remedy

        remedy = disk_remedy(error)
        return failures.tell_disk(error, remedy) if remedy else failures.tell_unexpected(error, invocation)
    except Exception as error:  # noqa: BLE001 - the last border: a person gets a sentence
        return failures.tell_unexpected(error, invocation)


def _plugin_commands(ctx: click.Context) -> dict[str, Any]:
    invocation = ctx.find_object(CliContext)
    if invocation is None:
        return {}
    plugins = invocation.plugins(tolerant=True)
    commands = plugins.commands()
    for name in commands.keys() & COMMANDS.keys():
        plugins.problem(
            plugins.owner_of("commands", name), f'command "{name}": this name is taken by the engine; it is not used'
        )
    return {name: command for name, command in commands.items() if name not in COMMANDS}


def _no_such_command(ctx: click.Context, name: str, known: list[str]) -> NoReturn:
    from tconnectsync.config.messages import nearest

    meant = nearest(name, known)
    words = f"there is no command {name!r}" + (f"; did you mean {meant!r}?" if meant else "")
    invocation = ctx.find_object(CliContext)
    if invocation is not None:
        for plugin, message in invocation.plugins(tolerant=True).problems:
            words += f'\nPlugin "{plugin}" has a problem: {message}'
    raise click.UsageError(words, ctx)
