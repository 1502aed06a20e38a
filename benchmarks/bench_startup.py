"""How long a command takes to begin: ``--help``, beside a bare interpreter and ``import requests``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from measure import Row, Spread, main_of, repeat, run_python, seconds
from simulated_services import clean_environment


def _command(*words: str) -> float:
    environment = clean_environment()
    return seconds(lambda: subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, check=True))


def rows(small: bool = False) -> Iterator[Row]:
    """Start-up time and memory."""
    runs = 3 if small else 15
    _command(sys.executable, "-m", "tconnectsync", "--help")  # the byte code is there from now on
    bare = repeat(runs, lambda: 1000 * _command(sys.executable, "-c", "pass"))
    requests = repeat(runs, lambda: 1000 * _command(sys.executable, "-c", "import requests"))
    limit = f"bare interpreter {bare.median:.0f} ms, `import requests` {requests.median:.0f} ms"
    for what, words, must in (
        ("start-up: `--help`", ("--help",), 150),
        ("start-up: `--version`", ("--version",), None),
    ):
        ended = [run_python("tconnectsync", *words, environment=clean_environment()) for _ in range(runs)]
        processor = Spread.of([1000 * each.cpu_s for each in ended])
        spread = repeat(runs, lambda words=words: 1000 * _command(sys.executable, "-m", "tconnectsync", *words))
        yield Row(
            what=what,
            must=f"{must} ms" if must else "",
            measured=f"{spread.text(' ms')}, {processor.median:.0f} ms of CPU",
            limit=limit,
            met=spread.median <= must if must else None,
        )
    memory = repeat(min(runs, 5), lambda: run_python("tconnectsync", "--help", environment=clean_environment()).peak_mb)
    yield Row(what="peak memory of `--help`", must="35 MB", measured=memory.text(" MB"), met=memory.median <= 35)


if __name__ == "__main__":
    main_of(__doc__, rows)
