"""What an error of a file or a database means: each kind has its own remedy."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tconnectsync import storage_errors
from tconnectsync.storage_errors import storage_error, storage_remedy, storage_steps
from tests.support.memory_folder import memory_folder

NOBODY = 65534
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
READ_ONLY, NOT_OPENED = "attempt to write a readonly database", "unable to open database file"


def remedy_of(error: Exception, data_dir: Path) -> str | None:
    found = storage_error(error, data_dir / "outbox" / "site.sqlite")
    return None if found is None else storage_remedy(found, data_dir)


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ("database or disk is full", "`df -h`"),
        ("disk I/O error", "`dmesg | tail`"),
        ("database is locked", "`sudo lsof +D"),
        ("database table is locked", "`sudo lsof +D"),
        (READ_ONLY, "`sudo chown -R "),
        (NOT_OPENED, "`sudo chown -R "),
    ],
)
def test_each_error_of_sqlite_has_its_remedy(tmp_path: Path, words: str, command: str) -> None:
    (tmp_path / "outbox").mkdir()
    remedy = remedy_of(sqlite3.OperationalError(words), tmp_path)
    assert remedy is not None
    assert command in remedy
    assert "Delete nothing" in remedy
    assert ("Free some space" in remedy) == ("full" in words)
    assert ("not tconnectsync itself" in remedy) == ("lock" in words)


@pytest.mark.parametrize("words", [READ_ONLY, NOT_OPENED])
def test_read_only_disk_behind_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """SQLite says the same of a read-only disk as of a file of another user."""
    (tmp_path / "outbox").mkdir()
    state = list(os.statvfs(tmp_path))
    state[8] |= os.ST_RDONLY
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(state))
    assert "remount" in (remedy_of(sqlite3.OperationalError(words), tmp_path) or "")


def test_disk_without_inodes_behind_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite cannot make a new file: the owner of the files is not to blame."""
    (tmp_path / "outbox").mkdir()
    state = list(os.statvfs(tmp_path))
    state[5], state[7] = 60, 0
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(state))
    assert "`df -i`" in (remedy_of(sqlite3.OperationalError(NOT_OPENED), tmp_path) or "")


@pytest.mark.parametrize(
    ("number", "command"),
    [
        (errno.ENOSPC, "`df -h`"),
        (errno.EDQUOT, "`df -h`"),
        (errno.EROFS, "remount"),
        (errno.EIO, "`dmesg | tail`"),
        (errno.EACCES, "`sudo chown -R "),
        (errno.EPERM, "`sudo chown -R "),
        (errno.ENOENT, None),
        (errno.ECONNREFUSED, None),
    ],
)
def test_each_error_of_a_file_has_its_remedy(tmp_path: Path, number: int, command: str | None) -> None:
    remedy = remedy_of(OSError(number, os.strerror(number), str(tmp_path / "log" / "x")), tmp_path)
    assert (remedy is None) == (command is None)
    assert remedy is None or command is None or command in remedy


@pytest.mark.parametrize("path", ["/etc/shadow", "/data-of-another/log", None])
def test_foreign_folder_is_never_given_away(tmp_path: Path, path: str | None) -> None:
    """The command that changes owners names the data folder only, and only for its own files."""
    assert storage_steps(OSError(errno.EACCES, "Permission denied", path), tmp_path) is None


def test_file_known_by_its_number(tmp_path: Path) -> None:
    """Python gives the number if that is what a function was called with."""
    with (tmp_path / "x").open("w") as file, pytest.raises(NotADirectoryError) as caught:
        os.listdir(file.fileno())  # noqa: PTH208 - a path has no number
    assert isinstance(caught.value.filename, int)
    assert storage_steps(caught.value, tmp_path) is None


def open_database(path: Path) -> sqlite3.OperationalError:
    with pytest.raises(sqlite3.OperationalError, match=NOT_OPENED) as caught:
        sqlite3.connect(path)
    return caught.value


def test_too_many_open_files(tmp_path: Path) -> None:
    """No further file can be opened: this is no fault of the disk."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        error = open_database(tmp_path / "index.sqlite")
        found = storage_error(error, tmp_path / "index.sqlite")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert found is not None
    assert "Restart tconnectsync" in (storage_remedy(found, tmp_path) or "")


def test_missing_data_folder(tmp_path: Path) -> None:
    """Its disk may have gone."""
    data_dir = tmp_path / "gone"
    found = storage_error(open_database(data_dir / "index.sqlite"), data_dir / "index.sqlite")
    assert found is not None
    assert f"{data_dir} is missing" in (storage_remedy(found, data_dir) or "")


def test_user_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's user may have a number only."""

    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr(storage_errors.pwd, "getpwuid", unknown)
    steps = storage_steps(OSError(errno.EACCES, "Permission denied", str(tmp_path / "lock")), tmp_path)
    assert f"`sudo chown -R {os.geteuid()} {tmp_path}`" in (steps or "")


@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError("no such table: x"), sqlite3.DatabaseError("malformed"), ValueError("x")]
)
def test_other_errors_have_no_remedy_here(tmp_path: Path, error: Exception) -> None:
    assert storage_error(error, tmp_path) is None


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's."""
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


CHANGES = {
    "file": "os.chown(path, 0, 0); path.chmod(0o600)",
    "folder": "os.chown(path.parent, 0, 0); path.parent.chmod(0o700)",
    "folder, read-only": "path.parent.chmod(0o555)",
    "file, read-only": "path.chmod(0o444)",
}


@ROOT
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_real_files_of_another_user(open_folder: Path, change: str) -> None:
    """A real outbox that the daemon's user may not write, after a command of root in a container, for example."""
    data_dir = open_folder / "data"
    code = f"""
import os, sqlite3, sys
from pathlib import Path
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.stored_values import ADDRESS
from tconnectsync.storage_errors import forbidden_part, storage_error, storage_remedy
data_dir = Path(sys.argv[1])
path = data_dir / "outbox" / "site.sqlite"
Outbox.opened(path).close()
for each in (data_dir, path.parent, path):
    os.chown(each, {NOBODY}, {NOBODY})
{change}
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
try:
    Outbox.opened(path).values.put(ADDRESS, "x")
except (OSError, sqlite3.Error) as error:
    found = storage_error(error, path)
    print(type(error).__name__, error, storage_remedy(found, data_dir), forbidden_part(path).strerror, sep="|")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, data_dir], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"sudo chown -R nobody {data_dir}" in done.stdout, "it failed, and for this reason"
    assert "Permission denied" in done.stdout, "status sees it too"
