"""The mutations follow the code: their patches apply, and the tests that they name exist."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutations import Mutation, markdown_table, read_mutations
from tests.test_named_tests import definitions

ROOT = Path(__file__).parents[2]
MUTATIONS = read_mutations()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.path.stem)
def test_patch_applies(mutation: Mutation) -> None:
    """A patch that does not apply any more is rewritten together with the code it breaks."""
    command = ["git", "apply", "--check", str(mutation.path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.path.stem)
def test_named_tests_exist(mutation: Mutation) -> None:
    """Every test that a header names is defined in the file that it names."""
    assert mutation.tests
    for test in mutation.tests:
        name, *parts = test.partition("[")[0].split("::")
        files = [
            ROOT / name,
            *(ROOT / "tconnectsync" / "testing").glob("*_contract.py"),
        ]  # a class may inherit its tests
        assert set(parts) <= {found for file in files for found in definitions(file)}


def test_named_cases_exist() -> None:
    """Also the case of a test that a header names, such as ``test_x[a-1]``: pytest finds it."""
    cases = sorted({test for mutation in MUTATIONS for test in mutation.tests if "[" in test})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *cases]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_names_are_unique() -> None:
    """No two patches have one name."""
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


def test_guarantees_show_the_table() -> None:
    """The table in the guarantees is the one that ``python -m tests.mutations --table`` writes."""
    text = (ROOT / "docs" / "engineering" / "guarantees.md").read_text(encoding="utf-8")
    assert "\n".join(markdown_table()) in text
