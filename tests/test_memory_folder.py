"""The choice of the tests' own folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import memory_folder as module


def test_no_memory_folder(tmp_path: Path) -> None:
    """If there is no such folder, or too little room in it, the tests use the disk."""
    assert module.memory_folder(tmp_path / "none") is None


def test_too_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that a run could fill is not used."""
    monkeypatch.setattr(module, "NEEDED_BYTES", 0)
    assert module.memory_folder(tmp_path) == tmp_path
    monkeypatch.setattr(module, "NEEDED_BYTES", 1 << 60)
    assert module.memory_folder(tmp_path) is None


@pytest.mark.parametrize("name", module.NAMED)
def test_named_folder_is_respected(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder that the user names is used."""
    monkeypatch.setattr(module, "memory_folder", lambda: tmp_path)
    environ = {name: "/there"}
    module.use_memory(environ)
    assert environ == {name: "/there"}
    environ = {}
    module.use_memory(environ)
    assert environ == {"PYTEST_DEBUG_TEMPROOT": str(tmp_path)}
