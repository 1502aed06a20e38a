"""SIGTERM ends the program, whatever it is doing."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import signal, sys, time, weakref
from tconnectsync.cli import main, root

class Thing:
    "Something whose end runs a callback, like an import's lock."

def handler(number, frame):
    raise {error}

def run(arguments):
    signal.signal(signal.SIGTERM, handler)
    thing = Thing()
    reference = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGTERM))
    del thing
    time.sleep(20)
    print("nobody heard it")
    return 0

root.run = run
try:
    sys.exit(main())
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize(("error", "status"), [("KeyboardInterrupt", 130), ("SystemExit(7)", 7)])
def test_sigterm_within_a_callback(error: str, status: int) -> None:
    """The process ends."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(error=error)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


def test_other_dropped_errors_are_printed_as_ever() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(error="ValueError('odd')").replace("sleep(20)", "sleep(0.2)")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert "ValueError: odd" in done.stderr
