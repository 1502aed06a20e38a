"""Which invalid intervals are folded together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tconnectsync.outbox import Outbox
from tconnectsync.outbox.checkpoints import Checkpoints
from tconnectsync.projection.intervals import IN_A_ROW, next_rows


@pytest.fixture
def checkpoints() -> Iterator[Checkpoints]:
    with closing(Outbox(Path(":memory:"))) as outbox:
        yield outbox.checkpoints


def invalidate(checkpoints: Checkpoints, fold: str, *intervals: int) -> None:
    checkpoints.invalidate([("1:0", interval, fold) for interval in intervals])


def test_nothing_is_invalid(checkpoints: Checkpoints) -> None:
    """Then there is nothing to fold."""
    assert next_rows(checkpoints, set()) is None


def test_row_ends_at_gap(checkpoints: Checkpoints) -> None:
    """Intervals that are far apart are not read together."""
    invalidate(checkpoints, "rates", 3, 4, 7)
    assert next_rows(checkpoints, set()) == ("1:0", {"rates": [3, 4]})


def test_row_is_bounded(checkpoints: Checkpoints) -> None:
    """The events of a row are in memory together."""
    invalidate(checkpoints, "rates", *range(100))
    assert next_rows(checkpoints, set()) == ("1:0", {"rates": list(range(IN_A_ROW))})


def test_row_ends_before_valid_checkpoint(checkpoints: Checkpoints) -> None:
    """Interval 3 of a fold begins with the state at the end of interval 2, which may have to be folded first."""
    invalidate(checkpoints, "rates", 1, 3)
    invalidate(checkpoints, "doses", 1, 2, 3)
    assert next_rows(checkpoints, set()) == ("1:0", {"rates": [1, 3], "doses": [1, 2, 3]})
    checkpoints.save_states("rates", "1:0", {0: b"{}", 1: b"{}", 2: b"{}", 3: b"{}"})
    assert next_rows(checkpoints, set()) == ("1:0", {"rates": [1], "doses": [1, 2, 3]})


def test_blocked_fold_is_left_out(checkpoints: Checkpoints) -> None:
    """The row begins with the first interval of a fold that may run."""
    invalidate(checkpoints, "rates", 1, 2, 3)
    invalidate(checkpoints, "doses", 2, 3)
    assert next_rows(checkpoints, {("1:0", "rates")}) == ("1:0", {"doses": [2, 3]})
