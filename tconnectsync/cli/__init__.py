"""The command line."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line of this process and return the exit status."""
    from tconnectsync.cli.interrupts import repeat_dropped_interrupts
    from tconnectsync.cli.root import run

    with repeat_dropped_interrupts():
        return run(sys.argv[1:])
