"""A short log that several tests only read."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import attrs
import pytest

from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump, simulate
from tests.statistics.simulated_log import write_log

BEGIN = date(2025, 11, 12)
ZONE = "Europe/Berlin"


@attrs.frozen(kw_only=True)
class SampleLog:
    """The data folder of a pump that was simulated for six days from 2025-11-12 on."""

    data_dir: Path
    pump: SimulatedPump


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleLog:
    """Six days of one pump. Do not write to it."""
    folder = tmp_path_factory.mktemp("sample")
    pump = simulate(SimulationPlan(seed=4, zone=ZONE, start=BEGIN, days=6))
    write_log(folder, pump)
    return SampleLog(data_dir=folder, pump=pump)
