"""The course of ``setup``: what is there already, the questions, the files, the service, the first sync."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import attrs
import click

from tconnectsync.cli.init.legacy_settings import FEATURES, feature_tables, older_settings, selected_pump
from tconnectsync.cli.init.new_file import all_or_nothing
from tconnectsync.cli.init.questions import AnswerFinder, host_zone
from tconnectsync.cli.init.set_option import with_settings
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.output import say
from tconnectsync.cli.setup.answer_check import Answers, load_answers
from tconnectsync.cli.setup.first_sync import SyncState, wait_for_sync
from tconnectsync.cli.setup.interview import Given, Interview
from tconnectsync.cli.setup.paths import SetupPaths, own_paths, service_paths
from tconnectsync.cli.setup.service import NoService, Service
from tconnectsync.cli.setup.write_config import write_configuration
from tconnectsync.exit_status import INTERRUPTED, ExitStatus
from tconnectsync.folder_owner import as_owner_of

_WELCOME = """Setup of tconnectsync: four groups of questions. Every answer is tested immediately.
Nothing is written before the end. Ctrl+C stops."""


@attrs.frozen(kw_only=True)
class SetupOptions:
    """The flags of ``setup``."""

    given: Given
    from_env: Path | None
    settings: tuple[str, ...]
    terminal: bool
    """Whether a person can be asked."""
    force: bool
    test: bool
    start: bool
    for_user: bool
    limit: timedelta

    @property
    def has_values(self) -> bool:
        """Whether a flag says something about the configuration."""
        return self.given != Given() or self.from_env is not None or bool(self.settings)


def choose_paths(invocation: Invocation, service: Service | NoService, *, for_user: bool) -> SetupPaths:
    """Return where the files go. Errors: click.UsageError if the service needs root."""
    from tconnectsync.config.config_file import find_config, home_folder

    named = invocation.config_path or (
        find_config(None, invocation.environ) if invocation.environ.get("TCONNECTSYNC_CONFIG") else None
    )
    if named is not None:
        return own_paths(Path.cwd() / named)
    if os.geteuid() == 0 and not for_user:
        return service_paths(invocation.system_file)
    if isinstance(service, Service) and not for_user:
        raise click.UsageError(
            "The service needs root: run `sudo tconnectsync setup`. Without the service, for this user only:"
            " `tconnectsync setup --user`. Nothing was written."
        )
    return own_paths(home_folder(invocation.environ) / ".config/tconnectsync/config.toml")


def needs_answers(paths: SetupPaths, options: SetupOptions) -> bool:
    """Whether a new configuration is written. Errors: click.UsageError for flags that contradict an existing one."""
    if options.force or not os.path.lexists(paths.config):
        return True
    if options.has_values:
        raise click.UsageError(f"{paths.config} exists already: use --force to replace it. Nothing was written.")
    say(f"There is a configuration already: {paths.config}")
    return options.terminal and not click.confirm("Keep it? (n: answer everything again)", default=True)


def configure(invocation: Invocation, paths: SetupPaths, options: SetupOptions) -> int:
    """Ask, test and write. Return the exit status; other than DONE, nothing was written."""
    try:
        with _ended_by_signals(), all_or_nothing("setup"):
            answers = _answers(invocation, paths, options)
            if answers is None:
                say("Nothing was written. Correct what is BAD and run the command again.", err=True)
                return int(ExitStatus.DIFFERENT)
            load_answers(invocation, answers)
            write_configuration(invocation, paths, answers)
    except (click.Abort, KeyboardInterrupt):
        say("\nStopped. Nothing was written. To begin again: tconnectsync setup", err=True)
        return INTERRUPTED
    say(f"\nWritten: {paths.config}. The secrets are in {paths.secrets_folder}, and only the owner can read them.")
    return int(ExitStatus.DONE)


def _answers(invocation: Invocation, paths: SetupPaths, options: SetupOptions) -> Answers | None:
    if options.terminal:
        say(_WELCOME)
    from_env = options.from_env
    if from_env is None and options.terminal:
        from_env = _offered_older_file(invocation)
    old = older_settings(invocation, from_env)
    tables = with_settings(invocation, options.settings, feature_tables(invocation, old.get(FEATURES, "")))
    begin = Answers(
        pump=selected_pump(old),
        verify_tls=old.get("NS_SKIP_TLS_VERIFY", "").strip().lower() not in {"1", "true", "yes", "on"},
        tables=tables,
    )
    finder = AnswerFinder(old, options.terminal, paths.config)
    here = host_zone(invocation.environ)
    return Interview(invocation, finder, options.given, here, test=options.test).run(begin)


def _offered_older_file(invocation: Invocation) -> Path | None:
    """Look for an older bridge's settings, also in the home of the user behind ``sudo``; return the file if it shall be used."""
    from tconnectsync.config.config_file import find_legacy_settings

    environ = invocation.environ
    older = find_legacy_settings(environ)
    name = environ.get("SUDO_USER", "")
    if older is None and name and os.geteuid() == 0:
        import pwd

        with contextlib.suppress(KeyError):
            older = find_legacy_settings({**environ, "HOME": pwd.getpwnam(name).pw_dir})
    if older is None:
        return None
    say(f"\nFound the settings of an older bridge: {older}")
    say("If that bridge still runs, stop it: two bridges on one site show every dose twice.")
    return older if click.confirm("Use these settings? You are asked for what is missing", default=True) else None


