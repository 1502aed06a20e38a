"""The command line."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line of this process and return the exit status."""
    from tconnectsync.cli.standard_streams import open_closed_streams

    open_closed_streams()
    from tconnectsync.runtime.memory_limit import collect_cycles_less_often, skip_search_at_exit

    skip_search_at_exit()
    collect_cycles_less_often()  # before the modules are imported: their classes are many objects, which stay
    from tconnectsync.cli.interrupts import repeat_dropped_interrupts
    from tconnectsync.cli.root import run

    with repeat_dropped_interrupts():
        return run(sys.argv[1:])
