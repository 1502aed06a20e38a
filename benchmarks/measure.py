"""Runs things several times, in processes of their own, and says what was seen: medians, spread, Markdown rows."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import attrs

HERE = Path(__file__).resolve().parent
CHILD = HERE / "child.py"
HEAD = "| what | must be | measured | limit in the same run | |\n|---|---|---|---|---|"


@attrs.frozen(kw_only=True)
class Row:
    """One line of the table. ``met`` None: a figure that nothing was promised about."""

    what: str
    must: str = ""
    measured: str
    limit: str = ""
    met: bool | None = None

    def __str__(self) -> str:
        verdict = {True: "met", False: "**missed**", None: ""}[self.met]
        return f"| {self.what} | {self.must} | {self.measured} | {self.limit} | {verdict} |"


class Spread(NamedTuple):
    """Median, least and greatest of several runs."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """Of these figures."""
        return cls(statistics.median(figures), min(figures), max(figures), len(figures))

    def text(self, unit: str = "", *, digits: int = 0) -> str:
        """``12 ms (11-14, 5 runs)``; one run has no spread."""
        words = f"{self.median:,.{digits}f}{unit}"
        if self.runs == 1:
            return words
        return f"{words} ({self.low:,.{digits}f}–{self.high:,.{digits}f}, {self.runs} runs)"


def repeat(runs: int, once: Callable[[], float]) -> Spread:
    """What ``once`` answers, so many times."""
    return Spread.of([once() for _ in range(runs)])


def seconds(work: Callable[[], object]) -> float:
    """How long ``work`` takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


@attrs.frozen(kw_only=True)
class Ended:
    """The resources that a process used in its life.

    ``peak_mb`` is its highest resident memory (VmHWM), all libraries included. ``written_mb`` is what it made the
    kernel write to the disk, ``told`` the last line that it printed.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    written_mb: float
    told: str
    status: int


def run_python(
    *words: str,
    environment: Mapping[str, str] | None = None,
    under: Sequence[str] = (),
    expect: int = 0,
    python: Path = Path(sys.executable),
) -> Ended:
    """Run ``python -m WORDS`` (or a script) in a process of its own until its end. ``under`` goes before the command."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        begin = time.perf_counter()
        done = subprocess.run(
            [*under, str(python), str(CHILD), str(report), *words],
            env=dict(os.environ if environment is None else environment),
            capture_output=True,
            text=True,
            check=False,
        )
        wall_s = time.perf_counter() - begin
        if done.returncode != expect:
            raise RuntimeError(f"{words} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        found = json.loads(report.read_text())
    lines = done.stdout.splitlines()
    return Ended(wall_s=wall_s, told=lines[-1] if lines else "", status=done.returncode, **found)


def run_program(words: Sequence[str], environment: Mapping[str, str]) -> Ended:
    """Run another program until its end. ``written_mb`` is not known of it."""
    with tempfile.TemporaryFile("w+") as output:
        begin = time.perf_counter()
        process = subprocess.Popen(words, env=dict(environment), stdout=output, stderr=output, text=True)
        _, status, used = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        lines = output.read().splitlines()
    if process.returncode != 0:
        raise RuntimeError(f"{words[0]} ended with {process.returncode}:\n" + "\n".join(lines[-30:]))
    return Ended(
        wall_s=wall_s,
        cpu_s=used.ru_utime + used.ru_stime,
        peak_mb=used.ru_maxrss / 1024,
        written_mb=0.0,
        told=lines[-1] if lines else "",
        status=process.returncode,
    )


def machine() -> str:
    """Where and when this was measured."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()}-core machine ({model}), Linux {platform.release()}, CPython {platform.python_version()},"
        f" {datetime.now(timezone.utc):%Y-%m-%d}, load {load:.1f} at the start; everything on loopback and one disk"
    )


def say(rows: Iterable[Row]) -> None:
    """Print the table as it grows."""
    print(f"Measured on a {machine()}.\n", flush=True)
    print(HEAD, flush=True)
    for row in rows:
        print(row, flush=True)


def main_of(doc: str | None, rows: Callable[[bool], Iterator[Row]]) -> None:
    """What every script does when it is run by hand."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="small sizes and few runs: to see that it works")
    say(rows(parser.parse_args().small))
