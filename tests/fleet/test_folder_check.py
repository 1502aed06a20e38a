"""A worker that cannot write to its folder leaves its people to the others, and says so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from tconnectsync_fleet.folder_check import FAILS_S, FOLDER_ERROR, LOOK_S, WELL_S, FolderCheck, write_error
from tconnectsync_fleet.lease import STOPPING, WorkerLease, live_workers, serving, worker_for
from tconnectsync_fleet.people import Member
from tconnectsync_fleet.servers import PEOPLE, Servers
from tconnectsync_fleet.status import status_lines
from tests.e2e.installation import eventually
from tests.fleet.conftest import HeldLease
from tests.fleet.test_worker import worker_in

FAILED = {FOLDER_ERROR: "it cannot write to /data (No space left on device)"}


def test_what_can_be_written(tmp_path: Path) -> None:
    assert write_error(tmp_path) is None
    assert not list(tmp_path.iterdir())
    assert isinstance(write_error(tmp_path / "missing"), FileNotFoundError)


def test_failure_must_last(tmp_path: Path) -> None:
    """A disk that is full for a moment moves nobody, nor does one that has room for a moment bring them back."""
    now = 1000.0
    folder = tmp_path / "worker"
    folder.mkdir()
    check = FolderCheck(folder, lambda: now)

    def has_failed_after(span_s: float) -> bool:
        nonlocal now
        end = now + span_s
        while now < end:
            now = min(end, now + LOOK_S)
            check.look()
        return check.has_failed

    assert not has_failed_after(LOOK_S)
    folder.rmdir()
    assert not has_failed_after(FAILS_S)
    folder.mkdir()
    assert not has_failed_after(LOOK_S)
    folder.rmdir()
    assert not has_failed_after(FAILS_S)
    assert check.report() == {}
    assert has_failed_after(LOOK_S)
    assert check.report() == {FOLDER_ERROR: f"it cannot write to {folder} (No such file or directory)"}
    folder.mkdir()
    assert has_failed_after(WELL_S)
    assert not has_failed_after(LOOK_S)


def test_failure_at_the_start(tmp_path: Path) -> None:
    """A worker that is started again does not take people for two minutes first."""
    check = FolderCheck(tmp_path / "missing")
    check.look()
    assert check.has_failed


@pytest.mark.parametrize(
    ("reports", "wanted"),
    [
        ({"w1": {}, "w2": {}}, {"w1", "w2"}),
        ({"w1": FAILED, "w2": {}}, {"w2"}),
        ({"w1": FAILED, "w2": {STOPPING: True}}, {"w1"}),
        ({"w1": FAILED, "w2": FAILED}, {"w1", "w2"}),
        ({"w1": {**FAILED, STOPPING: True}, "w2": {STOPPING: True}}, set()),
    ],
)
def test_who_has_people(reports: Mapping[str, Mapping[str, Any]], wanted: set[str]) -> None:
    """Workers that can write, if there are any."""
    assert serving(reports) == wanted


def test_people_are_left_to_others(
    servers: Servers, tmp_path: Path, new_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as another worker can write."""
    name = new_name()
    worker = worker_in(tmp_path, servers)
    worker._lease = cast(WorkerLease, HeldLease())
    servers.call(servers.bucket(PEOPLE).put(name, Member(name=name, sealed=b"x").value()))
    other = next(f"w{number}" for number in range(2, 100) if worker_for(name, ["w1", f"w{number}"]) == "w1")
    for report, is_wanted in ((FAILED, True), ({}, False)):
        monkeypatch.setattr(
            "tconnectsync_fleet.worker.live_workers", lambda _, found=report: {"w1": FAILED, other: found}
        )
        worker._look()
        assert worker.people[name].is_wanted == is_wanted
    servers.call(servers.bucket(PEOPLE).purge(name))


def test_worker_reports_its_folder(own_servers: Servers, tmp_path: Path) -> None:
    """From its first lease on."""
    worker = worker_in(tmp_path / "missing", own_servers)
    running = threading.Thread(target=worker.run)
    running.start()
    try:
        eventually(lambda: "w1" in live_workers(own_servers), "a lease")
        assert "No such file" in live_workers(own_servers)["w1"][FOLDER_ERROR]
    finally:
        worker.stop()
        running.join()


def test_status_names_worker_and_remedy() -> None:
    found = {
        "workers": {"w1": FAILED, "w2": {}}, "people": {}, "troubles": {}, "states": {}, "shares": {},
        "requests_per_second": 0, "people_never_read": 0, "oldest_read": None,
    }  # fmt: skip
    lines = [line for line in status_lines(found) if FAILED[FOLDER_ERROR] in line]
    assert len(lines) == 1
    assert lines[0].startswith("  w1: it cannot write to /data")
    assert "df -h" in lines[0]
