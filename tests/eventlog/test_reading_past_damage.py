"""Printing a damaged log: everything that is whole, and every damage once, by file, line and positions."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tconnectsync.config.model import Config
from tconnectsync.eventlog import Damage, EventLog
from tconnectsync.eventlog.framing import frame
from tconnectsync.queries.log_records import read_events
from tconnectsync.timeline.zones import Zones
from tests.eventlog.sample_events import RECEIVED, basal, last_segment
from tests.support.clocks import FakeClock

COUNT = 60


def config_of(data_dir: Path) -> Config:
    return Config(timezone="UTC", zones=Zones(timezone="UTC", moves=()), data_dir=data_dir)


def read(data_dir: Path, **wanted: object) -> tuple[list[int], list[Damage]]:
    told: list[Damage] = []
    records = read_events(config_of(data_dir), on_damage=told.append, clock=FakeClock(RECEIVED), **wanted)  # type: ignore[arg-type]
    return [record["pos"] for record in records], told


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A log in several segments, some of them compressed: name and content."""
    folder = tmp_path_factory.mktemp("whole")
    with EventLog.open(folder, clock=FakeClock(RECEIVED), writable=True, segment_bytes=2500) as log:
        for seq in range(1, COUNT + 1):
            log.append([basal(seq)])
        log.maintain(2)
    found = {path.name: path.read_bytes() for path in (folder / "log").iterdir()}
    assert len(found) > 3
    return found


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_whole_records_printed(
    tmp_path_factory: pytest.TempPathFactory, whole: dict[str, bytes], data: st.DataObject
) -> None:
    """Whatever is corrupt, correct records are printed and the rest is reported."""
    folder = tmp_path_factory.mktemp("corrupted")
    (folder / "log").mkdir()
    texts = {name: bytearray(text) for name, text in whole.items()}
    for _ in range(data.draw(st.integers(1, 3))):
        text = texts[data.draw(st.sampled_from(sorted(texts)))]
        text[data.draw(st.integers(0, len(text) - 2))] ^= 1 << data.draw(st.integers(0, 7))
    for name, text in texts.items():
        (folder / "log" / name).write_bytes(text)

    positions, told = read(folder)
    assert positions == sorted(set(positions))
    covered = set(positions)
    for damage in told:
        if damage.position is not None:
            last = damage.last_position
            missing = set(range(damage.position, (COUNT if last is None else last) + 1))
            assert last is None or not missing & set(positions)
            covered |= missing
    assert covered >= set(range(1, COUNT + 1))
    assert len({(damage.path, damage.line) for damage in told}) == len(told)


def test_unreadable_record_reported(tmp_path: Path) -> None:
    """A record that cannot be read is reported, and the next ones follow."""
    with EventLog.open(tmp_path, clock=FakeClock(RECEIVED), writable=True) as log:
        log.append([basal(1)])
    path = last_segment(tmp_path)
    crc = int(path.read_bytes().splitlines()[-1][8:16], 16)
    path.write_bytes(path.read_bytes() + frame(b'{"pos":2,"id":5}', crc)[0])
    with EventLog.open(tmp_path, clock=FakeClock(RECEIVED), writable=True) as log:
        log.append([basal(3)])
    positions, [damage] = read(tmp_path)
    assert positions == [1, 3]
    assert (damage.position, damage.last_position) == (2, 2)


def test_line_being_written(tmp_path: Path) -> None:
    """A line that is being written is not corrupt; it comes once it is whole."""
    with EventLog.open(tmp_path, clock=FakeClock(RECEIVED), writable=True) as log:
        log.append([basal(1), basal(2)])
    path = last_segment(tmp_path)
    text = path.read_bytes()
    path.write_bytes(text[:-30])
    assert read(tmp_path) == ([1], [])

    @attrs.define
    class Writer(FakeClock):
        """Ends the line while the reader waits, then ends the reader."""

        def sleep(self, seconds: float) -> None:
            self.slept_s.append(seconds)
            if len(self.slept_s) == 3:
                raise KeyboardInterrupt
            path.write_bytes(text)

    told: list[Damage] = []
    records = read_events(config_of(tmp_path), on_damage=told.append, follow=True, clock=Writer(RECEIVED))
    assert [next(records)["pos"], next(records)["pos"]] == [1, 2]
    with pytest.raises(KeyboardInterrupt):
        next(records)
    assert told == []


def test_corruption_reported_once(tmp_path: Path) -> None:
    """Corruption is reported once while the log is followed."""
    with EventLog.open(tmp_path, clock=FakeClock(RECEIVED), writable=True) as log:
        log.append([basal(seq) for seq in range(1, 6)])
    path = last_segment(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[-1] = lines[-1].replace(b"0.8", b"8.0", 1)
    path.write_bytes(b"".join(lines))
    told: list[Damage] = []
    clock = FakeClock(RECEIVED)
    records = read_events(
        config_of(tmp_path), on_damage=told.append, follow=True, kinds=("basal.delivered",), clock=clock
    )
    assert [next(records)["pos"] for _ in range(4)] == [1, 2, 3, 4]

    class Enough(Exception):
        pass

    waits = iter(range(3))

    def sleep(seconds: float) -> None:
        if next(waits, None) is None:
            raise Enough

    clock.sleep = sleep  # type: ignore[method-assign]
    with pytest.raises(Enough):
        next(records)
    assert [(damage.position, damage.last_position) for damage in told] == [(5, None)]
