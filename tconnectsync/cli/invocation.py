"""The context of one command: configuration, plugins, clock and logs, each created on first use."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from tconnectsync.clock import Clock, SystemClock
from tconnectsync.config.config_file import SYSTEM_FILE, Bootstrap, read_bootstrap
from tconnectsync.errors import ConfigError, LogCorrupt, TconnectsyncError
from tconnectsync.folder_owner import as_caller, become_owner_of

if TYPE_CHECKING:
    from tconnectsync.cli.logging_setup import Logs
    from tconnectsync.config.model import Config
    from tconnectsync.daemon.execute import Turn
    from tconnectsync.eventlog import LogEnd, Replica
    from tconnectsync.jobs.messages import Notice, Progress, Result
    from tconnectsync.plugin.manager import Plugins
    from tconnectsync.plugin.receiver import CheckResult
    from tconnectsync.python_api.pump_log import PumpLog
    from tconnectsync.text.glucose_units import GlucoseUnits

log = logging.getLogger("tconnectsync.cli")


@attrs.define(kw_only=True)
class Invocation:
    """One run of the command line. Everything outside the process is an argument, for tests."""

    environ: Mapping[str, str] = attrs.field(factory=lambda: os.environ, repr=False)
    clock: Clock = attrs.field(factory=SystemClock)
    system_file: Path = SYSTEM_FILE
    config_path: Path | None = None
    features: str | None = None
    verbose: bool = False
    logs: Logs | None = None
    prints_config_notes: bool = True
    """Whether notes about the configuration go to stderr. ``check`` lists them among its results instead."""
    replica: Replica | None = None
    """The shared copy of the event log, if several workers may run this person's data."""
    pace: Callable[[], None] = lambda: None
    """What a source calls before each request to its vendor."""
    status: int | None = None
    """The exit status, once it is known. A broken pipe while printing does not change it."""
    _plugins: Plugins | None = None
    _config: Config | None = None
    _warned: set[str] = attrs.field(factory=set)

    def plugins(self, *, tolerant: bool = False) -> Plugins:
        """Return the plugins. ``tolerant`` ignores an unreadable configuration file. Errors: ConfigError."""
        if self._plugins is None:
            from tconnectsync.plugin.manager import load_plugins

            try:
                bootstrap = read_bootstrap(self.config_path, self.environ, system_file=self.system_file)
            except ConfigError:
                if not tolerant:
                    raise
                bootstrap = Bootstrap()
            self._plugins = load_plugins(folder=bootstrap.plugins_dir, blocked=bootstrap.blocked_plugins)
        return self._plugins

    def config(self) -> Config:
        """Return the configuration, read once. Afterwards root works as the owner of the data folder. Errors: ConfigError."""
        if self._config is None:
            self._config = self.load_config()
            become_owner_of(self._config.data_dir)
        return self._config

    def with_config(self, path: Path) -> Invocation:
        """Return a context for another configuration file, which is not read yet. The logs are the same."""
        return Invocation(
            environ=self.environ,
            clock=self.clock,
            config_path=path,
            features=self.features,
            verbose=self.verbose,
            logs=self.logs,
        )

    def for_person(
        self, path: Path, *, data_dir: Path, replica: Replica | None, pace: Callable[[], None] = lambda: None
    ) -> Invocation:
        """Return a context for one of many people: only the file configures it, the plugins and logs are the same.

        ``data_dir`` replaces the file's. ``replica`` is the shared copy of the person's log. ``pace``: see the attribute.
        """
        person = Invocation(
            environ={"HOME": str(data_dir), "TCONNECTSYNC_DATA_DIR": str(data_dir)},
            clock=self.clock,
            config_path=path,
            logs=self.logs,
            replica=replica,
            pace=pace,
        )
        person._plugins = self.plugins(tolerant=True)
        return person

    @contextlib.contextmanager
    def resting_log(self, source: Path) -> Iterator[Path]:
        """Give a data folder that nobody else uses: ``source`` itself, locked, or the backup file ``source`` unpacked.

        Errors: DataDirLocked, RequestRefused, MachineTrouble.
        """
        from tconnectsync.eventlog import FolderLock
        from tconnectsync.eventlog.backup import restore

        if source.is_dir():
            become_owner_of(source)
            with FolderLock(source):
                yield source
        else:
            with tempfile.TemporaryDirectory(prefix="tconnectsync-") as folder:
                restore(source, Path(folder))
                yield Path(folder)

    def log_after(self, data_dir: Path, end: LogEnd, *, remedy: str) -> Iterator[tuple[bytes, LogEnd]]:
        """Yield what a log has after ``end``, in batches for a replica. Errors: RequestRefused, LogCorrupt, OSError."""
        from tconnectsync.eventlog.replica_transfer import batches_after

        yield from batches_after(data_dir, end, remedy=remedy)

    def has_all_of(self, replica: Replica, end: LogEnd, data_dir: Path) -> bool:
        """Whether the replica, which ends at ``end``, has all of the log in ``data_dir``. Errors: ReplicaFailed, OSError."""
        from tconnectsync.eventlog.replica import has_all_of
        from tconnectsync.filesystem import OsFiles

        return has_all_of(replica, end, data_dir / "log", OsFiles())

    def mark_older(self, data_dir: Path, since: datetime) -> None:
        """Mark the outboxes as older copies: everything that was delivered later was from ``since`` (UTC) on.

        Errors: MachineTrouble.
        """
        from tconnectsync.outbox.older_copy import mark_older

        mark_older(data_dir / "outbox", since)

    def back_up_replica(self, replica: Replica, target: Path) -> tuple[Path, int]:
        """Write a replica's log to a backup file; return its path and its last position.

        Errors: ReplicaFailed, LogCorrupt, RequestRefused, MachineTrouble.
        """
        from tconnectsync.eventlog.replica_transfer import back_up_replica

        made = back_up_replica(replica, target, clock=self.clock)
        return made.path, made.manifest.positions

    def known_config(self) -> Config | None:
        """Return the configuration if it was read already, else None."""
        return self._config

    def load_config(self, *, timezone: str | None = None) -> Config:
        """Read the configuration now, and remove its secrets from the logs from now on. Errors: ConfigError.

        ``timezone`` replaces the configured zone.
        """
        from tconnectsync.config.load import load_config

        with as_caller():  # on a reload the daemon already works as the owner of the data folder
            plugins = self.plugins()
            config = load_config(
                self.config_path,
                self.environ,
                plugins,
                features=self.features,
                system_file=self.system_file,
                timezone=timezone,
            )
        if self.logs is not None:
            self.logs.redact(config.secrets())
        for note in config.notes:
            self._warn("config_note", note)
        for part in config.unusable:
            self._warn("not_usable", part.words)
        for name, message in plugins.problems:
            self._warn("plugin_problem", f"plugin {name}: {message}")
        return config

    def dead_letters(self) -> list[dict[str, Any]]:
        """Return what ``dead-letters list --json`` prints. Errors: ConfigError."""
        config = self.config()
        from tconnectsync.queries.dead_letters import read_dead_letters

        return read_dead_letters(config)

    def glucose_units(self) -> GlucoseUnits:
        """Return the units in which glucose is shown: the configuration's, else the site's, else mg/dL. Errors: ConfigError."""
        config = self.config()
        from tconnectsync.queries.receiver_units import receiver_units

        return config.chosen_units or receiver_units(config.data_dir) or config.glucose_units

    def open_log(self) -> PumpLog:
        """Open the event log for reading, for one thread; close it afterwards. Errors: ConfigError, LogCorrupt, OSError."""
        config, plugins = self.config(), self.plugins()
        from tconnectsync.python_api.open_log import open_pump_log

        return open_pump_log(config, plugins, clock=self.clock)

    def serve(self, shorten: Callable[[str], str] = str) -> None:
        """Switch this process to a service: it writes log lines instead of sentences, and its threads share memory.

        ``shorten`` gets each line, and returns what is written.
        """
        from tconnectsync.runtime.memory_limit import share_one_heap

        share_one_heap()
        if self.logs is not None:
            self.logs.shorten(shorten)
            self.logs.level("warning")

    def perform(
        self, command: str, arguments: Mapping[str, Any], show: Callable[[Progress | Notice], None] = lambda _: None
    ) -> Result:
        """Send a request to the engine, in this process or in the daemon, and return its result. ``show`` gets the steps before."""
        config, plugins = self.config(), self.plugins()
        from tconnectsync.daemon.execute import execute
        from tconnectsync.jobs.messages import Request, Result

        result: Result | None = None
        for step in execute(
            config,
            plugins,
            Request(command=command, args=arguments),
            clock=self.clock,
            replica=self.replica,
            pace=self.pace,
        ):
            if isinstance(step, Result):
                result = step
            else:
                show(step)
        if result is None:
            raise RuntimeError(f"the request {command!r} ended without a result")
        return result

    def request(self, command: str, **arguments: Any) -> tuple[int, tuple[str, ...]]:
        """Send a request and print nothing; return exit status and lines, also for expected errors. For plugins' commands."""
        try:
            result = self.perform(command, arguments)
        except TconnectsyncError as error:
            from tconnectsync.jobs.messages import Result

            result = Result.of_error(error)
        finally:
            if command == "sync":
                self.report_problems()
        return result.status, result.lines

    def work(self, stops: Callable[[], bool]) -> Turn:
        """Do what is due now, and return when something is due again: see :func:`tconnectsync.daemon.execute.work`."""
        config, plugins = self.config(), self.plugins()
        from tconnectsync.daemon.execute import work

        try:
            turn = work(config, plugins, clock=self.clock, replica=self.replica, pace=self.pace, stops=stops)
        except (LogCorrupt, OSError):
            self.report_problems()  # a person of a fleet has nobody else who does
            raise
        self.report_problems()
        return attrs.evolve(turn, lines=tuple(map(self.redact, turn.lines)))

    def report_problems(self) -> None:
        """After a single cycle: send the notifications that are due, and call the heartbeat."""
        config = self.known_config()
        if config is not None and (config.alerts.urls or config.heartbeat.url is not None):
            from tconnectsync.queries.alert_watch import look_once

            look_once(config, clock=self.clock, redact=self.redact)

    def receiver_addresses(self) -> tuple[str, ...]:
        """Return the addresses to which the sinks that are on deliver; nothing is asked there. Errors: ConfigError."""
        config, plugins = self.config(), self.plugins()
        from tconnectsync.runtime.open_engine import open_sinks

        sinks = open_sinks(config, plugins, clock=self.clock, data_dir=config.data_dir)
        return tuple(sorted({sink.receiver.address for sink in sinks.values()}))

    def read_status(self) -> dict[str, Any]:
        """Return what ``status --json`` prints. Errors: ConfigError."""
        config = self.config()
        from tconnectsync.queries.status import read_status

        return read_status(config, clock=self.clock)

    def findings(self) -> Iterator[CheckResult]:
        """Yield the results of ``check``, one after the other. Errors: ConfigError."""
        config, plugins = self.config(), self.plugins()
        from tconnectsync.queries.check import run_check

        yield from run_check(config, plugins, clock=self.clock)

    def redact(self, text: str) -> str:
        """Return the text without the secrets of the configuration."""
        return text if self.logs is None else self.logs.redactor(text)

    def _warn(self, event: str, words: str) -> None:
        """Print or log a warning once: the daemon reads the configuration many times."""
        if words in self._warned:
            return
        self._warned.add(words)
        if self.logs is None or self.logs.lines:
            log.warning("%s %s", event, words)
        elif self.prints_config_notes:
            from tconnectsync.cli.output import say

            say(f"Note: {self.redact(words)}", err=True)
