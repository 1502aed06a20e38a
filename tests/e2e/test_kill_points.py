"""The table of kill points names functions that exist."""

from __future__ import annotations

import pytest

from tests.e2e.kill_points import POINTS, resolve


@pytest.mark.parametrize("name", POINTS)
def test_function_exists(name: str) -> None:
    """The wrapped function exists; the caller around whose commit the process dies exists and opens a transaction."""
    point = POINTS[name]
    holder, function = resolve(point.target)
    assert function in vars(holder), f"{point.target} is inherited: wrapping it here changes nothing"
    if point.caller:
        caller = getattr(*resolve(point.caller))
        assert function in caller.__code__.co_names, f"{point.caller} does not call {function}"