def start(invocation: Invocation, paths: SetupPaths, service: Service | NoService, limit: timedelta) -> int:
    """Start the service and wait for the first sync, or sync once without a service. Return the exit status."""
    invocation.config_path = paths.config
    if isinstance(service, Service) and paths.service:
        return _start_service(invocation, service, limit)
    from tconnectsync.cli.engine_requests import perform

    say("Fetching and sending …")
    return perform(invocation, "sync")


def say_how_to_run(paths: SetupPaths, service: Service | NoService) -> None:
    """Print how to run the daemon, if the service does not."""
    if isinstance(service, Service) and paths.service:
        return
    if isinstance(service, NoService):
        say(f"\n{service.reason}, so nothing was started. {service.remedy}".rstrip())
    say(
        f"\nRun the daemon: tconnectsync --config {shlex.quote(str(paths.config))} run\n"
        "It must run all the time, also after a restart of the computer: docs/user/services.md shows how (supervisord, cron)."
    )


def _start_service(invocation: Invocation, service: Service, limit: timedelta) -> int:
    say("Starting the service …")
    trouble = service.start()
    if trouble is not None:
        say(f"The service did not start: {trouble}", err=True)
        say(
            "The configuration is written. See why: `sudo journalctl -u tconnectsync -n 30`. Then run `sudo tconnectsync setup`"
            " again.",
            err=True,
        )
        return int(ExitStatus.FAILED)
    say("The service runs, and starts again with the computer. Waiting for a complete sync (Ctrl+C does not stop it) …")
    config = invocation.load_config()
    from tconnectsync.queries.status import read_status

    def look() -> dict[str, Any]:
        with as_owner_of(config.data_dir):
            return read_status(config, clock=invocation.clock)

    try:
        state = wait_for_sync(look, invocation.clock, limit=limit, alive=service.is_running)
    except KeyboardInterrupt:
        state = SyncState.RUNNING
    if state is SyncState.RUNNING:
        say("The sync is not complete yet. It continues by itself. To see how far it is: sudo tconnectsync status")
    if state is SyncState.ENDED:
        say("The service has stopped. See why: `sudo journalctl -u tconnectsync -n 30`", err=True)
    return int(ExitStatus.DONE if state in (SyncState.DONE, SyncState.RUNNING) else ExitStatus.DIFFERENT)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A closed terminal or a request to end counts as Ctrl+C, so that temporary files are deleted."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
