"""What every command needs and few need all of: configuration, plugins, clock and logs, each made when first asked for."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from tconnectsync.clock import Clock, SystemClock
from tconnectsync.config.file import SYSTEM_FILE, Bootstrap, read_bootstrap
from tconnectsync.errors import ConfigError, TconnectsyncError
from tconnectsync.folder_owner import as_caller, become_owner_of

if TYPE_CHECKING:
    from tconnectsync.cli.logging_setup import Logs
    from tconnectsync.config.model import Config
    from tconnectsync.plugin.manager import Plugins
    from tconnectsync.plugin.receiver import CheckResult

log = logging.getLogger("tconnectsync.cli")


@attrs.define(kw_only=True)
class CliContext:
    """One run of the command line. Everything outside the process is an argument, for tests."""

    environ: Mapping[str, str] = attrs.field(factory=lambda: os.environ, repr=False)
    clock: Clock = attrs.field(factory=SystemClock)
    system_file: Path = SYSTEM_FILE
    config_path: Path | None = None
    features: str | None = None
    verbose: bool = False
    logs: Logs | None = None
    tells_notes: bool = True
    """Whether remarks on the configuration are told on stderr; ``check`` has them among what it finds."""
    status: int | None = None
    """The exit status, once it is known: a pipe that breaks while words are printed does not change it."""
    _plugins: Plugins | None = None
    _config: Config | None = None
    _warned: set[str] = attrs.field(factory=set)

    def plugins(self, *, tolerant: bool = False) -> Plugins:
        """The plugins; ``tolerant`` takes an unreadable configuration file for none. Errors: ConfigError."""
        if self._plugins is None:
            from tconnectsync.plugin.manager import load_plugins

            try:
                bootstrap = read_bootstrap(self.config_path, self.environ, system_file=self.system_file)
            except ConfigError:
                if not tolerant:
                    raise
                bootstrap = Bootstrap(origin=None)
            self._plugins = load_plugins(folder=bootstrap.plugins_dir, blocked=bootstrap.blocked_plugins)
        return self._plugins

    def config(self) -> Config:
        """The configuration, read once. From then on root works as the owner of its data folder. Errors: ConfigError."""
        if self._config is None:
            self._config = self.load_config()
            become_owner_of(self._config.data_dir)
        return self._config

    def known_config(self) -> Config | None:
        """The configuration if it has been read."""
        return self._config

    def load_config(self) -> Config:
        """The configuration, read now; its secrets are kept out of the logs from here on. Errors: ConfigError."""
        from tconnectsync.config.load import load_config

        with as_caller():  # a daemon that reads it again may have become the owner of its folder
            plugins = self.plugins()
            config = load_config(
                self.config_path, self.environ, plugins, features=self.features, system_file=self.system_file
            )
        if self.logs is not None:
            self.logs.redact(config.secrets())
        for note in config.notes:
            self._warn("config_note", note)
        for name, message in plugins.problems:
            self._warn("plugin_problem", f"plugin {name}: {message}")
        return config

    def serve(self) -> None:
        """From here on this process is a service: it writes log lines, not words for a person at a terminal."""
        if self.logs is not None:
            self.logs.level("warning")

    def request(self, command: str, **arguments: Any) -> tuple[int, tuple[str, ...]]:
        """Have whoever owns the data folder do this, and say nothing: exit status and words, also of expected errors."""
        from tconnectsync.daemon.execute import execute
        from tconnectsync.jobs.messages import Request, Result

        asked = Request(command=command, args=arguments)
        try:
            for step in execute(self.config(), self.plugins(), asked, clock=self.clock):
                if isinstance(step, Result):
                    return step.status, step.lines
        except TconnectsyncError as error:
            return int(error.exit_status), tuple(line for line in (error.message, error.remedy) if line)
        raise RuntimeError(f"the request {command!r} ended without a result")

    def read_status(self) -> dict[str, Any]:
        """The shape that ``status --json`` prints. Errors: ConfigError."""
        config = self.config()
        from tconnectsync.queries.status import read_status

        return read_status(config, clock=self.clock)

    def findings(self) -> Iterator[CheckResult]:
        """What ``check`` finds, one after the other. Errors: ConfigError."""
        config, plugins = self.config(), self.plugins()
        from tconnectsync.queries.check import run_check

        yield from run_check(config, plugins, clock=self.clock)

    def redact(self, text: str) -> str:
        """The text without the secrets that the configuration holds."""
        return text if self.logs is None else self.logs.redactor(text)

    def _warn(self, event: str, words: str) -> None:
        """A warning, once: the daemon reads the configuration again and again."""
        if words in self._warned:
            return
        self._warned.add(words)
        if self.logs is None or self.logs.lines:
            log.warning("%s %s", event, words)
        elif self.tells_notes:
            from tconnectsync.cli.output import say

            say(f"Note: {self.redact(words)}", err=True)
