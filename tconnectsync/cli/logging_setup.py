"""Logging to stderr, without secrets: log lines for a service, only unexpected failures for a command.

A service writes one line per record (key=value); under systemd with journal priorities and without times. A command prints its
result itself, so it shows only unexpected failures. With ``-v`` it writes all lines, too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, TextIO
from urllib.parse import quote

import attrs

from tconnectsync.text.printable import one_line, printable

if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:
    _StreamHandler = logging.StreamHandler  # generic since Python 3.11

_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_SHORTEST_SECRET = 4
"""Shorter secrets are not removed: they would match many ordinary words."""


@attrs.define
class Redactor:
    """Removes secrets from texts, also in URL-quoted form, in reprs, and as the SHA-1 digest that Nightscout uses.

    Thread-safe. A text takes about as long with the secrets of thousands of people as with one person's: at each place it is
    compared with the secrets at once, by their length. Secrets that no longer count stay, until the process ends.
    """

    _secrets: set[str] = attrs.field(factory=set, repr=False)
    _lengths: dict[str, tuple[int, ...]] = attrs.field(factory=dict, repr=False)
    """How long the secrets are that begin so. A value is replaced, never changed: other threads read it."""
    _learning: threading.Lock = attrs.field(factory=threading.Lock, repr=False)

    def learn(self, secrets: Iterable[str]) -> None:
        """Remove these secrets, too, from now on."""
        from hashlib import sha1

        for secret in secrets:
            if len(secret) >= _SHORTEST_SECRET:
                digest = sha1(secret.encode()).hexdigest()
                for shape in (secret, quote(secret), quote(secret, safe=""), repr(secret)[1:-1], digest):
                    self._add(shape)

    def _add(self, shape: str) -> None:
        beginning = shape[:_SHORTEST_SECRET]
        with self._learning:
            self._secrets.add(shape)
            self._lengths[beginning] = tuple({*self._lengths.get(beginning, ()), len(shape)})

    def __call__(self, text: str) -> str:
        parts, shown_from = list[str](), 0
        for begin, end in self._found(text):
            parts += (text[shown_from:begin], "…")
            shown_from = end
        return "".join((*parts, text[shown_from:])) if parts else text

    def _found(self, text: str) -> list[tuple[int, int]]:
        """Return where secrets begin and end in a text. Secrets that overlap are one."""
        found: list[tuple[int, int]] = []
        for begin in range(len(text) - _SHORTEST_SECRET + 1) if self._lengths else ():
            for length in self._lengths.get(text[begin : begin + _SHORTEST_SECRET], ()):
                end = begin + length
                if text[begin:end] in self._secrets:
                    if found and begin < found[-1][1]:
                        first, last = found[-1]
                        found[-1] = first, max(last, end)
                    else:
                        found.append((begin, end))
        return found


def message_of(record: logging.LogRecord) -> str:
    """Return the record's message, even if its arguments do not fit."""
    try:
        return record.getMessage()
    except Exception as misfit:  # noqa: BLE001 - a log call with wrong arguments must not stop anything
        return f"{record.msg!s} (log arguments do not fit: {misfit})"


class LineFormatter(logging.Formatter):
    """Formats ``2025-11-18T18:15:02Z level=info logger=engine message`` on one line; tracebacks only if ``verbose``."""

    def __init__(self, redactor: Redactor, *, journal: bool) -> None:
        super().__init__()
        self.verbose = False
        self.shorten: Callable[[str], str] = str
        """What a service for several people also leaves out of each line and traceback."""
        self._redactor = redactor
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        message = message_of(record)
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            message = f'{message} error="{type(error).__name__}: {error}"'
        line = f"level={record.levelname.lower()} logger={record.name.removeprefix('tconnectsync.')} {message}"
        line = one_line(self.shorten(self._redactor(line)))
        if self.verbose and record.exc_info:
            steps = "".join(traceback.format_exception(*record.exc_info)).rstrip()
            line += "\n" + printable(self.shorten(self._redactor(steps)))
        if self._journal:
            return f"<{_PRIORITIES.get(record.levelno, 6)}>{line}"
        return f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(record.created))} {line}"


class CommandFormatter(logging.Formatter):
    """Formats an unexpected failure as a sentence."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        error = record.exc_info[1] if record.exc_info else None
        words = f"{type(error).__name__}: {error}" if error is not None else message_of(record)
        part = record.name.removeprefix("tconnectsync.")
        return one_line(
            self._redactor(f"Unexpected failure in {part} ({words}). Run the command with -v to see the details.")
        )


class LineHandler(_StreamHandler):
    """Writes lines. If that fails, it does not print the record with its arguments, as the standard handler does: they have secrets."""

    def emit(self, record: logging.LogRecord) -> None:
        line = one_line(f"level=error logger=logging a line of {record.pathname}:{record.lineno} could not be written")
        with contextlib.suppress(Exception):
            line = self.format(record)
        with contextlib.suppress(OSError, ValueError):  # this cannot be reported: the stream is full or closed
            self.stream.write(line + self.terminator)
            self.flush()


def is_unexpected(record: logging.LogRecord) -> bool:
    """Whether a record is about an unexpected failure. The command itself reports everything else."""
    return bool(record.exc_info)


@attrs.define(kw_only=True)
class Logs:
    """The logging of this process, from :func:`start_logs` to :meth:`stop`. It starts in the mode for commands."""

    redactor: Redactor
    handler: logging.Handler
    formatter: LineFormatter
    levels_before: dict[str | None, int]

    def redact(self, secrets: Iterable[str]) -> None:
        """Remove these secrets from every line from now on."""
        self.redactor.learn(secrets)

    @property
    def lines(self) -> bool:
        """Whether one line is written per record, as for a service."""
        return self.handler.formatter is self.formatter

    def shorten(self, text: Callable[[str], str]) -> None:
        """Write each line as this function returns it, from now on."""
        self.formatter.shorten = text

    def level(self, name: str) -> None:
        """Write lines from this level on ("debug", "info", "warning", "error"). If verbose, the level is always debug."""
        self.handler.setFormatter(self.formatter)
        self.handler.removeFilter(is_unexpected)
        logging.getLogger("tconnectsync").setLevel(logging.DEBUG if self.formatter.verbose else name.upper())

    def be_verbose(self) -> None:
        """Write all lines of tconnectsync, with tracebacks."""
        self.formatter.verbose = True
        self.level("debug")

    def stop(self) -> None:
        """Remove the handler and restore the previous levels."""
        logging.captureWarnings(False)
        logging.getLogger().removeHandler(self.handler)
        for name, level in self.levels_before.items():
            logging.getLogger(name).setLevel(level)


def start_logs(stream: TextIO, environ: Mapping[str, str]) -> Logs:
    """Log to ``stream`` in the mode for commands, until :meth:`Logs.level` switches to the lines of a service."""
    redactor = Redactor()
    formatter = LineFormatter(redactor, journal=_is_journal(stream, environ))
    handler = LineHandler(stream)
    handler.setFormatter(CommandFormatter(redactor))
    handler.addFilter(is_unexpected)
    root = logging.getLogger()
    before: dict[str | None, int] = {None: root.level, "tconnectsync": logging.getLogger("tconnectsync").level}
    logs = Logs(redactor=redactor, handler=handler, formatter=formatter, levels_before=before)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    logging.getLogger("tconnectsync").setLevel(logging.WARNING)
    return logs


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether systemd connected ``stream`` to the journal (``$JOURNAL_STREAM`` is device:inode)."""
    named = environ.get("JOURNAL_STREAM", "")
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{found.st_dev}:{found.st_ino}"
