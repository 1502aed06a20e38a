"""Commands of a user who may not use the data folder."""

from __future__ import annotations

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
