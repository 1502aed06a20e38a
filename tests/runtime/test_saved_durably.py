"""What is synced to the disk and what is not, because each sync wears out an SD card."""

from __future__ import annotations

import contextlib
import errno
import os
from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from tconnectsync.filesystem import OsFiles
from tconnectsync.health.states import Health, HealthState
from tconnectsync.ingest.source_state import SourceState
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.stored_values import CURSOR
from tests.support.crashing_files import CallFaults, Crash, CrashingFiles
from tests.support.engine.fakes import START


@attrs.define
class CountingFiles(OsFiles):
    """Counts how often something was synced."""

    syncs: int = 0

    def sync_folder(self, folder: Path) -> None:
        self.syncs += 1
        super().sync_folder(folder)

    def write(self, path: Path, data: bytes, *, sync: bool = True) -> None:
        self.syncs += sync
        super().write(path, data, sync=sync)


def test_times_of_a_source_not_synced(tmp_path: Path) -> None:
    """A source's state is durable if more than times changed; the times can be read in any case."""
    files = CountingFiles()
    state = SourceState(tmp_path / "tandem.json", files)
    synced = []
    changes = [
        {"last_fetch": START},
        {"last_fetch": START + timedelta(hours=1)},
        {"unknown_codes": {"77": 1}},
        {"last_fetch": START + timedelta(hours=2), "last_began": START},
        {"health": Health(state=HealthState.REFUSED)},
    ]
    for change in changes:
        before = files.syncs
        for name, value in change.items():
            setattr(state, name, value)
        state.save()
        synced.append(files.syncs > before)
        assert SourceState.load(state.path, files) == state
    assert synced == [True, False, True, False, True]


def test_durable_times_are_at_most_a_day_old(tmp_path: Path) -> None:
    """After weeks in which only times changed, a power cut that takes them must not look like weeks of silence."""
    path, files = tmp_path / "tandem.json", CountingFiles()
    state = SourceState(path, files)
    state.save()
    for hour in range(24 * 14):
        state.last_fetch = START + timedelta(hours=hour)
        state.save()
    (tmp_path / "tandem.times.json").unlink()
    durable = SourceState.load(path).last_fetch
    assert durable is not None
    assert state.last_fetch - durable <= timedelta(hours=25)
    assert files.syncs <= 3 * 15


def test_a_file_of_a_source_is_deleted(tmp_path: Path) -> None:
    """Without the times, older ones hold and the next poll is early; without the state, everything is new."""
    path, files = tmp_path / "tandem.json", OsFiles()
    state = SourceState(path, files, unknown_codes={"77": 1}, last_fetch=START)
    state.save()
    state.last_fetch = START + timedelta(hours=1)
    state.save()
    (tmp_path / "tandem.times.json").unlink()
    assert (SourceState.load(path).last_fetch, SourceState.load(path).unknown_codes) == (START, {"77": 1})
    state.save()
    path.unlink()
    assert SourceState.load(path, files) == SourceState(path, files)


@pytest.mark.parametrize("crash_at", range(1, 40))
def test_state_after_a_power_cut(crash_at: int) -> None:
    """A refusal that was saved is known after any power cut; its times may be older, and are never those of a later poll."""
    refused = Health(state=HealthState.REFUSED)
    path, saved, tried = Path("/data/state/pump.json"), [None], [None]
    files = CrashingFiles(faults=CallFaults(crash_at=crash_at))
    state = SourceState(path, files)  # type: ignore[arg-type]  # it has what is used of the port
    with contextlib.suppress(Crash):
        for hour in range(4):
            state.last_fetch = START + timedelta(hours=hour)
            state.health = refused if hour else Health()
            tried.append(state.last_fetch)
            state.save()
            saved.append(state.last_fetch)
    for image in files.after_crash(every_byte=True):
        found = SourceState.load(path, CrashingFiles(image))
        assert found.last_fetch in tried
        if len(saved) > 2:
            assert found.health == refused
            assert found.last_fetch is not None
    assert SourceState.load(path, CrashingFiles(files.now())).last_fetch in tried[-2:]


@pytest.mark.parametrize("text", [b"new", b"new" * 500])
def test_file_overwritten_in_place(tmp_path: Path, text: bytes) -> None:
    """It has the new content, whether that is shorter or longer, and is the same file."""
    path = tmp_path / "pump.json"
    path.write_bytes(b"old" * 100)
    before = path.stat().st_ino
    OsFiles().overwrite(path, text)
    assert (path.read_bytes(), path.stat().st_ino) == (text, before)
    with pytest.raises(FileNotFoundError):
        OsFiles().overwrite(tmp_path / "other.json", text)
    assert list(tmp_path.iterdir()) == [path]


def test_overwriting_fails_half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If there is no space for the longer new content, the file has the old one again."""
    path, write = tmp_path / "pump.json", os.pwrite
    path.write_bytes(b"old" * 100)

    def full(number: int, data: memoryview, at: int) -> int:
        if at + len(data) > 300 and at >= 300:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(number, data[: 300 - at], at)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        OsFiles().overwrite(path, b"new" * 500)
    assert path.read_bytes() == b"old" * 100


def test_folding_not_synced(tmp_path: Path) -> None:
    """Only a durable transaction waits for the disk, also after one that was not durable, and after one that failed."""
    outbox = Outbox(tmp_path / "sink.sqlite")

    def level() -> int:
        [(found,)] = outbox._db.execute("PRAGMA synchronous").fetchall()
        return int(found)

    with outbox.transaction():
        full = level()
    with outbox.transaction(durable=False):
        outbox.values.put(CURSOR, 1)
        assert level() < full
    with pytest.raises(ZeroDivisionError), outbox.transaction(durable=False):
        outbox.values.put(CURSOR, 1 // 0)
    assert level() == full
    outbox.close()
    again = Outbox(tmp_path / "sink.sqlite")
    assert again.values.get(CURSOR) == 1
    again.close()
