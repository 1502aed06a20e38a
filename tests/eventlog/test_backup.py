"""A backup is complete or does not exist. Restored, it is what was written. Anything else is refused and changes nothing."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tconnectsync.errors import LogCorrupt, MachineTrouble, RequestRefused
from tconnectsync.eventlog import EventLog, OsFiles
from tconnectsync.eventlog.backup import MAX_MANIFEST_BYTES, Backup, back_up, restore
from tconnectsync.eventlog.check import check_log
from tconnectsync.eventlog.repair import repair_log
from tests.eventlog.sample_events import RECEIVED, basal, last_segment
from tests.support.clocks import FakeClock

SEGMENT_BYTES = 1500


def open_log(data_dir: Path, *, writable: bool = True) -> EventLog:
    return EventLog.open(data_dir, clock=FakeClock(RECEIVED), writable=writable, segment_bytes=SEGMENT_BYTES)


def made(data_dir: Path, target: Path) -> Backup:
    return back_up(data_dir, target, clock=FakeClock(RECEIVED))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a log in several segments."""
    folder = tmp_path / "data"
    with open_log(folder) as log:
        for seq in range(1, 20):
            log.append([basal(seq)])
        log.maintain(3)
    return folder


def test_long_work_tells_how_far_it_is(tmp_path: Path, data: Path) -> None:
    """Copying, restoring, checking and repairing a log call back with what is done and the whole."""
    calls: dict[str, list[tuple[int, int]]] = {name: [] for name in ("copy", "restore", "check", "repair")}

    def note(name: str) -> Callable[[int, int], None]:
        return lambda done, total: calls[name].append((done, total))

    target = tmp_path / "elsewhere"
    target.mkdir()
    backup = back_up(data, tmp_path, clock=FakeClock(RECEIVED), progress=note("copy"))
    restore(backup.path, target, progress=note("restore"))
    assert all(line.good for line in check_log(data, progress=note("check")))
    repair_log(data, clock=FakeClock(RECEIVED), progress=note("repair"))
    segments = len(list((data / "log").iterdir()))
    assert segments > 3
    for name in ("copy", "check", "repair"):
        assert calls[name] == [(done, segments) for done in range(segments)], name
    assert calls["restore"][-segments:] == [(done, segments) for done in range(segments)]
    assert all(0 < done <= total for done, total in calls["restore"][:-segments])


def test_restore_gives_the_log(tmp_path: Path, data: Path) -> None:
    """A restored backup is the log and nothing else."""
    for name in ("outbox/a.sqlite", "state/tandem.json", "plugins/tandem/token.json"):
        path = data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a secret")
    done = made(data, tmp_path)
    assert done.path == tmp_path / f"tconnectsync-{done.manifest.log[:8]}-{RECEIVED:%Y%m%dT%H%M%SZ}.tar.gz"
    assert done.path.stat().st_mode & 0o777 == 0o600
    assert b"a secret" not in gzip.decompress(done.path.read_bytes())
    target = tmp_path / "elsewhere"
    target.mkdir()
    assert restore(done.path, target).manifest == done.manifest
    assert tree(target) == {name: content for name, content in tree(data).items() if name.startswith("log/")}
    assert (target / "log").stat().st_mode & 0o077 == 0
    with open_log(target) as log, open_log(data, writable=False) as original:
        assert log.end == done.manifest.positions == 19
        assert log.log_id == original.log_id
        assert list(log.events()) == list(original.events())
        assert log.append([basal(20)]).first == 20


@pytest.mark.parametrize("name", [".DS_Store", ".nfs0000000000a1b2c3", "notes (1).txt", "größe.txt", "n" * 150])
def test_backup_skips_strange_file(tmp_path: Path, data: Path, name: str) -> None:
    """A file that is not part of the log is left out and does not spoil the backup.

    What is written can be restored.
    """
    (data / "log" / name).write_text("somebody else's")
    done = made(data, tmp_path)
    target = tmp_path / "elsewhere"
    target.mkdir()
    restore(done.path, target)
    (data / "log" / name).unlink()
    assert tree(target / "log") == tree(data / "log")


