"""The file with past days' figures saves time and never changes an answer."""

from __future__ import annotations

import gzip
import re
import shutil
import stat
from collections.abc import Callable
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest

from tconnectsync.python_api.pump_log import PumpLog
from tconnectsync.statistics import day_store
from tconnectsync.statistics.day_store import FILE_NAME, figure_code
from tconnectsync.statistics.summary import Summary
from tconnectsync.timeline.zones import Zones
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import simulate
from tests.statistics.conftest import BEGIN, ZONE, SampleLog
from tests.statistics.simulated_log import write_log
from tests.support.clocks import FakeClock

FIRST, LAST = BEGIN, date(2025, 11, 13)


@attrs.frozen
class ExpectedFigures:
    """The right figures of the sample, and the file that keeps them."""

    figures: list[Summary]
    file: bytes


@pytest.fixture(scope="module")
def expected(sample: SampleLog, tmp_path_factory: pytest.TempPathFactory) -> ExpectedFigures:
    """Computed once."""
    folder = tmp_path_factory.mktemp("right") / "data"
    shutil.copytree(sample.data_dir, folder)
    return ExpectedFigures(figures(folder), (folder / FILE_NAME).read_bytes())


@pytest.fixture
def folder(sample: SampleLog, tmp_path: Path) -> Path:
    """A copy of the sample's data folder."""
    shutil.copytree(sample.data_dir, tmp_path / "data")
    (tmp_path / "data" / FILE_NAME).unlink(missing_ok=True)
    return tmp_path / "data"


def opened(folder: Path, zone: str = ZONE, *, stores_days: bool = True) -> PumpLog:
    return PumpLog.open(
        folder,
        Zones(timezone=zone),
        clock=FakeClock(datetime(2025, 11, 20, tzinfo=timezone.utc)),
        stores_days=stores_days,
    )


def figures(folder: Path, zone: str = ZONE, *, stores_days: bool = True) -> list[Summary]:
    with opened(folder, zone, stores_days=stores_days) as log:
        return list(log.days(FIRST, LAST))


def never(*_: Any) -> Any:
    raise AssertionError("figures are computed again")


def test_rules_of_events_are_part_of_the_code() -> None:
    """A module that decides whether a bolus was automatic or a value possible changes figures like the statistics themselves."""
    files = figure_code()
    used = {
        name
        for path in files
        for name in re.findall(r"^from tconnectsync\.events\.(\w+) import", path.read_text(), re.MULTILINE)
    }
    assert {"boluses", "limits"} <= used
    assert used <= {path.stem for path in files if path.parent.name == "events"}


def test_the_next_process_computes_nothing_again(
    folder: Path, expected: ExpectedFigures, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert figures(folder) == expected.figures == figures(folder, stores_days=False)
    assert stat.S_IMODE((folder / FILE_NAME).stat().st_mode) == 0o600
    monkeypatch.setattr(PumpLog, "therapy", never)
    assert figures(folder) == expected.figures


def test_without_the_option_no_file_is_written(folder: Path) -> None:
    figures(folder, stores_days=False)
    assert not (folder / FILE_NAME).exists()


def edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    def edit(content: bytes) -> bytes:
        stored = msgspec.json.decode(gzip.decompress(content))
        change(stored)
        return gzip.compress(msgspec.json.encode(stored))

    return edit


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"not a file of ours",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-20] + bytes(20),
        lambda _: gzip.compress(b"[1, 2]"),
        lambda _: gzip.compress(b"\xff\xfe{}"),
        edited(lambda stored: stored.update(code="other")),
        edited(lambda stored: stored.update(basis="other")),
        edited(lambda stored: stored.update(log_id="other")),
        edited(lambda stored: stored.update(position=10**9)),
        edited(lambda stored: stored.update(timelines={}, position=5)),
        edited(lambda stored: stored["days"][0].update(first_day="2025-02-30")),
        edited(lambda stored: stored["days"][0]["insulin"].update(basal_u="much")),
    ],
)
def test_a_file_that_does_not_fit_is_not_used(
    folder: Path, expected: ExpectedFigures, damage: Callable[[bytes], bytes]
) -> None:
    """Damaged, or of another log, zone, release or timeline."""
    (folder / FILE_NAME).write_bytes(damage(expected.file))
    assert figures(folder) == expected.figures
    assert (folder / FILE_NAME).read_bytes() != damage(expected.file), "it is replaced"


def test_other_zones_have_other_days(folder: Path, expected: ExpectedFigures) -> None:
    (folder / FILE_NAME).write_bytes(expected.file)
    other = figures(folder, "America/New_York")
    assert other == figures(folder, "America/New_York", stores_days=False)
    assert figures(folder) == expected.figures != other


def test_a_folder_that_cannot_be_written_costs_time_only(
    folder: Path, expected: ExpectedFigures, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(day_store, "replace_file", full)
    assert figures(folder) == expected.figures
    assert not (folder / FILE_NAME).exists()


def test_a_link_in_its_place_is_neither_read_nor_followed(
    folder: Path, expected: ExpectedFigures, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").write_text("precious")
    (folder / FILE_NAME).symlink_to(tmp_path / "elsewhere")
    assert figures(folder) == expected.figures
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_what_arrives_late_changes_the_stored_days(tmp_path: Path) -> None:
    """Each process starts from the file of the one before, while the log grows."""
    pump = simulate(SimulationPlan(seed=3, zone=ZONE, start=FIRST, days=2, late_share=0.3))
    uploads = sorted({record.uploaded_s for record in pump.log})
    for part in range(1, 5):
        write_log(tmp_path, pump, until_s=uploads[len(uploads) * part // 4 - 1])
        assert figures(tmp_path) == figures(tmp_path, stores_days=False), f"part {part}"
    assert (tmp_path / FILE_NAME).exists()


def test_a_stop_of_days_without_a_sensor(tmp_path: Path) -> None:
    """Only the battery is reported meanwhile: the days are known, with no insulin, and are stored as they are read later."""
    pump = simulate(SimulationPlan(seed=4, zone="Europe/Berlin", start=date(2026, 6, 1), days=9))
    stop = next(
        each.started_at.timestamp()
        for each in pump.truth.suspensions
        if each.name == "user" and each.started_at.day > 3
    )
    resumed = next(each.at_s for each in pump.log if each.entry["eventCode"] == 12 and each.at_s > stop + 2.6 * 86_400)
    meanwhile = (81, 5, 53)  # battery, day
    told = [each for each in pump.log if not stop + 2 < each.at_s < resumed or each.entry["eventCode"] in meanwhile]

    def days(*, stores_days: bool) -> list[Summary]:
        with opened(tmp_path, "Europe/Berlin", stores_days=stores_days) as log:
            return list(log.days(date(2026, 6, 5), date(2026, 6, 7)))

    for hours in (20, 50, 90):
        now = stop + hours * 3600
        records = [each._replace(uploaded_s=min(each.uploaded_s, now)) for each in told if each.at_s <= now]
        write_log(tmp_path, attrs.evolve(pump, log=tuple(records)))
        stored, fresh = (days(stores_days=stores) for stores in (True, False))
        assert stored == fresh
    assert [round(day.insulin.suspended_s / 60) for day in stored] == [332, 1440, 1440]
    assert [day.days_with_data for day in stored] == [1, 1, 1]
