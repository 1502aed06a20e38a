"""Everything, one script after the other: prints the whole table of ``benchmarks/README.md``. Takes half an hour; ``--small`` a minute or two.

The machine should have nothing else to do. ``--only startup,log`` picks scripts.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib import import_module

from measure import Row, say

SCRIPTS = ("startup", "decode", "log", "sync", "import", "report", "page", "replay", "year")


def rows(small: bool, scripts: tuple[str, ...] = SCRIPTS) -> Iterator[Row]:
    """The rows of all scripts."""
    for name in scripts:
        yield from import_module(f"bench_{name}").rows(small)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="small sizes and few runs: to see that it works")
    parser.add_argument("--only", default=",".join(SCRIPTS), help=f"of {', '.join(SCRIPTS)}")
    given = parser.parse_args()
    say(rows(given.small, tuple(given.only.split(","))))


if __name__ == "__main__":
    main()
