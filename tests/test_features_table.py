"""The table of features names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TABLE = (ROOT / "docs" / "engineering" / "features.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/\S+\.py)::(\w+)`", TABLE)


@pytest.mark.parametrize(("file", "test"), NAMED, ids=[test for _, test in NAMED])
def test_the_test_that_shows_a_feature_is_there(file: str, test: str) -> None:
    defined = {node.name for node in ast.walk(ast.parse((ROOT / file).read_text())) if hasattr(node, "name")}
    assert test in defined


def test_row_without_test() -> None:
    """It says that the feature does not exist."""
    rows = [line for line in TABLE.splitlines() if line.startswith("| ")]
    bare = [row for row in rows if "`tests/" not in row and "| test |" not in row]
    assert all("not there" in row for row in bare)
