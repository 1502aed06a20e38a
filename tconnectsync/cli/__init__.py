"""The command line."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line of this process and return the exit status."""
    from tconnectsync.cli.root import run

    return run(sys.argv[1:])
