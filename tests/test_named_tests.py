"""Every test and every module that an engineering document names exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted((ROOT / "docs" / "engineering").glob("*.md"))
NAMED = re.compile(r"`((?:tests/)?[\w/]*test_\w+\.py)?(?:::(\w+(?:::\w+)?))?(?:\[[^`]*\])?`")

CONTRACTS = sorted((ROOT / "tconnectsync" / "testing").glob("*_contract.py"))
"""Classes of the tests inherit their tests from these."""
MODULE = re.compile(r"`([\w/]+\.py|\w+/)`")
FILE = re.compile(r"`((?:tests|benchmarks|docs|systemd|\.ci)/[\w/.-]+)`")
ALONE = re.compile(r"`(test_\w+)`")


@cache
def definitions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text("utf-8"))) if hasattr(node, "name") and node.name}


def named_tests(text: str) -> list[tuple[str, str]]:
    """Pairs of (file, test or ""). A file without its folder is an example of a document."""
    return [(match[1] or "", match[2] or "") for match in NAMED.finditer(text) if "/" in (match[1] or "")]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_named_tests_exist(path: Path) -> None:
    """A renamed test is renamed in the documents too."""
    missing = []
    for name, test in named_tests(path.read_text("utf-8")):
        candidates = [ROOT / name] if (ROOT / name).is_file() else sorted((ROOT / "tests").rglob(name))
        found = {each for candidate in (*candidates, *CONTRACTS) for each in definitions(candidate)}
        if not candidates or not set(filter(None, test.split("::"))) <= found:
            missing.append(f"{name}::{test}")
    assert missing == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_tests_named_without_their_file_exist(path: Path) -> None:
    """A table may name the file once and then tests alone."""
    everywhere = {name for file in (ROOT / "tests").rglob("test_*.py") for name in definitions(file)}
    assert {name for name in ALONE.findall(path.read_text("utf-8")) if name not in everywhere} == set()


@pytest.mark.parametrize(
    "path",
    [ROOT / "docs" / "engineering" / "architecture.md", ROOT / "docs" / "glossary.md"],
    ids=lambda path: path.stem,
)
def test_named_modules_exist(path: Path) -> None:
    """Paths are written below the repository, the engine's package or the plugins; a plugin's rooms below the plugin."""
    bases = [ROOT, ROOT / "tconnectsync", ROOT / "plugins", *(ROOT / "plugins").iterdir()]
    named = MODULE.findall(path.read_text("utf-8"))
    assert [name for name in named if not any((base / name).exists() for base in bases)] == []


@pytest.mark.parametrize(
    "path", [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda path: path.stem
)
def test_named_files_exist(path: Path) -> None:
    """Paths of the repository in any document."""
    assert [name for name in FILE.findall(path.read_text("utf-8")) if not (ROOT / name).exists()] == []
