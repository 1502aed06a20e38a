"""Runs one world after another for hours. Each comes from a seed and is compared with the truth at its end.

    python -m tests.e2e.soak --hours 1                  # a summary at the end; status 1 if anything was lost, doubled or wrong
    python -m tests.e2e.soak --seed 41 --worlds 1       # one world again

Each world is a process of its own, with its own servers (a real Nightscout over a real MongoDB in most of them), all on the
loopback; it ends with everything that it started. The folder of a world that failed is kept, with the daemon's log and data.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import attrs

from tests.e2e.soak_scenarios import SoakReport, run_world, setting_of

LONGEST_WORLD_S = 1800.0
"""Ten times what one takes on a quiet machine."""
KEPT_FOLDERS = 5
"""This many failing worlds keep their folder, so that the disk does not fill up."""


ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "tests.e2e.soak")
"""Runs this module. It must be run in :data:`ROOT`."""


@attrs.define
class SoakRuns:
    """Runs worlds below ``base``, each in a fresh process group that ends with it."""

    base: Path
    _alive: set[int] = attrs.field(factory=set)

    def run(self, seed: int) -> SoakReport:
        """Run one world, and end it if it does not end by itself."""
        folder = self.base / f"world-{seed}"
        folder.mkdir()
        begin = time.monotonic()
        with (folder / "world.log").open("wb") as log:
            process = subprocess.Popen(
                [*PROGRAM, "--inside", str(folder), "--seed", str(seed)], cwd=ROOT,
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self._alive.add(process.pid)
        try:
            process.wait(LONGEST_WORLD_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _end(process.pid)
            self._alive.discard(process.pid)
            process.wait()
        try:
            return SoakReport(**json.loads((folder / "report.json").read_text()))
        except FileNotFoundError:
            seconds = time.monotonic() - begin
            words = (folder / "world.log").read_text(errors="replace")[-3000:]
            error = f"status {process.returncode} after {seconds:.0f} s: {words}"
            return SoakReport(seed=seed, kind=setting_of(seed).words(), seconds=seconds, error=error)

    def end(self) -> None:
        """End the worlds that run."""
        for group in list(self._alive):
            _end(group)


def _end(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def inside(seed: int, folder: Path) -> int:
    """The process of one world: its report is a file."""
    report = run_world(seed, folder)
    (folder / "report.json").write_text(json.dumps(attrs.asdict(report)))
    return 0


def clean(report: SoakReport) -> bool:
    """Whether nothing was lost, doubled or wrong, and no promise broken on the way."""
    return not (report.lost or report.doubled or report.wrong or report.error)


def line_of(report: SoakReport) -> str:
    """One world in a line; failures in a few more."""
    verdict = "ok" if clean(report) else "FAILED"
    kills = sum(report.kills.values())
    figures = (
        f"{report.seconds:.0f} s, {kills} kills, {sum(report.faults.values())} faults, {report.documents} documents"
    )
    words = [f"{verdict} seed {report.seed}: {report.kind}; {figures}"]
    for name in ("lost", "doubled", "wrong"):
        found: Sequence[str] = getattr(report, name)
        words += [f"    {name}: {text[:400]}" for text in found[:5]]
        words += [f"    {name}: and {len(found) - 5} more"] * (len(found) > 5)
    if report.error:
        words.append("    " + report.error[-2500:].replace("\n", "\n    "))
    return "\n".join(words)


def summary(reports: Sequence[SoakReport], hours: float) -> str:
    """The table for ``docs/engineering/guarantees.md``."""
    kills, faults, events = (Counter[str](), Counter[str](), Counter[str]())
    for report in reports:
        kills.update(report.kills)
        faults.update(report.faults)
        events.update(report.events)
    by_hand = kills.pop("by hand", 0)
    failed = sum(bool(report.error) for report in reports)
    rows = [
        ("hours", f"{hours:.2f}"),
        ("worlds", str(len(reports))),
        ("days of pumps' lives", f"{sum(report.days for report in reports):.0f}"),
        ("kills (SIGKILL)", f"{sum(kills.values()) + by_hand}: {sum(kills.values())} at {len(kills)} named points, {by_hand} at any moment"),
        ("stops (SIGTERM, SIGINT), each in time", str(sum(report.stops for report in reports))),
        ("faults of the network", f"{sum(faults.values())}: " + _counted(faults)),
        ("other troubles", _counted(events)),
        ("documents compared", f"{sum(report.documents for report in reports):,}"),
        ("lost", str(sum(len(report.lost) for report in reports))),
        ("doubled", str(sum(len(report.doubled) for report in reports))),
        ("wrong", str(sum(len(report.wrong) for report in reports))),
        ("worlds that did not come to an end", str(failed)),
    ]  # fmt: skip
    return "\n".join(["| what | how much |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows)])


def _counted(found: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(found.items())) or "none"


def main() -> int:
    """Run for this long; return 0 if every world was clean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=1.0, help="no world begins after this; default 1")
    parser.add_argument("--worlds", type=int, default=1_000_000, help="at most so many")
    parser.add_argument("--seed", type=int, default=1, help="of the first world; the next has the next; default 1")
    parser.add_argument("--jobs", type=int, default=2, help="worlds at once; default 2")
    parser.add_argument("--folder", type=Path, help="where worlds live while they run; default: a temporary one")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside is not None:
        return inside(given.seed, given.inside)
    if given.folder is not None:
        given.folder.mkdir(parents=True, exist_ok=True)
    base = Path(tempfile.mkdtemp(prefix="soak-", dir=given.folder))
    worlds, begin, kept = SoakRuns(base), time.monotonic(), 0
    reports: list[SoakReport] = []
    running: set[Future[SoakReport]] = set()
    seeds = iter(range(given.seed, given.seed + given.worlds))
    signal.signal(signal.SIGTERM, _interrupt)
    with ThreadPoolExecutor(given.jobs) as pool:
        try:
            while True:
                while len(running) < given.jobs and time.monotonic() - begin < given.hours * 3600:
                    seed = next(seeds, None)
                    if seed is None:
                        break
                    running.add(pool.submit(worlds.run, seed))
                if not running:
                    break
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for report in (each.result() for each in done):
                    reports.append(report)
                    print(line_of(report), flush=True)
                    folder = base / f"world-{report.seed}"
                    if clean(report) or kept >= KEPT_FOLDERS:
                        shutil.rmtree(folder, ignore_errors=True)
                        continue
                    kept += 1
                    again = f"python -m tests.e2e.soak --seed {report.seed} --worlds 1"
                    print(f"    kept in {folder}; again: {again}", flush=True)
        except KeyboardInterrupt:
            worlds.end()
    print("\n" + summary(reports, (time.monotonic() - begin) / 3600))
    if not kept:
        shutil.rmtree(base, ignore_errors=True)
    return 0 if reports and all(map(clean, reports)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