def test_backup_has_repaired_lines(tmp_path: Path, data: Path) -> None:
    """Lines that a repair set aside are in the backup."""
    path = sorted((data / "log").glob("*.gz"))[1]
    path.write_bytes(b"")
    with pytest.raises(LogCorrupt) as raised:
        made(data, tmp_path)
    assert (raised.value.path, raised.value.line) == (str(path), 1)
    assert "log repair" in str(raised.value.remedy)
    assert list(tmp_path.glob("tconnectsync-*")) == [], "nothing is left behind"
    [gap] = repair_log(data, clock=FakeClock(RECEIVED)).gaps
    assert f"log/{gap.side_file}" in made(data, tmp_path).manifest.files


def test_backup_without_torn_line(tmp_path: Path, data: Path) -> None:
    """A torn line at the end is left out.

    The owner is in the middle of a write.
    """
    with last_segment(data).open("ab") as file:
        file.write(b'{"crc":"12')
    target = tmp_path / "elsewhere"
    target.mkdir()
    assert restore(made(data, tmp_path / "b.tar.gz").path, target).manifest.positions == 19
    assert all(line.good for line in check_log(target))


def test_backup_beside_the_owner(tmp_path: Path) -> None:
    """The owner may write, seal and compress between any two reads.

    The backup is a beginning of the log, as long as it was when the backup began or longer.
    """
    data = tmp_path / "data"
    with open_log(data) as log:
        for seq in range(1, 12):
            log.append([basal(seq)])

        class Beside(OsFiles):
            next_seq = 12

            def read(self, path: Path, offset: int = 0, length: int | None = None) -> bytes:
                for _ in range(2):
                    log.append([basal(self.next_seq)])
                    self.next_seq += 1
                log.maintain(1)
                return super().read(path, offset, length)

        done = back_up(data, tmp_path / "b.tar.gz", clock=FakeClock(RECEIVED), files=Beside())
    assert done.manifest.positions >= 11
    target = tmp_path / "elsewhere"
    target.mkdir()
    restore(done.path, target)
    with open_log(target) as log:
        assert [event.seq for event in log.events()] == list(range(1, done.manifest.positions + 1))


def test_backup_without_log_or_place(tmp_path: Path, data: Path) -> None:
    """A missing log and a place that cannot be written are reported."""
    with pytest.raises(RequestRefused, match="no log") as raised:
        made(tmp_path / "nothing", tmp_path)
    assert "sync" in str(raised.value.remedy)
    with pytest.raises(MachineTrouble, match="cannot be written"):
        made(data, tmp_path / "no" / "such" / "folder")
    there = tmp_path / "there.tar.gz"
    there.write_text("precious")
    with pytest.raises(RequestRefused, match="already"):
        made(data, there)
    assert there.read_text() == "precious"


