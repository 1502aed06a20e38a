"""Configurations with passwords are never left on a computer."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tconnectsync_fleet.private_file import private_file

TEXT = b"password = 'a-secret'\n" * 1000


@pytest.mark.parametrize("has_memory_files", [True, False])
def test_private_file(has_memory_files: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file has the name and the text, can be read several times and by this user only, and is gone afterwards."""
    if not has_memory_files:  # macOS, or a Python that was built for old Linuxes
        monkeypatch.delattr(os, "memfd_create", raising=False)
    with private_file("anna.toml", TEXT) as path:
        assert path.name == "anna.toml"
        assert [path.read_bytes(), path.read_bytes()] == [TEXT, TEXT]
        assert path.stat().st_mode & 0o077 == 0
        assert path.parent.stat().st_mode & 0o077 == 0
    assert not path.parent.exists()


def test_each_thread_has_its_own() -> None:
    found: dict[int, bytes] = {}
    all_are_open = threading.Barrier(4)

    def read(number: int) -> None:
        with private_file("anna.toml", b"%d" % number) as path:
            all_are_open.wait()
            found[number] = path.read_bytes()
            all_are_open.wait()

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: b"%d" % number for number in range(4)}


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this Python makes no files in memory")
def test_killed_process_leaves_no_text() -> None:
    """SIGKILL, as by the kernel when memory runs out: nothing of the text stays."""
    program = (
        "import sys, time\n"
        "from tconnectsync_fleet.private_file import private_file\n"
        "with private_file('anna.toml', b'a-secret') as path:\n"
        "    print(path, path.read_text(), flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        name, text = process.stdout.readline().split()
        process.kill()
    path = Path(name)
    assert text == "a-secret"
    assert list(path.parent.iterdir()) == [path]
    assert not path.exists()
    path.unlink()
    path.parent.rmdir()
