"""The table of mutations follows the code: what it breaks is there, and so are the tests that it names."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutation_table import MUTATIONS, Mutation, markdown_row

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_what_it_breaks_stands_there_once(mutation: Mutation) -> None:
    for name, old, new in mutation.edits:
        text = (ROOT / name).read_text()
        assert text.count(old) == 1, old
        compile(text.replace(old, new), name, "exec")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_tests_that_catch_it_are_there(mutation: Mutation) -> None:
    assert mutation.tests
    for test in mutation.tests:
        name, *parts = test.partition("[")[0].split("::")
        defined = {node.name for node in ast.walk(ast.parse((ROOT / name).read_text())) if hasattr(node, "name")}
        assert set(parts) <= defined


def test_no_name_comes_twice() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


def test_the_guarantees_show_the_table() -> None:
    shown = (ROOT / "docs" / "engineering" / "guarantees.md").read_text().partition("## Mutations")[2]
    assert [line for line in shown.splitlines() if line.startswith("| ")][1:] == [
        markdown_row(each) for each in MUTATIONS
    ]
