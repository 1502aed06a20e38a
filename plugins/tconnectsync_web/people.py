"""The people whose data one web application shows: one configuration file for each."""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import click

from tconnectsync import TconnectsyncError
from tconnectsync_web.options import WebOptions
from tconnectsync_web.sync_cycles import Cycles, Outcome, at_intervals

if TYPE_CHECKING:  # the command line imports this module for every command
    from tconnectsync import CheckResult, GlucoseUnits, PumpLog, Zones

log = logging.getLogger("tconnectsync.web")


class NotSetUp(click.ClickException):
    """A setting is missing that a person must provide; restarting does not help."""

    exit_code = 2


class WebConfig(Protocol):
    """The part of the configuration that is used here."""

    @property
    def sections(self) -> Mapping[str, Any]:
        """The loaded sections by name."""

    @property
    def zones(self) -> Zones:
        """Where the wearer lives."""

    @property
    def data_dir(self) -> Path:
        """The data folder."""

    def problem_of(self, part: str) -> str | None:
        """Why a section cannot be used; None if it can."""


class CommandContext(Protocol):
    """What the command line passes to a plugin's command as click's context object."""

    def with_config(self, path: Path) -> CommandContext:
        """Return a context for another configuration file, which is not read yet."""

    def config(self) -> WebConfig:
        """Load the configuration. Errors: ConfigError."""

    def request(self, command: str) -> tuple[int, tuple[str, ...]]:
        """Run a command, here or in the daemon. Returns exit status and lines of output."""

    def read_status(self) -> dict[str, Any]:
        """The status, as printed by ``status --json``."""

    def dead_letters(self) -> list[dict[str, Any]]:
        """What ``dead-letters list --json`` prints."""

    def glucose_units(self) -> GlucoseUnits:
        """The units in which glucose is shown."""

    def open_log(self) -> PumpLog:
        """Open the event log for reading, for one thread."""

    def findings(self) -> Iterator[CheckResult]:
        """The findings of ``check``."""

    def redact(self, text: str) -> str:
        """Remove secrets from the text."""

    def serve(self) -> None:
        """Start to write log lines."""


@attrs.define(eq=False)
class Person:
    """One configuration and its data. ``others``: the people before; no two may have the same data folder."""

    name: str
    engine: CommandContext
    file: Path | None = None
    others: Sequence[Person] = ()
    cycles: Cycles = attrs.field(init=False)
    _lock: threading.RLock = attrs.field(factory=threading.RLock)
    _config: WebConfig | None = None

    def __attrs_post_init__(self) -> None:
        self.cycles = Cycles(self._cycle)

    def config(self) -> WebConfig:
        """Return the configuration. A broken one is read again each time. Errors: TconnectsyncError, OSError, NotSetUp."""
        with self._lock:
            if self._config is None:
                found = self.engine.config()
                for other in self.others:
                    if other.data_dir() == found.data_dir:
                        raise NotSetUp(
                            f"{self.file} has the same data folder as {other.file} ({found.data_dir}). Give each"
                            " configuration its own `data_dir`, then start the page again."
                        )
                self._config = found
            return self._config

    def data_dir(self) -> Path | None:
        """The data folder; None while the configuration is broken."""
        return None if self.problem() is not None else self.config().data_dir

    def problem(self) -> str | None:
        """Return why this person's data cannot be shown, in words, or None."""
        try:
            self.config()
        except click.ClickException as error:
            return error.format_message()
        except (TconnectsyncError, OSError) as error:
            remedy = getattr(error, "remedy", None)
            return self.engine.redact("\n".join(filter(None, (str(error), remedy))))
        return None

    def findings(self) -> Sequence[CheckResult]:
        """The findings of ``check``, without secrets."""
        redact = self.engine.redact
        return [
            attrs.evolve(each, what=redact(each.what), remedy=each.remedy and redact(each.remedy))
            for each in self.engine.findings()
        ]

    def start_interval(self, pause: Callable[[float], bool]) -> None:
        """Start cycles at the configured interval, if there is one, until ``pause`` returns True."""
        options = None if self.problem() is not None else self.config().sections.get("web")
        if options is not None and options.interval_mins:
            interval = (self.cycles, options.interval_mins * 60.0, pause)
            threading.Thread(target=at_intervals, args=interval, name="interval", daemon=True).start()

    def wait_for_cycle(self, timeout_s: float) -> None:
        """Wait for a running cycle. An interrupted one resumes at the next start."""
        running = self.cycles.running
        if running is not None:
            running.wait(timeout_s)

    def _cycle(self) -> Outcome:
        """Run one ``tconnectsync sync``. An error becomes its outcome."""
        try:
            status, lines = self.engine.request("sync")
        except Exception as error:  # the border of the thread: the next cycle must run
            log.exception("cycle_failed")
            status, lines = 1, (f"the cycle failed unexpectedly ({type(error).__name__}); the log has the details",)
        outcome = Outcome(status=int(status), lines=tuple(self.engine.redact(line) for line in lines))
        if outcome.status:
            log.warning("cycle_ended status=%d %s", outcome.status, " ".join(outcome.lines))
        return outcome


