"""The order of the tests over several workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.schedule import LONGEST, longest_first

SMALL = [f"tests/a/test_a.py::test_{number}" for number in range(7)]


@pytest.mark.parametrize("name", LONGEST)
def test_longest_test_exists(name: str) -> None:
    """A test that was renamed is renamed in the table, too."""
    path, _, test = name.partition("::")
    assert f"\ndef {test}(" in (Path(__file__).parents[1] / path).read_text()


def test_long_tests_begin_each_part() -> None:
    """Each worker's part begins with a long test, and everything is run once, the rest in its order."""
    names = [*SMALL, *(f"{name}[1]" for name in reversed(LONGEST[:2]))]
    order = [names[at].partition("[")[0] for at in longest_first(names, 3)]
    assert (order[0], order[3]) == LONGEST[:2]
    assert [name for name in order if name in SMALL] == SMALL
    assert len(order) == len(names)


@pytest.mark.parametrize("workers", [1, 2, 3, 40])
@pytest.mark.parametrize("names", [[], SMALL, [*LONGEST], [*LONGEST, *SMALL]])
def test_order_leaves_nothing_out(names: list[str], workers: int) -> None:
    assert sorted(longest_first(names, workers)) == [*range(len(names))]
