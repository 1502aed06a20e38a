"""A year of a pump's data by `import`, of each kind of file, beside fetching the same year: time and peak memory.

The command runs as a user types it, into an empty data folder and an empty simulated site, delivery included; and once more
with no sink, so that what reading costs shows. The files hold what the simulated cloud answers: 28 days an answer, as JSON; the same
records as the base64 text of the older web service; and what an export of the older website would hold of them.
"""

from __future__ import annotations

import base64
import csv
import json
import sys
import tempfile
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TextIO

from bench_sync import ALL_ON
from measure import HERE, Ended, Row, main_of, run_python
from simulated_services import ZONE, SimulatedServices, clean_environment, running_world

WINDOW_DAYS = 28
LEAD_DAYS = 2
MOST_MB = 200
NO_SINKS = "".join(
    f"\n[sinks.{name}]\nenabled = false\n"
    for name in ("nightscout-treatments", "nightscout-iob", "nightscout-pump-events")
)


class _Export:
    """The older website's CSV of some records: boluses, rates where they change, readings, insulin on board."""

    def __init__(self, file: TextIO) -> None:
        self.out = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
        self.tables: dict[str, list[tuple[object, ...]]] = {name: [] for name in ("EGV", "IOB", "Basal", "Bolus")}
        self.carbs: dict[int, int] = {}
        self.rate: int | None = None

    def add(self, entry: dict[str, Any]) -> None:
        """Take note of a record."""
        code, at, said = entry["eventCode"], entry["pumpDateTime"], entry["eventProperties"]
        if code == 399 and not said["glucoseValueStatus"]:
            row = ("t:slim X2 Insulin Pump", "90556643", "EGV", at, said["currentGlucoseDisplayValue"], "")
            self.tables["EGV"].append(row)
        elif code == 81:
            self.tables["IOB"].append(("IOB", "81", at, said["iob"]))
        elif code == 279 and said["commandedRate"] != self.rate:
            self.rate = said["commandedRate"]
            self.tables["Basal"].append(("Basal", "3", at, self.rate / 1000))
        elif code == 64:
            self.carbs[said["bolusId"]] = said["carbAmount"]
        elif code == 20:
            number, units = said["bolusId"], said["insulinDelivered"]
            self.tables["Bolus"].append(("Bolus", number, number, at, units, "1", at, self.carbs.pop(number, 0)))

    def write(self) -> None:
        """All tables, a blank line between."""
        self.out.writerow(("t:connect Therapy Timeline Data Export",))
        for columns, name in (
            ("DeviceType,SerialNumber,Description,EventDateTime,Readings (CGM / BGM),", "EGV"),
            ("Type,EventID,EventDateTime,IOB", "IOB"),
            ("Type,EventID,EventDateTime,BasalRate", "Basal"),
            (
                "Type,BolusRequestID,BolusCompletionID,CompletionDateTime,InsulinDelivered,BolusIsComplete,EventDateTime,CarbSize",
                "Bolus",
            ),
        ):
            self.out.writerow(())
            self.out.writerow(columns.split(","))
            self.out.writerows(self.tables[name])


def write_files(folder: Path, start: date, days: int) -> dict[str, Path]:
    """The files, by kind."""
    sys.path.insert(0, str(HERE.parent))
    from tconnectsync_simulator.pump.plan import SimulationPlan
    from tconnectsync_simulator.pump.pump import Simulation
    from tests.support.binary_records import MEMORY, binary

    paths = {"JSON": folder / "year.json", "binary": folder / "year.txt", "CSV": folder / "year.csv"}
    window: list[dict[str, Any]] = []
    simulation = Simulation(SimulationPlan(zone=ZONE, start=start, days=days))
    with paths["JSON"].open("w") as answers, paths["binary"].open("w") as texts, paths["CSV"].open("w") as rows:
        export = _Export(rows)
        for number, records in enumerate(simulation.days(), start=1):
            window += [record.entry for record in records]
            if number % WINDOW_DAYS == 0 or number == days:
                answers.write(json.dumps({"events": window, "clockChanges": []}) + "\n")
                some = b"".join(binary(one, None if one["eventCode"] in MEMORY else bytes(16)) for one in window)
                texts.write(json.dumps(base64.b64encode(some).decode()) + "\n")
                for one in window:
                    export.add(one)
                window = []
        export.write()
    return paths


def run(world: SimulatedServices, days: int, more: str, file: Path | None) -> Ended:
    """Fetch, or import the file, into an empty data folder."""
    words = ["sync"] if file is None else ["import", str(file), "--pump", "90556643"]
    if file is not None and file.suffix == ".csv":
        words = words[:2]
    with tempfile.TemporaryDirectory() as folder:
        config = world.configure(Path(folder), history_days=days, more=more)
        return run_python("tconnectsync", "--config", str(config), *words, environment=clean_environment())


def rows(small: bool = False) -> Iterator[Row]:
    """One row for each kind of file, and what fetching takes."""
    days = 10 if small else 365
    start = datetime.now(timezone.utc).date() - timedelta(days=days + LEAD_DAYS)
    with tempfile.TemporaryDirectory() as name:
        files: dict[str, Path | None] = {"": None, **write_files(Path(name), start, days + LEAD_DAYS)}
        fetched_s = 0.0
        for kind, file in files.items():
            with running_world(days=days + LEAD_DAYS, start=start) as world:
                whole = run(world, days, ALL_ON, file)
            with running_world(days=days + LEAD_DAYS, start=start) as world:
                read = run(world, days, NO_SINKS, file)
            fetched_s = fetched_s or read.wall_s
            size = f" ({file.stat().st_size / 2**20:,.0f} MB)" if file else ""
            yield Row(
                what=f"{days} days by `import` of {kind}{size}" if kind else f"{days} days by `sync`, to compare",
                must=f"under {MOST_MB} MB" if kind else "",
                measured=f"{whole.wall_s:.1f} s with delivery, {whole.peak_mb:.0f} MB; {read.wall_s:.1f} s into the log alone,"
                f" of it {read.cpu_s:.1f} s of CPU, {read.peak_mb:.0f} MB",
                limit=f"fetching {fetched_s:.1f} s" if kind else "",
                met=max(whole.peak_mb, read.peak_mb) < MOST_MB if kind else None,
            )


if __name__ == "__main__":
    main_of(__doc__, rows)
