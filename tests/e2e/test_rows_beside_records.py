"""An imported export beside Tandem's records of the same pump: it fills their holes, and nothing at a border is lost or doubled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump, simulate
from tests.e2e.engine_in_process import InProcessEngine
from tests.support.clocks import FakeClock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.simulated_tconnect.records import records_from_pump
from tests.support.simulated_tconnect.responses import csv_export
from tests.support.site_comparison import compare
from tests.tconnect.sample_exports import (
    BASAL_COLUMNS,
    DEVICE_COLUMNS,
    EXTENDED,
    PREAMBLE,
    STANDARD,
    boluses,
    table,
)

UTC_BEHIND = timedelta(hours=4)
FIRST, LAST = date(2021, 4, 1), date(2021, 4, 5)
TWO_DIGITS = "other amounts are shown"
"""An export has two digits of an amount, the truth three."""


def simulated(seed: int) -> SimulatedPump:
    return simulate(
        SimulationPlan(
            seed=seed, zone="America/New_York", start=FIRST, days=5, upload_every_min=120, scan_codes=False,
            noise_codes=False,
        )
    )  # fmt: skip


def without(pump: SimulatedPump, *holes: tuple[datetime, datetime]) -> SimulatedPump:
    """The pump as Tandem's cloud knows it: without the records of these times (UTC)."""

    def is_lost(text: str) -> bool:
        at = datetime.fromisoformat(text) + UTC_BEHIND
        return any(begin.replace(tzinfo=None) <= at < end.replace(tzinfo=None) for begin, end in holes)

    return attrs.evolve(pump, log=tuple(each for each in pump.log if not is_lost(each.entry["pumpDateTime"])))


@attrs.define
class ExportBesideRecords:
    """An engine at the end of the pump's days, whose cloud knows the pump as ``known``."""

    pump: SimulatedPump
    clock: FakeClock
    site: SimulatedNightscout
    home: InProcessEngine

    def settled(self) -> None:
        for _ in range(500):
            if not self.home.engine.run_once(polling=False):
                return

    def sync(self) -> None:
        """Old documents change when another source is better, and the user agrees."""
        self.home.ask("sync")
        for sink in ("nightscout-treatments", "nightscout-pump-events"):
            self.home.ask("resume", sink=sink)
        self.settled()

    def imported(self, content: bytes | None = None) -> None:
        path = self.home.folder / "export.csv"
        everything = csv_export(records_from_pump(self.pump.log), (FIRST, LAST), self.pump.plan.serial, None)
        path.write_bytes(content or everything)
        assert self.home.ask("import", files=[str(path)]).status == 0
        self.settled()

    def treatments(self) -> list[dict[str, Any]]:
        return sorted(self.site.documents("treatments"), key=lambda each: str(each["created_at"]))

    def contents(self) -> set[str]:
        server_made = {"_id", "srvCreated", "srvModified"}
        return {
            json.dumps({name: value for name, value in each.items() if name not in server_made}, sort_keys=True)
            for each in self.treatments()
        }

    def wrong(self) -> list[str]:
        begin = self.pump.truth.begin
        window = begin + timedelta(days=1, hours=4), begin + timedelta(days=4, hours=12)
        found = compare(self.pump.truth, self.treatments(), window=window, tolerance_s=150, parts=("boluses", "basal"))
        lines = [line for line in found.lines(basal_u=0.1) if TWO_DIGITS not in line and "without insulin" not in line]
        if abs(found.bolus_true_u - found.bolus_shown_u) > 0.05:
            lines.append(f"{found.bolus_true_u:.2f} U given, {found.bolus_shown_u:.2f} U shown")
        return lines


@contextmanager
def beside(folder: Path, pump: SimulatedPump, known: SimulatedPump) -> Iterator[ExportBesideRecords]:
    clock = FakeClock(pump.truth.begin + timedelta(days=5, hours=3))
    with (
        FaultyTandemCloud([known], clock, token_life_s=8 * 3600) as cloud,
        SimulatedNightscout(version="15.0.7", now=clock.now) as site,
    ):
        home = InProcessEngine(folder, cloud, site, clock, history_days=5)
        yield ExportBesideRecords(pump, clock, site, home)
        home.engine.close()


def holes_of(pump: SimulatedPump) -> list[tuple[datetime, datetime]]:
    begin = pump.truth.begin
    return [
        (begin + timedelta(days=1, hours=20), begin + timedelta(days=2, hours=9)),
        (begin + timedelta(days=3, hours=10), begin + timedelta(days=3, hours=13)),
    ]


