"""Which lines are read at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tconnectsync.eventlog.pieces import MARGIN, pieces


@given(st.lists(st.integers(1, 1 << 20), min_size=1, max_size=50))
def test_every_line_is_in_one_piece(gaps: list[int]) -> None:
    """The pieces are the lines in their order, and none is longer than what fits into memory that is used again."""
    offsets = [sum(gaps[: index + 1]) for index in range(len(gaps))]
    lines = list(enumerate(offsets, start=1))
    found = list(pieces(lines))
    assert [line for piece in found for line in piece] == lines
    assert all(piece[-1][1] - piece[0][1] + 2 * MARGIN < 128 << 10 for piece in found)


def test_far_lines_are_read_apart() -> None:
    near, far = (1, 1000), (900, 700_000)
    assert list(pieces([near, (2, 1500), far])) == [[near, (2, 1500)], [far]]
