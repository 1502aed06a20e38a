"""The table of kill points names functions that the product has."""

from __future__ import annotations

import pytest

from tests.e2e.kill_points import POINTS, resolve


@pytest.mark.parametrize("name", POINTS)
def test_function_exists(name: str) -> None:
    """The wrapped function, and the caller around whose commit the process dies, exist in the product."""
    point = POINTS[name]
    for target in filter(None, (point.target, point.caller)):
        holder, function = resolve(target)
        assert function in vars(holder), f"{target} is inherited: wrapping it here changes nothing"
