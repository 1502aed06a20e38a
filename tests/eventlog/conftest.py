"""Shared by the tests of crashing disks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.memory_folder import memory_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory, if the machine has one: there are thousands of small databases, and no disk is tested."""
    with tempfile.TemporaryDirectory(dir=memory_folder()) as name:
        yield Path(name)
