"""How long a command takes: ``--help``, ``--version``, and ``status`` with ten years of log, beside a bare interpreter and ``import requests``.

All run in turns. On a busy machine, the ratios of the processor times say more than milliseconds: each is the median of the
turns' ratios to ``import requests``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench_log import EVENTS_A_DAY, append_all
from bench_report import CONFIG, ZONE
from measure import Ended, Row, Spread, main_of, repeat, run_program, run_python
from simulated_services import clean_environment

from tconnectsync.clock import SystemClock
from tconnectsync.eventlog import EventLog

REQUESTS_MS = 82
"""`import requests` on the quiet machine on which the limits in milliseconds were set."""
YEARS = 10


def write_long_log(folder: Path, count: int) -> Path:
    """Write a log of ``count`` events, its old segments compressed, and a configuration; the configuration's path."""
    data = folder / "data"
    data.mkdir()
    append_all(data, count)
    with EventLog.open(data, clock=SystemClock(), writable=True) as log:
        while log.maintain(10):
            pass
    config = folder / "config.toml"
    config.touch(mode=0o600)
    config.write_text(CONFIG.format(zone=ZONE, folder=data))
    return config


def rows(small: bool = False) -> Iterator[Row]:
    """Start-up time and memory."""
    runs = 3 if small else 15
    count = 20_000 if small else YEARS * 365 * EVENTS_A_DAY
    with tempfile.TemporaryDirectory() as name:
        product = (sys.executable, "-m", "tconnectsync")
        config = write_long_log(Path(name), count)
        commands = {
            "bare": (sys.executable, "-c", "pass"),
            "requests": (sys.executable, "-c", "import requests"),
            "--help": (*product, "--help"),
            "--version": (*product, "--version"),
            "status": (*product, "--config", str(config), "status"),
        }
        ended: dict[str, list[Ended]] = {each: [] for each in commands}
        for turn in range(runs + 1):
            for each, words in commands.items():
                found = run_program(words, clean_environment())
                if turn:  # the first turn writes byte code and fills the disk's cache
                    ended[each].append(found)
    for each, what, must_ms in (
        ("--help", "start-up: `--help`", 100),
        ("--version", "start-up: `--version`", None),
        ("status", f"`status` with a log of {count:,} events", 200),
    ):
        yield _row(ended, each, what, must_ms)
    memory = repeat(min(runs, 5), lambda: run_python("tconnectsync", "--help", environment=clean_environment()).peak_mb)
    yield Row(what="peak memory of `--help`", must="35 MB", measured=memory.text(" MB"), met=memory.median <= 35)


def _row(ended: dict[str, list[Ended]], name: str, what: str, must_ms: int | None) -> Row:
    walls = Spread.of([1000 * each.wall_s for each in ended[name]])
    cpus = Spread.of([1000 * each.cpu_s for each in ended[name]])
    ratio = Spread.of(
        [one.cpu_s / other.cpu_s for one, other in zip(ended[name], ended["requests"], strict=True)]
    ).median
    limits = [Spread.of([1000 * each.cpu_s for each in ended[other]]).median for other in ("bare", "requests")]
    most = None if must_ms is None else must_ms / REQUESTS_MS
    return Row(
        what=what,
        must="" if most is None else f"{must_ms} ms quiet: {most:.1f} of `import requests`",
        measured=f"{ratio:.2f} of it: {cpus.text(' ms of CPU')}, {walls.text(' ms')}",
        limit=f"bare interpreter {limits[0]:.0f} ms of CPU, `import requests` {limits[1]:.0f} ms",
        met=None if most is None else ratio <= most,
    )


if __name__ == "__main__":
    main_of(__doc__, rows)