def people_of(engine: CommandContext, files: Sequence[Path]) -> list[Person]:
    """Return a person for each file; without files, for the configuration that every command uses."""
    if not files:
        return [Person("", engine)]
    people: list[Person] = []
    for name, file in zip(names_of(files), files, strict=True):
        people.append(Person(name, engine.with_config(file), file, tuple(people)))
    return people


def names_of(files: Sequence[Path]) -> list[str]:
    """Return a name for each file, for addresses: its own, else its folder's, else one with a number."""
    stems = Counter(_plain(file.stem) for file in files)
    names: list[str] = []
    for file in files:
        name = wanted = _plain(file.stem if stems[_plain(file.stem)] == 1 else file.absolute().parent.name)
        number = 2
        while name in names:
            name, number = f"{wanted}-{number}", number + 1
        names.append(name)
    return names


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:60] or "person"


@attrs.frozen(kw_only=True)
class Settings:
    """The ``[web]`` table that counts for the whole application, and the data folder that has its key and view link."""

    options: WebOptions
    data_dir: Path


def settings_of(people: Sequence[Person]) -> Settings:
    """Return the settings of the first person whose ``[web]`` has a secret, else of the first.

    Errors: those of the first configuration, if all are broken; NotSetUp if a broken configuration or ``[web]`` may have the only
    secret.
    """
    good = [person for person in people if person.problem() is None]
    if not good:
        people[0].config()
    usable = [person for person in good if "web" in person.config().sections]
    closed = [person for person in usable if person.config().sections["web"].secret is not None]
    if not closed:
        for person in people:
            if person not in good and may_have_secret(person.file):
                raise NotSetUp(
                    f"{person.file} cannot be used and seems to have the secret of the page; without it the page would be"
                    f" open. Nothing was started. {person.problem()}"
                )
            problem = None if person not in good else person.config().problem_of("web")
            if problem is not None:
                raise NotSetUp(
                    f"The table [web] cannot be used. Nothing was started. {problem} Then run `tconnectsync web` again."
                )
    chosen = [*closed, *usable][0].config()
    return Settings(options=chosen.sections["web"], data_dir=chosen.data_dir)


def may_have_secret(file: Path | None) -> bool:
    """Whether a configuration that cannot be used seems to protect the page."""
    try:
        text = "" if file is None else file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return False
    except OSError:
        return True
    lines = [line.strip() for line in text.splitlines()]
    return any(re.match(r"\[\s*web\s*\]|web\s*[.=]", line) for line in lines) and any(
        re.match(r"(web\s*\.\s*)?secret(_file)?\s*=|web\s*=.*secret", line) for line in lines
    )
