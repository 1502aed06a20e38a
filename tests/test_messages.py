"""Whoever says what went wrong says what to do about it: looked up in the code, so that a new message cannot forget it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tconnectsync import errors

ROOT = Path(__file__).parent.parent
MODULES = sorted([*(ROOT / "tconnectsync").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")])
CLASSES = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.TconnectsyncError) and kind is not errors.TconnectsyncError
}
ALWAYS = {"LogCorrupt", "IndexCorrupt"}
"""Their own remedy stands in the class."""


def without_remedy(module: Path) -> Iterator[str]:
    """Errors made without one, of classes that have none of their own; and findings of `check` that are bad."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        name, given = node.func.id, {keyword.arg: keyword.value for keyword in node.keywords}
        silent = name in CLASSES and name not in ALWAYS and CLASSES[name].usual_remedy is None
        bad = given.get("good")
        silent |= name == "CheckResult" and isinstance(bad, ast.Constant) and bad.value is False
        if silent and "remedy" not in given:
            yield f"{module.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)[:100]}"


def test_every_error_and_every_bad_finding_names_the_next_thing_to_do() -> None:
    assert [place for module in MODULES for place in without_remedy(module)] == []


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_remedies_are_whole_sentences(name: str) -> None:
    remedy = CLASSES[name].usual_remedy
    assert remedy is None or (remedy.endswith(".") and "tconnectsync " in remedy)


def test_damage_names_its_commands() -> None:
    error = errors.LogCorrupt("x", path="y", line=1)
    assert "tconnectsync log check" in str(error.remedy)
    assert "tconnectsync log repair" in str(error.remedy)