def test_export_fills_holes_in_any_order(tmp_path: Path) -> None:
    """The doses of the lost hours are shown, whichever came first and however often the program starts anew."""
    pump = simulated(5)
    known = without(pump, *holes_of(pump))
    contents = []
    for number, (first, restarts) in enumerate((("records", False), ("records", True), ("export", False))):
        with beside(tmp_path / str(number), pump, known) as there:
            steps = [there.sync, there.imported]
            for step in steps if first == "records" else reversed(steps):
                step()
                if restarts:
                    there.home.reopen()
            there.sync()
            assert there.wrong() == []
            contents.append(there.contents())
    assert contents[0] == contents[1] == contents[2]


def test_late_records_replace_the_export(tmp_path: Path) -> None:
    """Tandem has the lost hours after all: nothing of the export is left, and nothing is doubled."""
    pump = simulated(5)
    with beside(tmp_path / "whole", pump, pump) as there:
        there.sync()
        wanted = there.contents()
    with beside(tmp_path / "late", pump, without(pump, *holes_of(pump))) as there:
        there.sync()
        there.imported()
        with FaultyTandemCloud([pump], there.clock, token_life_s=8 * 3600) as cloud:
            there.home.cloud = cloud
            there.home.reopen()
            there.home.ask("backfill", first=f"{FIRST}", last=f"{LAST}")
            there.sync()
            assert there.wrong() == []
            assert wanted <= there.contents()


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("seed", [6, 7])
def test_extended_bolus_across_a_border(tmp_path: Path, seed: int, side: str) -> None:
    """Its dose is shown once, whether Tandem's records have its beginning or its end."""
    pump = simulated(seed)
    begin = pump.truth.begin
    bolus = next(
        each
        for each in pump.truth.boluses
        if each.extended_min and each.ended_at and each.extended_u > 0.2 and each.started_at > begin + timedelta(days=2)
    )
    assert bolus.ended_at is not None
    middle = bolus.started_at + 0.7 * (bolus.ended_at - bolus.started_at)
    hole = (middle, middle + timedelta(hours=9)) if side == "before" else (middle - timedelta(hours=9), middle)
    with beside(tmp_path, pump, without(pump, hole)) as there:
        there.sync()
        there.imported()
        assert there.wrong() == []


def test_row_that_goes_on_after_the_records(tmp_path: Path) -> None:
    """Tandem's records end while a row of the export lasts: its rate and its extended bolus go on."""
    pump = simulated(5)
    end = datetime(2021, 4, 3, 22, 0)
    known = without(
        pump, (end.replace(tzinfo=pump.truth.begin.tzinfo) + UTC_BEHIND, pump.truth.begin + timedelta(days=9))
    )

    def at(**after: float) -> str:
        return (end + timedelta(**after)).isoformat()

    serial = pump.plan.serial
    readings = [("t:slim X2 Insulin Pump", serial, "EGV", at(minutes=30 * n + 3), "140", "") for n in range(30)]
    rates = ((at(minutes=-20), "0.8"), (at(hours=9), "0.6"), (at(hours=11), "0.7"))
    extended = dict(
        EXTENDED, BolusRequestID="60002", BolusCompletionID="60002", BolexCompletionID="60003", EventDateTime=at(minutes=-12),
        RequestDateTime=at(minutes=-12), CompletionDateTime=at(minutes=-10), BolexStartDateTime=at(minutes=-10),
        BolexCompletionDateTime=at(hours=2), BolexInsulinDelivered="3.0", BolexSize="3.0", InsulinDelivered="2.0", Duration="130",
    )  # fmt: skip
    normal = dict(
        STANDARD, BolusRequestID="60001", BolusCompletionID="60001", EventDateTime=at(minutes=-2), RequestDateTime=at(minutes=-2),
        CompletionDateTime=at(minutes=3),
    )  # fmt: skip
    tables = (
        table(DEVICE_COLUMNS, *readings), table(BASAL_COLUMNS, *(("Basal", "3", *rate) for rate in rates)),
        boluses(extended, normal),
    )  # fmt: skip
    with beside(tmp_path, pump, known) as there:
        there.sync()
        there.imported("\r\n".join((PREAMBLE, *tables)).encode())
        late = [each for each in there.treatments() if str(each["created_at"]) > "2021-04-04T01:44"]
    rate = next(each for each in late if each.get("absolute") == 0.8)
    assert rate["created_at"] == "2021-04-04T01:58:31.000Z"
    assert rate["duration"] == pytest.approx(541.5, abs=0.1)
    assert [(each["eventType"], each["insulin"]) for each in late if each.get("insulin")] == [
        ("Combo Bolus", 2),
        ("Meal Bolus", 13.53),
    ]
    combo = next(each for each in late if each["eventType"] == "Combo Bolus")
    assert combo["relative"] * combo["duration"] / 60 == pytest.approx(3.0, abs=0.01)
