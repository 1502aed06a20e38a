"""The root command group. It imports a command when it runs, and loads plugins' commands when they are needed."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

import tconnectsync
from tconnectsync.cli import error_output as failures
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.legacy_flags import join_feature_names, legacy_options, perform_legacy
from tconnectsync.cli.output import is_dumb, say
from tconnectsync.cli.parameters import common_options, features_option
from tconnectsync.cli.standard_streams import OutputFailed, discard_output
from tconnectsync.errors import TconnectsyncError
from tconnectsync.exit_status import INTERRUPTED, MEANINGS, ExitStatus

COMMANDS = {
    "adopt": "Replace an older bridge's documents in Nightscout.",
    "alerts": "Test the notifications about problems: `alerts test`.",
    "backfill": "Fetch older days, or fetch days again.",
    "backup": "Copy the event log into one file.",
    "check": "Test the configuration, login, pumps, Nightscout, disk and clock.",
    "dead-letters": "Show, retry or drop documents that a receiver refused.",
    "events": "Print the pump's records from the event log.",
    "help": "Show what the program or one of its commands does.",
    "import": "Read saved files of pump data into the event log.",
    "init": "Create a configuration file and test it.",
    "log": "Check or repair the event log.",
    "plugins": "List the plugins, what they provide, and their problems.",
    "report": "Show time in range, insulin and carbs of the last days; --html writes a file for a clinic.",
    "replay": "Send everything again, for example after Nightscout lost its data.",
    "restore": "Restore a backup into an empty data folder.",
    "resume": "Continue after a sink or a source has stopped.",
    "run": "Run the daemon: fetch and deliver continuously.",
    "setup": "Ask for your accounts, test them, and start the service.",
    "status": "Show each step from the pump's phone to Nightscout, and what to do next.",
    "sync": "Fetch new data and deliver it once. The default command.",
    "verify": "Compare Nightscout with the event log; --repair corrects Nightscout.",
}
"""The commands of the engine, with their lines in the overview of ``--help``."""


def module_of(command: str) -> str:
    """Return the name of the module in ``cli.commands`` of a command."""
    return "import_files" if command == "import" else command.replace("-", "_")


class RootGroup(click.Group):
    """Imports a command's module only when that command is used."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, join_feature_names(args))

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
                    ("tconnectsync demo", "try it with a simulated pump and cloud; needs no account"),
                    ("sudo tconnectsync setup", "connect your accounts and start the service; asks for what it needs"),
                    ("tconnectsync check", "test your configuration and see what is wrong"),
                    ("tconnectsync sync --dry-run", "print the documents it would send, without sending them"),
                    ("tconnectsync run", "run continuously; the systemd service does this"),
                ]
            )
        with formatter.section("Configuration"):
            formatter.write_text(
                "The first of these that exists is read: --config FILE, $TCONNECTSYNC_CONFIG, "
                "~/.config/tconnectsync/config.toml, /etc/tconnectsync/config.toml. Environment variables alone are "
                "enough too: TCONNECT_EMAIL, TCONNECT_PASSWORD, TCONNECT_REGION, TIMEZONE_NAME, NS_URL, NS_SECRET."
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
@legacy_options
@click.pass_context
def root(ctx: click.Context, /, **older: Any) -> int:
    """Copy the data of a Tandem insulin pump from Tandem's cloud to Nightscout.

    A "source" fetches the pump's records into an event log on this computer. A "sink" sends one kind of data from the log to
    one receiver, such as Nightscout. Unofficial. Not a medical device. Not for dosing decisions.
    """
    if ctx.ensure_object(Invocation).environ.get("NO_COLOR") or is_dumb():
        ctx.color = False
    status = perform_legacy(ctx, ctx.ensure_object(Invocation), older)
    if status is not None:
        return status
    if ctx.invoked_subcommand is not None:
        return ExitStatus.DONE
    from tconnectsync.cli.commands.sync import command

    return int(ctx.invoke(command))


def run(arguments: Sequence[str], invocation: Invocation | None = None) -> int:
    """Run a command line and return the exit status. Errors are printed to stderr."""
    from tconnectsync.cli.logging_setup import start_logs

    invocation = invocation or Invocation()
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # do not fail if the terminal cannot show a character
            reconfigure(errors="replace")
    invocation.logs = start_logs(sys.stderr, invocation.environ)
    try:
        return _guarded(list(arguments), invocation)
    finally:
        invocation.logs.stop()


def _guarded(arguments: list[str], invocation: Invocation) -> int:
    try:
        status = root.main(arguments, prog_name="tconnectsync", obj=invocation, standalone_mode=False)
        sys.stdout.flush()
        return int(status or 0)
    except click.ClickException as error:
        words = io.StringIO()
        error.show(words)
        say(words.getvalue(), err=True, nl=False)
        return int(error.exit_code)  # 2 for wrong usage, 1 for other failures
    except (click.Abort, KeyboardInterrupt):
        say("Interrupted. Nothing is lost: run the command again to continue.", err=True)
        return INTERRUPTED
    except TconnectsyncError as error:
        return failures.report_error(error)
    except BrokenPipeError:  # the reader of the pipe has closed it
        discard_output()
        return invocation.status or int(ExitStatus.DONE)
    except OutputFailed as error:
        discard_output()
        with contextlib.suppress(OutputFailed, OSError):
            say(f"The output cannot be written: {error}. Stored data is not affected.", err=True)
        return invocation.status or int(ExitStatus.FAILED)
    except Exception as error:  # noqa: BLE001 - the outermost border: show a sentence, not a traceback
        return failures.report_storage_error(error, invocation) or failures.report_unexpected(error, invocation)


def _plugin_commands(ctx: click.Context) -> dict[str, Any]:
    invocation = ctx.find_object(Invocation)
    if invocation is None:
        return {}
    plugins = invocation.plugins(tolerant=True)
    commands = plugins.commands()
    for name in commands.keys() & COMMANDS.keys():
        plugins.problem(
            plugins.owner_of("commands", name), f'command "{name}" is ignored: the engine has a command of that name'
        )
    return {name: command for name, command in commands.items() if name not in COMMANDS}


def _no_such_command(ctx: click.Context, name: str, known: list[str]) -> NoReturn:
    from tconnectsync.config.error_words import did_you_mean

    words = f"there is no command {name!r}" + did_you_mean(name, known, "")
    invocation = ctx.find_object(Invocation)
    if invocation is not None:
        for plugin, message in invocation.plugins(tolerant=True).problems:
            words += f'\nPlugin "{plugin}" has a problem: {message}'
    raise click.UsageError(words, ctx)
