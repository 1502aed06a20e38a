"""Types answers into a program at a terminal (a pty), as a person does, and keeps what the terminal showed."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence

import attrs


class NotShown(AssertionError):
    """The program did not show the expected words in time, or it ended before."""


@attrs.define
class TerminalProgram:
    """A program at a terminal. ``shown`` is everything that it printed, with the echo of what was typed."""

    process: subprocess.Popen[bytes]
    descriptor: int
    shown: str = ""
    _read_to: int = 0

    def expect(self, words: str, *, within_s: float = 60.0) -> None:
        """Wait until the program shows ``words`` after what was expected before. Errors: NotShown."""
        end = time.monotonic() + within_s
        while (found := self.shown.find(words, self._read_to)) < 0:
            if not self._read(end - time.monotonic()):
                raise NotShown(f"{words!r} was not shown; the terminal showed:\n{self.shown}")
        self._read_to = found + len(words)

    def answer(self, prompt: str, text: str, *, within_s: float = 60.0) -> None:
        """Wait for the prompt, then type the text and Enter."""
        self.expect(prompt, within_s=within_s)
        time.sleep(0.05)  # the program turns the echo off just after it shows the prompt
        os.write(self.descriptor, f"{text}\n".encode())

    def interrupt(self) -> None:
        """Press Ctrl+C; again each second, as a person does if nothing happens: just before it reads, Python does not notice it."""
        for _ in range(20):
            time.sleep(0.2)
            if self.process.poll() is not None:
                return
            with contextlib.suppress(OSError):
                os.write(self.descriptor, b"\x03")
            end = time.monotonic() + 1.0
            while self.process.poll() is None and time.monotonic() < end:
                self._read(0.1)

    def wait(self, *, within_s: float = 60.0) -> int:
        """Read until the program ends; return its exit status. Errors: NotShown."""
        end = time.monotonic() + within_s
        while self._read(end - time.monotonic()):
            pass
        try:
            return self.process.wait(max(end - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            raise NotShown(f"the program did not end; the terminal showed:\n{self.shown}") from None

    def _read(self, timeout_s: float) -> bool:
        """Read what is there; False at the end or after the timeout."""
        ready, _, _ = select.select([self.descriptor], [], [], max(timeout_s, 0.0))
        if not ready:
            return False
        try:
            data = os.read(self.descriptor, 65536)
        except OSError:  # the program has ended
            return False
        self.shown += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)


@contextlib.contextmanager
def at_terminal(command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> Iterator[TerminalProgram]:
    """Run a command at a terminal of its own; kill it at the end if it still runs."""
    ours, theirs = pty.openpty()
    try:
        # A session with this terminal as its controlling one, so that Ctrl+C reaches the program. A shell's background job
        # ignores SIGINT, and so would this program if the tests are one.
        process = subprocess.Popen(
            ["setsid", "--ctty", "env", "--default-signal=INT", *command],
            stdin=theirs, stdout=theirs, stderr=theirs, env=environment,
        )  # fmt: skip
    finally:
        os.close(theirs)
    try:
        yield TerminalProgram(process, ours)
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.close(ours)
