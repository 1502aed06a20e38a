"""Log lines: one per record, no secrets, fit for the journal."""

from __future__ import annotations

import hashlib
import io
import itertools
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tconnectsync.cli.logging_setup import Logs, Redactor, start_logs

log = logging.getLogger("tconnectsync.engine")


@pytest.fixture
def stream() -> io.StringIO:
    """Where the log lines go."""
    return io.StringIO()


@pytest.fixture
def logs(stream: io.StringIO) -> Iterator[Logs]:
    """Logs at level info; stopped after the test."""
    started = start_logs(stream, {})
    started.level("info")
    yield started
    started.stop()


def test_a_line_has_time_level_logger_and_message(logs: Logs, stream: io.StringIO) -> None:
    log.info("polled source=%s new=%d", "tandem", 3)
    when, _, rest = stream.getvalue().partition(" ")
    assert len(when) == len("2025-11-18T18:15:02Z")
    assert rest == "level=info logger=engine polled source=tandem new=3\n"


def test_secrets_are_taken_out_in_every_shape(logs: Logs, stream: io.StringIO) -> None:
    secret = "pa ss/wö'rd"
    logs.redact([secret])
    digest = hashlib.sha1(secret.encode()).hexdigest()
    log.warning("a=%s b=%r c=%s d=%s", secret, secret, "https://x/?t=pa%20ss/w%C3%B6%27rd", digest)
    assert "pa ss" not in stream.getvalue()
    assert "%20" not in stream.getvalue()
    assert digest not in stream.getvalue()


def test_a_secret_in_an_exception_is_taken_out(logs: Logs, stream: io.StringIO) -> None:
    logs.redact(["hunter22"])
    logs.be_verbose()
    try:
        raise ValueError("bad hunter22")
    except ValueError:
        log.exception("failed")
    assert "ValueError: bad …" in stream.getvalue()
    assert "hunter22" not in stream.getvalue()


def test_a_traceback_is_written_only_when_verbose(logs: Logs, stream: io.StringIO) -> None:
    try:
        raise ValueError("odd")
    except ValueError:
        log.exception("failed")
        assert stream.getvalue().endswith('failed error="ValueError: odd"\n')
        logs.be_verbose()
        log.exception("failed")
    assert "Traceback" in stream.getvalue()


def test_a_record_is_one_line(logs: Logs, stream: io.StringIO) -> None:
    log.warning("first\nsecond\r")
    assert stream.getvalue().endswith("first\\nsecond\\r\n")


def test_wrong_arguments_are_no_error(logs: Logs) -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "only %d", ("text",), None)
    assert "log arguments do not fit" in logs.formatter.format(record)


def test_lines_of_others_come_from_warning_on(logs: Logs, stream: io.StringIO) -> None:
    logging.getLogger("urllib3").info("chatter")
    logging.getLogger("urllib3").warning("trouble")
    assert "chatter" not in stream.getvalue()
    assert "trouble" in stream.getvalue()


