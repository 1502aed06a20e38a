"""Commands of a user who may not use the data folder."""

from __future__ import annotations

import os
import pwd
import sqlite3
from pathlib import Path

import pytest

from tests.cli.harness import CliHarness


def test_what_may_not_be_read_is_told_with_the_way_out(harness: CliHarness) -> None:
    harness.application.answer = PermissionError(13, "Permission denied", "/var/lib/tconnectsync/lock")
    said = harness.run("sync")
    assert said.status == 1, "a service is to be started again: the folder may be its own a moment later"
    assert "Permission denied" in said.err
    assert "/var/lib/tconnectsync/lock" in said.err
    assert "sudo" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("is_own", [True, False])
@pytest.mark.parametrize("of_sqlite", [True, False])
def test_forbidden_file_in_the_data_folder(
    harness: CliHarness, monkeypatch: pytest.MonkeyPatch, is_own: bool, of_sqlite: bool
) -> None:
    """The folder's owner gets the `chown` command, another user the advice to use `sudo`."""
    data_dir = harness.folder / "data"
    monkeypatch.setattr("tconnectsync.cli.error_output.is_own", lambda folder: is_own and folder == data_dir)
    forbidden = PermissionError(13, "Permission denied", str(data_dir / "log" / "x"))
    harness.application.answer = sqlite3.OperationalError("unable to open database file") if of_sqlite else forbidden
    said = harness.run("sync")
    assert said.status == 1
    assert "Permission denied" in said.err
    assert (f"`sudo chown -R {pwd.getpwuid(os.geteuid()).pw_name} {data_dir}`" in said.err) == is_own
    assert ("put `sudo` before the command" in said.err) != is_own


@pytest.mark.parametrize("is_own", [True, False])
def test_forbidden_file_of_a_daemon(harness: CliHarness, monkeypatch: pytest.MonkeyPatch, is_own: bool) -> None:
    """It may have run for weeks. For the folder's owner the details are kept, without secrets."""
    data_dir = harness.folder / "data"
    data_dir.mkdir()
    monkeypatch.setattr("tconnectsync.cli.error_output.is_own", lambda _: is_own)
    harness.application.answer = PermissionError(13, "Permission denied", str(data_dir / "pump-password"))
    said = harness.run("sync")
    details = data_dir / "last-failure.txt"
    assert "Nothing was done" not in said.err
    assert details.exists() == (str(details) in said.err) == is_own
    if is_own:
        assert "Traceback" in details.read_text()
        assert "pump-password" not in details.read_text()


def test_unreadable_named_configuration(harness: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to do."""

    def forbidden(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    monkeypatch.setattr("os.access", lambda *_, **__: False)
    path = harness.folder / "config.toml"
    said = harness.run("--config", str(path), "check")
    assert said.status == 1
    assert f"{path}: cannot be read: Permission denied" in said.err
    assert f"sudo chmod 644 {path}" in said.err