def test_backup_full_disk(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk leaves nothing behind."""

    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    target = tmp_path / "usb"
    target.mkdir()
    with pytest.raises(MachineTrouble, match="No space left"):
        made(data, target)
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("name", ["log", "outbox", "state", "index.sqlite"])
def test_restore_into_used_folder(tmp_path: Path, data: Path, name: str) -> None:
    """A restore fills an empty data folder only."""
    done = made(data, tmp_path)
    target = tmp_path / "elsewhere"
    (target / name).mkdir(parents=True)
    with pytest.raises(RequestRefused, match="not empty") as raised:
        restore(done.path, target)
    assert "move" in str(raised.value.remedy)
    assert tree(target) == {}


def refused(path: Path, folder: Path, words: str = "not a complete backup") -> None:
    folder.mkdir(exist_ok=True)
    with pytest.raises(RequestRefused, match=words) as raised:
        restore(path, folder)
    assert raised.value.remedy
    assert list(folder.iterdir()) == [], "nothing is put in place"


@settings(max_examples=60, deadline=None)
@given(part=st.floats(0, 0.9999), change=st.integers(1, 255), cut=st.booleans())
def test_restore_corrupt_backup(tmp_path_factory: pytest.TempPathFactory, part: float, change: int, cut: bool) -> None:
    """A corrupt backup is refused.

    Cut, or with changed bytes: nothing of it is put in place unless all of it is what was written.
    """
    folder = tmp_path_factory.mktemp("corrupted")
    with open_log(folder / "data") as log:
        log.append([basal(seq) for seq in range(1, 9)])
    done = made(folder / "data", folder / "b.tar.gz")
    whole = done.path.read_bytes()
    at = int(part * len(whole))
    done.path.write_bytes(whole[:at] if cut else whole[:at] + bytes([whole[at] ^ change]) + whole[at + 1 :])
    target = folder / "target"
    target.mkdir()
    with suppress(RequestRefused):
        restore(done.path, target)
    there = tree(target)
    assert not there or there == {name: text for name, text in tree(folder / "data").items() if name[:4] == "log/"}
    shutil.rmtree(folder)


def remade(path: Path, target: Path, *, drop: str = "", more: tuple[tarfile.TarInfo, ...] = ()) -> Path:
    """The same archive with other members."""
    with tarfile.open(path) as old, tarfile.open(target, "w:gz") as new:
        for extra in more:
            new.addfile(extra, io.BytesIO(bytes(extra.size)))
        for member in old:
            if member.name != drop:
                new.addfile(member, old.extractfile(member))
    return target


def test_restore_strange_member(tmp_path: Path, data: Path) -> None:
    """A file that does not belong in a backup is refused.

    An archive may have been made to write elsewhere.
    """
    done = made(data, tmp_path)
    segment = last_segment(data).name
    evil = tarfile.TarInfo("log/../../evil")
    evil.size = 5
    link = tarfile.TarInfo("log/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    absolute = tarfile.TarInfo("/log/evil")
    secret = tarfile.TarInfo("plugins/tandem/token.json")
    for number, member in enumerate((evil, link, absolute, secret)):
        refused(remade(done.path, tmp_path / f"{number}.tar.gz", more=(member,)), tmp_path / "target")
    refused(remade(done.path, tmp_path / "less.tar.gz", drop=f"log/{segment}"), tmp_path / "target", segment)
    refused(remade(done.path, tmp_path / "none.tar.gz", drop="manifest.json"), tmp_path / "target", "manifest")
    assert not (tmp_path / "evil").exists()
    for number, content in enumerate((b"", b"no archive", gzip.compress(b"no archive"), os.urandom(5000))):
        path = tmp_path / f"none-{number}"
        path.write_bytes(content)
        refused(path, tmp_path / "target")
    refused(tmp_path / "nowhere", tmp_path / "target", "There is no")
    refused(tmp_path, tmp_path / "target", "cannot be restored|not a complete")


def test_restore_huge_manifest(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manifest that would fill the memory is not read.

    A file of a few megabytes can unpack to gigabytes of blanks.
    """
    done = made(data, tmp_path)
    (tmp_path / "good").mkdir()
    assert restore(done.path, tmp_path / "good").manifest == done.manifest
    large = tarfile.TarInfo("manifest.json")
    large.size = MAX_MANIFEST_BYTES + 1
    path = remade(done.path, tmp_path / "large.tar.gz", drop="manifest.json", more=(large,))
    monkeypatch.setattr(msgspec.json, "decode", lambda *_, **__: pytest.fail("it was read"))
    refused(path, tmp_path / "target", "too large")


def test_restore_newer_release(tmp_path: Path, data: Path) -> None:
    """A backup of a newer release is reported."""
    done = made(data, tmp_path)
    manifest = msgspec.json.encode({**msgspec.to_builtins(done.manifest), "format": 2})
    newer = tmp_path / "newer.tar.gz"
    remade(done.path, newer, drop="manifest.json")
    with tarfile.open(done.path) as old, tarfile.open(newer, "w:gz") as new:
        for member in old:
            content = manifest if member.name == "manifest.json" else old.extractfile(member).read()  # type: ignore[union-attr]
            member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    refused(newer, tmp_path / "target", "newer release")


def test_restore_after_kill(tmp_path: Path, data: Path) -> None:
    """Files that a killed restore left are cleared away."""
    done = made(data, tmp_path)
    target = tmp_path / "elsewhere"
    (target / ".restore-abc" / "log").mkdir(parents=True)
    restore(done.path, target)
    assert [path.name for path in target.iterdir()] == ["log"]