def test_under_systemd_lines_carry_a_priority_and_no_time(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with path.open("w") as file:
        found = os.fstat(file.fileno())
        logs = start_logs(file, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
        logs.level("warning")
        log.error("broken")
        logs.stop()
    assert path.read_text() == "<3>level=error logger=engine broken\n"


def test_a_journal_stream_of_somebody_else_does_not_count() -> None:
    logs = start_logs(sys.stderr, {"JOURNAL_STREAM": "1:1"})
    try:
        record = logging.LogRecord("x", logging.INFO, "", 0, "m", None, None)
        assert not logs.formatter.format(record).startswith("<")
    finally:
        logs.stop()


def test_a_commands_words_are_not_mixed_with_log_lines(stream: io.StringIO) -> None:
    """An unexpected failure is reported in a sentence; what the command itself reports is not repeated."""
    logs = start_logs(stream, {})
    try:
        log.warning("source_trouble source=tandem state=backing_off")
        logging.getLogger("urllib3").warning("trouble")
        assert stream.getvalue() == ""
        try:
            raise ValueError("odd\x1b[2J")
        except ValueError:
            log.exception("source_failed source=%s", "tandem")
        told = stream.getvalue()
        assert "ValueError: odd\\x1b[2J" in told
        assert "-v" in told
        assert "level=" not in told
        assert told.count("\n") == 1
        logs.be_verbose()
        log.info("polled")
        assert "level=info logger=engine polled" in stream.getvalue()
    finally:
        logs.stop()


@pytest.mark.parametrize("odd", [0x1B, 0x9B, 0x202E, 0x2028, 0x07, 0x00, 0x7F, 0x0D], ids=hex)
def test_control_characters_from_outside(logs: Logs, stream: io.StringIO, odd: int) -> None:
    """They reach neither the terminal nor the journal."""
    log.warning('site_said reason="%s"', f"a{chr(odd)}b")
    logs.be_verbose()
    try:
        raise ValueError(f"c{chr(odd)}d")
    except ValueError:
        log.exception("failed")
    assert all(each.isprintable() or each == "\n" for each in stream.getvalue())
    assert "Traceback" in stream.getvalue()


def test_a_file_name_that_is_no_text_can_be_logged(logs: Logs) -> None:
    name = os.fsdecode(b"M\xe4rz.csv")
    record = logging.LogRecord("x", logging.INFO, "", 0, "imported %s", (name,), None)
    assert logs.formatter.format(record).endswith(r"imported M\udce4rz.csv")


def test_short_words_are_no_secrets() -> None:
    redactor = Redactor()
    redactor.learn(["", "a"])
    assert redactor("a banana") == "a banana"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("abcdef", "…"),
        ("xabcdefghy", "x…y"),
        ("abcd abcd", "… …"),
        ("abcdabcd", "……"),
        ("abc", "abc"),
        ("", ""),
    ],
)
def test_secrets_that_overlap(text: str, shown: str) -> None:
    """Where secrets overlap, no part of either is left."""
    redactor = Redactor()
    redactor.learn(["abcd", "abcdef", "defgh"])
    assert redactor(text) == shown


def test_secrets_of_thousands() -> None:
    """A line does not take longer, and one with a secret of any of them is found."""
    redactor = Redactor()
    redactor.learn(f"{number:05d}-word" for number in range(5000))
    assert redactor("it said 04711-word, then 99999-word") == "it said …, then 99999-word"
    assert max(map(len, redactor._lengths.values())) < 10


def test_secrets_with_one_beginning() -> None:
    """Addresses begin alike. A text is compared with each length once, not with each secret."""
    redactor = Redactor()
    redactor.learn(f"https://{number:05d}.example" for number in range(2000))
    assert redactor("asked https://01234.example, https://99999.example") == "asked …, https://99999.example"
    assert len(redactor._lengths["http"]) < 10


class TextReadMeanwhile(str):
    """A text during whose reading another thread learns a secret with the same beginning."""

    __slots__ = ("learn",)

    def __getitem__(self, key: Any) -> str:
        self.learn()
        return super().__getitem__(key)

    def startswith(self, *args: Any) -> bool:
        self.learn()
        return super().startswith(*args)


def test_secret_learned_while_a_text_is_read() -> None:
    """Another person's configuration is loaded while a line is written: the line is written, without its secrets."""
    redactor = Redactor()
    redactor.learn(["abcd-one"])
    numbers = itertools.count()
    text = TextReadMeanwhile("it said abcd-one")
    text.learn = lambda: redactor.learn(["abcd" + "x" * next(numbers)])  # type: ignore[attr-defined]
    assert redactor(text) == "it said …"


def test_line_that_cannot_be_written(
    logs: Logs, stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message and its arguments may have secrets: they are not printed instead."""

    def fail(*_: object) -> str:
        raise RuntimeError("hunter22 changed size")

    monkeypatch.setattr(Redactor, "__call__", fail)
    log.warning("hunter22 %s", "hunter22")
    shown = stream.getvalue() + "".join(capsys.readouterr())
    assert "hunter22" not in shown
    assert "could not be written" in shown
    assert "test_logs.py:" in shown
